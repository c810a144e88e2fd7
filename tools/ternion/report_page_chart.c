// Axes and marks of a comparison's drawings.
#include "report_page_chart.h"

#include "report_page_text.h"

#include <math.h>

tn_cli_page_axis tn_cli_page_log_axis(double least, double most)
{
    const double low = floor(log10(fmax(least, 1e-300)) + 1e-9), high = ceil(log10(fmin(most, 1e300)) - 1e-9); // powers that exist
    return (tn_cli_page_axis){pow(10, low), pow(10, high > low ? high : low + 1), true};
}

static double round_step(double span)
{
    const double power = pow(10, floor(log10(span)));
    const double digits = span / power;
    return power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
}

tn_cli_page_axis tn_cli_page_linear_axis(double most)
{
    const double step = round_step(most > 0 ? most / 5 : 0.2);
    return (tn_cli_page_axis){0, step * ceil((most > 0 ? most : 1) / step - 1e-9), false};
}

double tn_cli_page_place(const tn_cli_page_axis *axis, double value)
{
    const double share =
        axis->log ? (value > 0 ? log(value / axis->low) / log(axis->high / axis->low) : 0) : (value - axis->low) / (axis->high - axis->low);
    return share < 0 ? 0 : share < 1 ? share : 1;
}

double tn_cli_page_down(const tn_cli_page_axis *axis, double value) { return TN_PAGE_CHART_HEIGHT * (1 - tn_cli_page_place(axis, value)); }

size_t tn_cli_page_ticks(const tn_cli_page_axis *axis, double ticks[TN_PAGE_TICKS_MAX])
{
    size_t n = 0;
    if (axis->log) {
        const int low = (int)lround(log10(axis->low)), high = (int)lround(log10(axis->high)), step = (high - low) / 6 + 1;
        for (int power = low; power <= high && n < TN_PAGE_TICKS_MAX; power += step) ticks[n++] = pow(10, power);
        return n;
    }
    const double step = round_step(axis->high / 5);
    for (int i = 0; i * step <= axis->high * (1 + 1e-9) && n < TN_PAGE_TICKS_MAX; i++) ticks[n++] = i * step;
    return n;
}

static void write_tick(FILE *out, double value)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    fprintf(out, "%.3g%s%s", value, unit > 0 ? "\xc2\xa0" : "", units[unit]);
}

void tn_cli_page_draw_up_axis(FILE *out, const tn_cli_page_axis *axis, const char *title)
{
    double ticks[TN_PAGE_TICKS_MAX];
    const size_t n = tn_cli_page_ticks(axis, ticks);
    for (size_t i = 0; i < n; i++) {
        const double down = tn_cli_page_down(axis, ticks[i]);
        fprintf(out, "<line class=\"grid\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"-8\" y=\"%.1f\" text-anchor=\"end\">",
                down, down, down + 4);
        write_tick(out, ticks[i]);
        fputs("</text>", out);
    }
    fputs("<text x=\"-56\" y=\"-14\">", out);
    tn_cli_page_text(out, title);
    fputs("</text>\n", out);
}

void tn_cli_page_draw_across_axis(FILE *out, const tn_cli_page_axis *axis, const double *ticks, size_t n_ticks, const char *title)
{
    double last = -1;
    for (size_t i = 0; i < n_ticks; i++) {
        const double across = tn_cli_page_place(axis, ticks[i]);
        fprintf(out, "<line class=\"grid\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"0\" y2=\"%d\"/>", 100 * across, 100 * across,
                TN_PAGE_CHART_HEIGHT);
        if (last >= 0 && across - last < 0.13) continue; // its figure would touch the one before on a phone
        last = across;
        fprintf(out, "<text x=\"%.2f%%\" y=\"%d\" text-anchor=\"middle\">", 100 * across, TN_PAGE_CHART_HEIGHT + 17);
        write_tick(out, ticks[i]);
        fputs("</text>", out);
    }
    fprintf(out, "<text x=\"100%%\" y=\"%d\" text-anchor=\"end\">", TN_PAGE_CHART_HEIGHT + 34);
    tn_cli_page_text(out, title);
    fputs("</text>\n", out);
}

void tn_cli_page_draw_mark(FILE *out, size_t look, double across, double down)
{
    static const char *const shapes[] = {"M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6l5.5 10h-11z",
                                         "M0-6.5l6.5 6.5l-6.5 6.5l-6.5-6.5z",    "M0 6l5.5-10h-11z",  "M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"};
    enum { N_SHAPES = sizeof shapes / sizeof *shapes };
    fprintf(out, "<svg x=\"%.2f%%\" y=\"%.1f\" width=\"1\" height=\"1\" class=\"s%zu\"><path class=\"mark%s\" d=\"%s\"/></svg>",
            100 * across, down, look % N_SHAPES, look / N_SHAPES % 2 ? " hollow" : "", shapes[look % N_SHAPES]);
}
