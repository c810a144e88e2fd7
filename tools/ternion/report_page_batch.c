// Speed against the number of sequences that are decoded together: one drawing for each length of prompt and reply.
#include "report_page_chart.h"
#include "report_page_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct point {
    size_t subject, k; // place in its list of speeds
    double n_prompt, n_gen, n_seqs, median;
    const char *unit;
} point;

static size_t find_points(const tn_cli_page *page, point *points)
{
    size_t n = 0, k;
    const json_t *speed;
    for (size_t i = 0; i < page->n_subjects; i++) {
        json_array_foreach(json_object_get(tn_cli_page_subject(page, i), "speed"), k, speed)
        {
            const point p = {i,
                             k,
                             tn_cli_page_number(speed, "n_prompt"),
                             tn_cli_page_number(speed, "n_gen"),
                             tn_cli_page_number(speed, "n_seqs"),
                             tn_cli_page_number(speed, "median"),
                             tn_cli_page_string(speed, "unit")};
            if (p.unit && p.n_seqs >= 1 && p.median > 0 && !isnan(p.n_prompt) && !isnan(p.n_gen)) points[n++] = p;
        }
    }
    return n;
}

static bool same_group(const point *a, const point *b)
{
    return a->n_prompt == b->n_prompt && a->n_gen == b->n_gen && strcmp(a->unit, b->unit) == 0;
}

static int by_subject_and_size(const void *a, const void *b)
{
    const point *x = a, *y = b;
    if (x->subject != y->subject) return x->subject < y->subject ? -1 : 1;
    return (x->n_seqs > y->n_seqs) - (x->n_seqs < y->n_seqs);
}

// Moves the points like the first one to the front, in order; returns how many there are.
static size_t take_group(point *points, size_t n)
{
    size_t n_group = 0;
    const point first = points[0];
    for (size_t i = 0; i < n; i++) {
        if (!same_group(&points[i], &first)) continue;
        const point moved = points[i];
        points[i] = points[n_group];
        points[n_group++] = moved;
    }
    qsort(points, n_group, sizeof *points, by_subject_and_size);
    return n_group;
}

static void find_axes(const point *points, size_t n, tn_cli_page_axis *across, tn_cli_page_axis *up)
{
    double least = points[0].median, most = points[0].median;
    *across = (tn_cli_page_axis){points[0].n_seqs, points[0].n_seqs, true};
    for (size_t i = 1; i < n; i++) {
        least = fmin(least, points[i].median);
        most = fmax(most, points[i].median);
        across->low = fmin(across->low, points[i].n_seqs);
        across->high = fmax(across->high, points[i].n_seqs);
    }
    *up = most > 20 * least ? tn_cli_page_log_axis(least, most) : tn_cli_page_linear_axis(most);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The numbers of sequences that were measured, each once. `ticks` has room for all points.
static size_t find_ticks(const point *points, size_t n, double *ticks)
{
    size_t n_ticks = 0;
    for (size_t i = 0; i < n; i++) ticks[i] = points[i].n_seqs;
    qsort(ticks, n, sizeof *ticks, by_value);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || ticks[i] != ticks[i - 1]) ticks[n_ticks++] = ticks[i];
    }
    return n_ticks;
}

static void draw_lines(FILE *out, const point *points, size_t n, const tn_cli_page_axis *across, const tn_cli_page_axis *up)
{
    static const char *const dashes[] = {"none", "8 3", "2 3", "10 3 2 3", "5 5", "14 4"};
    for (size_t i = 1; i < n; i++) {
        const point *a = &points[i - 1], *b = &points[i];
        if (a->subject != b->subject || a->n_seqs == b->n_seqs) continue; // two tests may have the same size
        fprintf(out, "<line class=\"series s%zu\" stroke-dasharray=\"%s\" x1=\"%.2f%%\" y1=\"%.1f\" x2=\"%.2f%%\" y2=\"%.1f\"/>",
                a->subject % 6, dashes[a->subject % 6], 100 * tn_cli_page_place(across, a->n_seqs), tn_cli_page_down(up, a->median),
                100 * tn_cli_page_place(across, b->n_seqs), tn_cli_page_down(up, b->median));
    }
    for (size_t i = 0; i < n; i++)
        tn_cli_page_draw_mark(out, points[i].subject, tn_cli_page_place(across, points[i].n_seqs), tn_cli_page_down(up, points[i].median));
}

typedef struct ending {
    size_t subject;
    double across, down, baseline;
} ending;

static int by_height(const void *a, const void *b)
{
    const ending *x = a, *y = b;
    return (x->down > y->down) - (x->down < y->down);
}

