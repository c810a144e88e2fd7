// Drawings with two axes for a comparison's page. Across they are measured in shares of the drawing's width, which the browser decides, and
// down in pixels, so that text keeps its size on a phone.
#ifndef TERNION_TOOL_REPORT_PAGE_CHART_H
#define TERNION_TOOL_REPORT_PAGE_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TN_PAGE_CHART_HEIGHT = 300, TN_PAGE_TICKS_MAX = 12 };

typedef struct tn_cli_page_axis {
    double low, high; // low < high; of a logarithmic one both are above 0
    bool log;
} tn_cli_page_axis;

// From whole powers of ten around the values; both above 0.
tn_cli_page_axis tn_cli_page_log_axis(double least, double most);
// From 0 to a round number that is not below `most`.
tn_cli_page_axis tn_cli_page_linear_axis(double most);
// Where a value lies, 0 .. 1; what lies outside is at the end.
double tn_cli_page_place(const tn_cli_page_axis *axis, double value);
size_t tn_cli_page_ticks(const tn_cli_page_axis *axis, double ticks[TN_PAGE_TICKS_MAX]);
// Pixels from the top.
double tn_cli_page_down(const tn_cli_page_axis *axis, double value);

// Lines of the grid with their figures at the left or below, and what they count. The units are written as they are.
void tn_cli_page_draw_up_axis(FILE *out, const tn_cli_page_axis *axis, const char *title);
void tn_cli_page_draw_across_axis(FILE *out, const tn_cli_page_axis *axis, const double *ticks, size_t n_ticks, const char *title);
// One of six shapes, which repeat hollow, in one of six colours.
void tn_cli_page_draw_mark(FILE *out, size_t look, double across, double down);

// A name beside a point.
typedef struct tn_cli_page_label {
    const char *text;
    double across, down; // its point
    double baseline;     // set by the placing: pixels from the top; NAN: there is no room
    double offset;       // set too: pixels from its point to where the text begins, or, below 0, ends
} tn_cli_page_label;

// A line that no name should lie on: from a point to another one that is not left of it.
typedef struct tn_cli_page_line {
    double across1, down1, across2, down2;
} tn_cli_page_line;

// Places labels beside their points so that none lies on another or on a point, in any drawing at least `width` pixels wide: each pair
// either differs in height, or is far enough apart at that width, and a wider drawing only moves them further apart. Nor do they lie on one
// of the lines, where there is room without.
void tn_cli_page_place_labels(tn_cli_page_label *labels, size_t n, const tn_cli_page_line *lines, size_t n_lines, double width);
// Places them and writes those that found room, with a line to points that are not near. look: "wide" or "narrow", the screens that show
// them.
void tn_cli_page_draw_labels(FILE *out, tn_cli_page_label *labels, size_t n, const tn_cli_page_line *lines, size_t n_lines,
                             const char *look);

#endif
