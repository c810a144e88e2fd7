// Names beside the points of a drawing whose width is the browser's choice.
#include "report_page_chart.h"
#include "report_page_text.h"

#include <math.h>
#include <string.h>

enum { ASCENT = 11, DESCENT = 4, MARK = 8, ABOVE_LINE = 2 };
#define CHARACTER_WIDTH 7.0 // of the wider ones at 12 pixels

typedef struct box {
    double across, left, right, top, bottom;
} box;

// Whether two of them touch in a drawing of that width. At the same point across they always do, unless their heights differ.
static bool touch(const box *a, const box *b, double width)
{
    const box *first = a->across <= b->across ? a : b, *second = first == a ? b : a;
    if (a->bottom <= b->top || b->bottom <= a->top) return false;
    return (second->across - first->across) * width < first->right + second->left;
}

// The same for a line: what it passes below a box is the less the wider the drawing is.
static bool lies_on(const box *b, const tn_cli_page_line *line, double width)
{
    const double from = fmax(line->across1, b->across - b->left / width), to = fmin(line->across2, b->across + b->right / width);
    if (from > to) return false;
    const double slope = line->across2 > line->across1 ? (line->down2 - line->down1) / (line->across2 - line->across1) : 0;
    const double down1 = line->down1 + slope * (from - line->across1), down2 = line->down1 + slope * (to - line->across1);
    return fmax(down1, down2) > b->top - ABOVE_LINE && fmin(down1, down2) < b->bottom + ABOVE_LINE;
}

static box box_of(const tn_cli_page_label *label, double baseline)
{
    return (box){label->across, label->left, label->right, baseline - ASCENT, baseline + DESCENT};
}

static box mark_of(const tn_cli_page_label *label) { return (box){label->across, MARK, MARK, label->down - MARK, label->down + MARK}; }

// From a point to its name, where that is not near; nothing, otherwise.
static box lead_of(const tn_cli_page_label *label, double baseline)
{
    if (baseline < label->down) return (box){label->across, 1, 1, fmin(baseline + DESCENT, label->down - MARK), label->down - MARK};
    return (box){label->across, 1, 1, label->down + MARK, fmax(baseline - ASCENT, label->down + MARK)};
}

static bool is_free(const tn_cli_page_label *labels, size_t n, size_t i, double baseline, double width)
{
    const box wanted = box_of(&labels[i], baseline);
    if (wanted.top < 0 || wanted.bottom > TN_PAGE_CHART_HEIGHT) return false;
    for (size_t k = 0; k < n; k++) {
        const box mark = mark_of(&labels[k]), other = box_of(&labels[k], labels[k].baseline);
        if (touch(&wanted, &mark, width) || (k < i && !isnan(labels[k].baseline) && touch(&wanted, &other, width))) return false;
    }
    return true;
}

// Whether the line to its point goes through no other name or point, and the name lies on no such line.
static bool is_clear(const tn_cli_page_label *labels, size_t n, size_t i, double baseline, double width)
{
    const box wanted = box_of(&labels[i], baseline), lead = lead_of(&labels[i], baseline);
    for (size_t k = 0; k < n; k++) {
        const box mark = mark_of(&labels[k]), other = box_of(&labels[k], labels[k].baseline),
                  other_lead = lead_of(&labels[k], labels[k].baseline);
        if (k != i && touch(&lead, &mark, width)) return false;
        if (k < i && !isnan(labels[k].baseline) && (touch(&lead, &other, width) || touch(&wanted, &other_lead, width))) return false;
    }
    return true;
}

static bool is_off_lines(const tn_cli_page_label *label, double baseline, const tn_cli_page_line *lines, size_t n_lines, double width)
{
    const box wanted = box_of(label, baseline);
    for (size_t k = 0; k < n_lines; k++) {
        if (lies_on(&wanted, &lines[k], width)) return false;
    }
    return true;
}

// At its ends a drawing has no room for the half of a name, so names there go inwards.
static void measure(tn_cli_page_label *label)
{
    double n = 0;
    for (const char *c = label->text; *c; c++) n += ((unsigned char)*c & 0xc0) != 0x80;
    const double size = n * CHARACTER_WIDTH;
    label->left = label->across < 0.2 ? fmin(MARK, size / 2) : label->across > 0.8 ? fmax(size - MARK, size / 2) : size / 2;
    label->right = size - label->left;
}

// The nearest free place, NAN: there is none. clear: with a line to its point that crosses nothing.
static double find_baseline(const tn_cli_page_label *labels, size_t n, size_t i, const tn_cli_page_line *lines, size_t n_lines, bool clear,
                            double width)
{
    for (int step = 0; step < TN_PAGE_CHART_HEIGHT / 3; step++) {
        const double near[] = {labels[i].down - MARK - DESCENT - 3 * step, labels[i].down + MARK + ASCENT + 3 * step};
        for (size_t k = 0; k < 2; k++) {
            if (is_free(labels, n, i, near[k], width) && is_off_lines(&labels[i], near[k], lines, n_lines, width) &&
                (!clear || is_clear(labels, n, i, near[k], width)))
                return near[k];
        }
    }
    return (double)NAN;
}

void tn_cli_page_place_labels(tn_cli_page_label *labels, size_t n, const tn_cli_page_line *lines, size_t n_lines, double width)
{
    for (size_t i = 0; i < n; i++) measure(&labels[i]);
    for (size_t i = 0; i < n; i++) {
        labels[i].baseline = find_baseline(labels, n, i, lines, n_lines, true, width);
        if (isnan(labels[i].baseline)) labels[i].baseline = find_baseline(labels, n, i, lines, n_lines, false, width);
        if (isnan(labels[i].baseline)) labels[i].baseline = find_baseline(labels, n, i, lines, 0, false, width);
    }
}

void tn_cli_page_draw_labels(FILE *out, tn_cli_page_label *labels, size_t n, const tn_cli_page_line *lines, size_t n_lines,
                             const char *look)
{
    enum { WIDE = 560, NARROW = 230 }; // of the narrowest drawings that show them: on paper, and on a phone
    tn_cli_page_place_labels(labels, n, lines, n_lines, strcmp(look, "wide") == 0 ? WIDE : NARROW);
    fprintf(out, "<g class=\"%s\">", look);
    for (size_t i = 0; i < n; i++) {
        const tn_cli_page_label *l = &labels[i];
        const double top = l->baseline - ASCENT, bottom = l->baseline + DESCENT, near = MARK + 3;
        if (isnan(l->baseline)) continue;
        if (bottom < l->down - near || top > l->down + near)
            fprintf(out, "<line class=\"lead\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"%.1f\" y2=\"%.1f\"/>", 100 * l->across, 100 * l->across,
                    l->down, bottom < l->down ? bottom : top);
        fprintf(out, "<text class=\"name\" x=\"%.2f%%\" dx=\"%.1f\" y=\"%.1f\">", 100 * l->across, -l->left, l->baseline);
        tn_cli_page_text(out, l->text);
        fputs("</text>", out);
    }
    fputs("</g>\n", out);
}