// The letter of each subject in the right margin, in the order of the lines' ends, and as far from each other as letters are high.
static void draw_letters(FILE *out, const point *points, size_t n, const tn_cli_page_axis *across, const tn_cli_page_axis *up, ending *ends)
{
    enum { LINE = 14 };
    size_t n_ends = 0;
    char letter[8];
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && points[i + 1].subject == points[i].subject) continue;
        ends[n_ends++] =
            (ending){points[i].subject, tn_cli_page_place(across, points[i].n_seqs), tn_cli_page_down(up, points[i].median), 0};
    }
    qsort(ends, n_ends, sizeof *ends, by_height);
    for (size_t i = 0; i < n_ends; i++) ends[i].baseline = i == 0 ? ends[i].down : fmax(ends[i].down, ends[i - 1].baseline + LINE);
    double lowest = TN_PAGE_CHART_HEIGHT; // what was pushed below the drawing goes up again
    for (size_t i = n_ends; i-- > 0; lowest -= LINE) ends[i].baseline = fmin(ends[i].baseline, lowest);
    for (size_t i = 0; i < n_ends; i++) {
        const ending *e = &ends[i];
        tn_cli_page_letter(e->subject, letter);
        if (e->across < 0.999)
            fprintf(out, "<line class=\"lead\" x1=\"%.2f%%\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>", 100 * e->across, e->down, e->down);
        fprintf(out,
                "<svg x=\"100%%\" y=\"0\" width=\"1\" height=\"1\"><line class=\"lead\" x1=\"0\" x2=\"12\" y1=\"%.1f\" y2=\"%.1f\"/></svg>",
                e->down, e->baseline);
        fprintf(out, "<text class=\"letter-name\" x=\"100%%\" dx=\"15\" y=\"%.1f\">%s</text>", e->baseline + 4, letter);
    }
    fputc('\n', out);
}

static void write_key(const tn_cli_page *page, const point *points, size_t n)
{
    fputs("<ul class=\"key\">", page->out);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && points[i].subject == points[i - 1].subject) continue;
        fputs("<li><svg width=\"14\" height=\"14\" aria-hidden=\"true\"><svg x=\"7\" y=\"7\">", page->out);
        tn_cli_page_draw_mark(page->out, points[i].subject, 0, 0);
        fputs("</svg></svg>", page->out);
        tn_cli_page_subject_name(page, points[i].subject);
        fputs("</li>", page->out);
    }
    fputs("</ul>\n", page->out);
}

static void write_heading(FILE *out, const point *p)
{
    fputs("<h3>", out);
    if (p->n_prompt > 0) fprintf(out, "Prompts of %.6g tokens%s", p->n_prompt, p->n_gen > 0 ? ", replies" : "");
    if (p->n_prompt <= 0) fputs("Replies", out);
    if (p->n_gen > 0) fprintf(out, " of %.6g%s", p->n_gen, p->n_prompt > 0 ? "" : " tokens");
    fputs("</h3>\n", out);
}

static bool draw_group(const tn_cli_page *page, const point *points, size_t n)
{
    FILE *out = page->out;
    tn_cli_page_axis across, up;
    double *ticks = malloc(n * sizeof *ticks);
    ending *ends = malloc(n * sizeof *ends);
    const bool good = ticks && ends;
    if (good) {
        find_axes(points, n, &across, &up);
        write_heading(out, &points[0]);
        fputs("<figure>\n<figcaption>Up: ", out);
        tn_cli_page_text(out, points[0].unit);
        fprintf(out, " of all sequences together, %s. Across: sequences decoded together, doubling.</figcaption>\n",
                up.log ? "each line of the grid ten times or more the one below" : "from 0");
        write_key(page, points, n);
        fprintf(out,
                "<svg class=\"chart\" height=\"%d\" role=\"img\"><title>Speed against the number of sequences</title>"
                "<desc>One line for each subject; all figures are in the table of speeds.</desc>\n",
                TN_PAGE_CHART_HEIGHT);
        tn_cli_page_draw_up_axis(out, &up, points[0].unit);
        tn_cli_page_draw_across_axis(out, &across, ticks, find_ticks(points, n, ticks), "sequences");
        draw_lines(out, points, n, &across, &up);
        draw_letters(out, points, n, &across, &up, ends);
        fputs("</svg>\n</figure>\n", out);
    }
    free(ends);
    free(ticks);
    return good;
}

static bool has_several_sizes(const point *points, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (points[i].n_seqs != points[0].n_seqs) return true;
    }
    return false;
}

bool tn_cli_page_batch(const tn_cli_page *page)
{
    size_t n_all = 1;
    bool good = true, begun = false;
    for (size_t i = 0; i < page->n_subjects; i++) n_all += json_array_size(json_object_get(tn_cli_page_subject(page, i), "speed"));
    point *points = calloc(n_all, sizeof *points);
    if (!points) return false;
    const size_t n = find_points(page, points);
    for (size_t at = 0, n_group; good && at < n; at += n_group) {
        n_group = take_group(points + at, n - at);
        if (!has_several_sizes(points + at, n_group)) continue;
        if (!begun) fputs("<section id=\"batch\">\n<h2>Speed and batch</h2>\n", page->out);
        begun = true;
        good = draw_group(page, points + at, n_group);
    }
    if (begun) fputs("</section>\n", page->out);
    free(points);
    return good;
}
