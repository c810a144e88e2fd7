// Speed: a drawing of bars for each test, with the spread of its samples, and all its figures as a table.
#include "report_page_parts.h"

#include <math.h>
#include <string.h>

const char *tn_cli_page_middle_of(const json_t *speed) { return json_is_number(json_object_get(speed, "median")) ? "median" : "mean"; }

void tn_cli_page_limit(FILE *out, const json_t *speed, const char *at)
{
    const bool of_memory =
        !json_is_number(json_object_get(speed, "share_roofline")) && json_is_number(json_object_get(speed, "share_memory"));
    tn_cli_page_figure(out, speed, of_memory ? "share_memory" : "share_roofline", TN_PAGE_SHARE, at);
    if (of_memory) fputs(" (memory)", out);
}

// The largest figure of a test, which its drawing ends at; 0: there is none.
static double largest(const tn_cli_page *page, const tn_cli_page_test *test)
{
    double most = 0;
    size_t k;
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *speed = tn_cli_page_speed_of(tn_cli_page_subject(page, i), test->test, test->unit, &k), *sample;
        most = fmax(most, fmax(tn_cli_page_number(speed, tn_cli_page_middle_of(speed)), tn_cli_page_number(speed, "max")));
        json_array_foreach(json_object_get(speed, "samples"), k, sample)
        {
            if (json_is_number(sample)) most = fmax(most, json_number_value(sample));
        }
    }
    return most;
}

static double percent(double value, double most) { return most > 0 && value > 0 ? fmin(100 * value / most, 100) : 0; }

static void draw_spread(FILE *out, const json_t *speed, double most, const char *at)
{
    const double low = tn_cli_page_number(speed, "min"), high = tn_cli_page_number(speed, "max");
    size_t k;
    const json_t *sample;
    if (low <= high) {
        const double from = percent(low, most), to = percent(high, most);
        fprintf(out,
                "<line class=\"spread\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"12\" y2=\"12\"/>"
                "<line class=\"spread\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"3\" y2=\"21\"/>"
                "<line class=\"spread\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"3\" y2=\"21\"/>",
                from, to, from, from, to, to);
    }
    json_array_foreach(json_object_get(speed, "samples"), k, sample)
    {
        if (!json_is_number(sample)) continue;
        fprintf(out, "<circle class=\"sample\" cx=\"%.2f%%\" cy=\"12\" r=\"2.5\" data-value=\"%.12g\" data-json=\"%s/samples/%zu\"/>",
                percent(json_number_value(sample), most), json_number_value(sample), at, k);
    }
}

static void draw_bar(const tn_cli_page *page, const json_t *subject, const json_t *speed, double most, const char *at)
{
    FILE *out = page->out;
    const char *kind = tn_cli_page_string(subject, "kind");
    const int fill = tn_cli_page_is_external(subject) ? 2 : kind && strcmp(kind, "placement") == 0 ? 1 : 0;
    fputs("<svg width=\"100%\" height=\"24\" role=\"img\"><title>", out);
    tn_cli_page_word(out, subject, "name");
    fputs(", ", out);
    tn_cli_page_word(out, speed, "test");
    fprintf(
        out,
        "</title><desc>A bar up to the median, a line from the slowest to the fastest sample, and a dot for each of %zu samples.</desc>",
        json_array_size(json_object_get(speed, "samples")));
    fprintf(out, "<rect class=\"track\" x=\"0\" y=\"4\" width=\"100%%\" height=\"16\"/>");
    fprintf(out, "<rect class=\"p%d\" x=\"0\" y=\"4\" width=\"%.2f%%\" height=\"16\"/>", fill,
            percent(tn_cli_page_number(speed, tn_cli_page_middle_of(speed)), most));
    draw_spread(out, speed, most, at);
    fputs("</svg>", out);
}

static void write_bar_row(const tn_cli_page *page, const tn_cli_page_test *test, double most, size_t i)
{
    size_t k = 0;
    char at[64];
    const json_t *subject = tn_cli_page_subject(page, i);
    const json_t *speed = tn_cli_page_speed_of(subject, test->test, test->unit, &k);
    fputs("<li><span>", page->out);
    tn_cli_page_subject_name(page, i);
    fputs("</span>", page->out);
    if (speed) {
        snprintf(at, sizeof at, "/subjects/%zu/speed/%zu", i, k);
        draw_bar(page, subject, speed, most, at);
        fputs("<span class=\"value\">", page->out);
        tn_cli_page_figure(page->out, speed, tn_cli_page_middle_of(speed), TN_PAGE_RATE, at);
        tn_cli_page_error(page->out, speed, "deviation", TN_PAGE_RATE, at);
        if (strcmp(tn_cli_page_middle_of(speed), "mean") == 0) fputs(" (mean)", page->out);
        fputs("</span>", page->out);
    } else {
        fputs("<span class=\"note soft\">not measured</span>", page->out);
    }
    fputs("</li>\n", page->out);
}

