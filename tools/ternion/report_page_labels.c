// Names beside the points of a drawing whose width is the browser's choice.
#include "report_page_chart.h"
#include "report_page_text.h"

#include <math.h>
#include <string.h>

enum { ASCENT = 11, DESCENT = 4, MIDDLE = 4, MARK = 8, ABOVE_LINE = 2, NEAR = 12, FAR = 24, MARGIN = 24 };
#define CHARACTER_WIDTH 7.0 // of the wider ones at 12 pixels

// What reaches from `left` pixels before a point across to `right` pixels behind it; either may be below 0.
typedef struct box {
    double across, left, right, top, bottom;
} box;

// Whether a is before b in drawings of that width and of any larger one.
static bool is_before(const box *a, const box *b, double width)
{
    return a->across <= b->across && (b->across - a->across) * width >= a->right + b->left;
}

static bool touch(const box *a, const box *b, double width)
{
    return a->bottom > b->top && b->bottom > a->top && !is_before(a, b, width) && !is_before(b, a, width);
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

static double text_width(const char *text)
{
    double n = 0;
    for (const char *c = text; *c; c++) n += ((unsigned char)*c & 0xc0) != 0x80;
    return n * CHARACTER_WIDTH;
}

static box box_of(const tn_cli_page_label *l)
{
    const double size = text_width(l->text), top = l->baseline - ASCENT, bottom = l->baseline + DESCENT;
    return l->offset > 0 ? (box){l->across, -l->offset, l->offset + size, top, bottom}
                         : (box){l->across, size - l->offset, l->offset, top, bottom};
}

static box mark_of(const tn_cli_page_label *l) { return (box){l->across, MARK, MARK, l->down - MARK, l->down + MARK}; }

// Around the line from a point to a name that is not at its height; nothing for one that is.
static box lead_of(const tn_cli_page_label *l)
{
    const double middle = l->baseline - MIDDLE, top = fmin(l->down, middle), bottom = fmax(l->down, middle);
    if (fabs(l->offset) < FAR) return (box){l->across, 0, 0, l->down, l->down};
    return l->offset > 0 ? (box){l->across, -MARK, FAR - 1, top, bottom} : (box){l->across, FAR - 1, -MARK, top, bottom};
}

static bool is_inside(const box *b, double width)
{
    return b->top >= 0 && b->bottom <= TN_PAGE_CHART_HEIGHT && b->across * width - b->left >= 0 &&
           (1 - b->across) * width - b->right >= -MARGIN;
}

// Whether name i keeps off all points, and off the names before it.
static bool is_free(const tn_cli_page_label *labels, size_t n, size_t i, double width)
{
    const box wanted = box_of(&labels[i]);
    if (!is_inside(&wanted, width)) return false;
    for (size_t k = 0; k < n; k++) {
        const box mark = mark_of(&labels[k]);
        if (touch(&wanted, &mark, width)) return false;
        if (k >= i || isnan(labels[k].baseline)) continue;
        const box other = box_of(&labels[k]);
        if (touch(&wanted, &other, width)) return false;
    }
    return true;
}

// Whether the line to its point does so too, and the name lies on no such line.
static bool is_clear(const tn_cli_page_label *labels, size_t n, size_t i, double width)
{
    const box wanted = box_of(&labels[i]), lead = lead_of(&labels[i]);
    for (size_t k = 0; k < n; k++) {
        const box mark = mark_of(&labels[k]);
        if (k != i && touch(&lead, &mark, width)) return false;
        if (k >= i || isnan(labels[k].baseline)) continue;
        const box other = box_of(&labels[k]), other_lead = lead_of(&labels[k]);
        if (touch(&lead, &other, width) || touch(&wanted, &other_lead, width)) return false;
    }
    return true;
}

static bool is_off_lines(const tn_cli_page_label *label, const tn_cli_page_line *lines, size_t n_lines, double width)
{
    const box wanted = box_of(label);
    for (size_t k = 0; k < n_lines; k++) {
        if (lies_on(&wanted, &lines[k], width)) return false;
    }
    return true;
}

// What a place is asked for besides being free, and how far it may be.
typedef struct wish {
    bool clear, off_lines;
    int steps_max; // of two pixels
} wish;

typedef struct drawing {
    const tn_cli_page_line *lines;
    size_t n_lines;
    double width;
} drawing;

// The nearest such place, at either side; false: there is none.
static bool find_place(tn_cli_page_label *labels, size_t n, size_t i, const drawing *d, const wish *wanted)
{
    tn_cli_page_label *l = &labels[i];
    for (int step = 0; step < wanted->steps_max; step++) {
        for (int way = 0; way < 4; way++) { // right and left, below and above
            const double away = step < 2 ? NEAR : FAR;
            l->offset = way % 2 ? -away : away;
            l->baseline = l->down + MIDDLE + (way / 2 ? -2 * step : 2 * step);
            if (is_free(labels, n, i, d->width) && (!wanted->clear || is_clear(labels, n, i, d->width)) &&
                (!wanted->off_lines || is_off_lines(l, d->lines, d->n_lines, d->width)))
                return true;
        }
    }
    l->baseline = (double)NAN;
    return false;
}

void tn_cli_page_place_labels(tn_cli_page_label *labels, size_t n, const tn_cli_page_line *lines, size_t n_lines, double width)
{
    static const wish wishes[] = {{true, true, 24}, {false, true, 60}, {false, false, TN_PAGE_CHART_HEIGHT / 2}};
    const drawing d = {lines, n_lines, width};
    for (size_t i = 0; i < n; i++) {
        bool placed = false;
        for (size_t k = 0; k < sizeof wishes / sizeof *wishes && !placed; k++) placed = find_place(labels, n, i, &d, &wishes[k]);
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
        const double side = l->offset > 0 ? 1 : -1;
        if (isnan(l->baseline)) continue;
        if (fabs(l->offset) >= FAR)
            fprintf(out,
                    "<svg x=\"%.2f%%\" y=\"0\" width=\"1\" height=\"1\"><line class=\"lead\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" "
                    "y2=\"%.1f\"/></svg>",
                    100 * l->across, side * MARK, side * (FAR - 2), l->down, l->baseline - MIDDLE);
        fprintf(out, "<text class=\"name\" x=\"%.2f%%\" dx=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", 100 * l->across, l->offset,
                l->baseline, side > 0 ? "start" : "end");
        tn_cli_page_text(out, l->text);
        fputs("</text>", out);
    }
    fputs("</g>\n", out);
}