// "16 sequences, replies of 32 tokens", by the first subject that has the test.
static void describe(const tn_cli_page *page, const tn_cli_page_test *test)
{
    const json_t *speed = NULL;
    size_t k;
    for (size_t i = 0; i < page->n_subjects && !speed; i++)
        speed = tn_cli_page_speed_of(tn_cli_page_subject(page, i), test->test, test->unit, &k);
    const double n_seqs = tn_cli_page_number(speed, "n_seqs"), n_prompt = tn_cli_page_number(speed, "n_prompt");
    const double n_gen = tn_cli_page_number(speed, "n_gen");
    if (n_seqs >= 1) fprintf(page->out, "%.6g sequence%s, ", n_seqs, n_seqs > 1 ? "s decoded together" : "");
    if (n_prompt > 0) fprintf(page->out, "prompt of %.6g tokens, ", n_prompt);
    if (n_gen > 0) fprintf(page->out, "reply of %.6g tokens, ", n_gen);
}

static void write_test(const tn_cli_page *page, const tn_cli_page_test *test)
{
    FILE *out = page->out;
    char shown[64];
    const double most = largest(page, test);
    tn_cli_page_format(most, TN_PAGE_RATE, shown, sizeof shown);
    fputs("<h3>", out);
    tn_cli_page_text(out, test->test);
    fputs("</h3>\n<figure>\n<figcaption>", out);
    describe(page, test);
    tn_cli_page_text(out, test->unit);
    fprintf(out, ", from 0 to %s; median \xc2\xb1 standard deviation</figcaption>\n<ol class=\"bars\">\n", shown);
    for (size_t i = 0; i < page->n_subjects; i++) write_bar_row(page, test, most, i);
    fputs("</ol>\n</figure>\n", out);
}

static void write_speed_row(const tn_cli_page *page, tn_cli_page_table *table, size_t i, size_t k)
{
    static const char *const rates[] = {"median", "mean", "min", "max"}, *const shares[] = {"share_memory", "share_int8"};
    const json_t *speed = json_array_get(json_object_get(tn_cli_page_subject(page, i), "speed"), k);
    char at[64];
    snprintf(at, sizeof at, "/subjects/%zu/speed/%zu", i, k);
    tn_cli_page_row_begin(table);
    tn_cli_page_subject_short_name(page, i);
    tn_cli_page_cell(table);
    tn_cli_page_word(page->out, speed, "test");
    for (size_t n = 0; n < sizeof rates / sizeof *rates; n++) {
        tn_cli_page_cell(table);
        tn_cli_page_figure(page->out, speed, rates[n], TN_PAGE_RATE, at);
        if (n == 1) tn_cli_page_error(page->out, speed, "deviation", TN_PAGE_RATE, at);
    }
    tn_cli_page_cell(table);
    fprintf(page->out, "%zu", json_array_size(json_object_get(speed, "samples")));
    for (size_t n = 0; n < sizeof shares / sizeof *shares; n++) {
        tn_cli_page_cell(table);
        tn_cli_page_figure(page->out, speed, shares[n], TN_PAGE_SHARE, at);
    }
    tn_cli_page_cell(table);
    tn_cli_page_limit(page->out, speed, at);
    tn_cli_page_row_end(table);
}

static void write_speed_table(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject", "Test",        "Median",  "Mean \xc2\xb1 deviation",
                                        "Slowest", "Fastest",     "Samples", "Of memory",
                                        "Of int8", "Of roofline", NULL};
    tn_cli_page_table table;
    tn_cli_page_table_begin(&table, page->out, "dense tests",
                            "All figures of speed, with the shares of the limits of memory, of int8 products and of the roofline that were "
                            "measured on the same device; where int8 products were not measured, the roofline is that of the memory",
                            heads);
    for (size_t i = 0; i < page->n_subjects; i++) {
        const size_t n = json_array_size(json_object_get(tn_cli_page_subject(page, i), "speed"));
        for (size_t k = 0; k < n; k++) write_speed_row(page, &table, i, k);
    }
    tn_cli_page_table_end(&table);
}

void tn_cli_page_speed(const tn_cli_page *page)
{
    fputs("<section id=\"speed\">\n<h2>Speed</h2>\n", page->out);
    if (page->n_tests == 0) {
        fputs("<p>No speed was measured.</p>\n", page->out);
    } else {
        fputs("<p>Longer is faster. The line across a bar goes from the slowest to the fastest sample, each dot is one sample. Filled: a "
              "backend; "
              "striped: a placement; dotted: not ours, from a file that another program wrote.</p>\n",
              page->out);
        for (size_t i = 0; i < page->n_tests; i++) write_test(page, &page->tests[i]);
        write_speed_table(page);
    }
    fputs("</section>\n", page->out);
}
