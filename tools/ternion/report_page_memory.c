// Memory and energy of each subject.
#include "report_page_parts.h"

#include <math.h>

static const char *const parts[] = {"weights_bytes", "kv_bytes", "scratch_bytes"};
enum { N_PARTS = sizeof parts / sizeof *parts };

static const json_t *memory_of(const tn_cli_page *page, size_t i) { return tn_cli_page_field(tn_cli_page_subject(page, i), "memory"); }

// Of sizes that no memory has, what can still be summed.
static double known(double value) { return value > 0 ? fmin(value, 1e300) : 0; }

static double sum_of(const json_t *memory)
{
    double sum = 0;
    for (size_t n = 0; n < N_PARTS; n++) sum += known(tn_cli_page_number(memory, parts[n]));
    return sum;
}

static double largest(const tn_cli_page *page)
{
    double most = 0;
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *memory = memory_of(page, i);
        most = fmax(most, fmax(sum_of(memory), known(tn_cli_page_number(memory, "peak_rss_bytes"))));
    }
    return most;
}

static void draw(const tn_cli_page *page, size_t i, double most)
{
    static const int fills[N_PARTS] = {0, 1, 2};
    const json_t *memory = memory_of(page, i);
    const double peak = known(tn_cli_page_number(memory, "peak_rss_bytes"));
    double at = 0;
    char shown[64];
    FILE *out = page->out;
    fputs("<li><span>", out);
    tn_cli_page_subject_name(page, i);
    fputs("</span>", out);
    if (sum_of(memory) > 0 || peak > 0) {
        fputs("<svg width=\"100%\" height=\"24\" role=\"img\"><title>Memory of ", out);
        tn_cli_page_word(out, tn_cli_page_subject(page, i), "name");
        fputs("</title><desc>Weights, keys and values, scratch, one behind the other; a thick line at the process's peak.</desc>"
              "<rect class=\"track\" x=\"0\" y=\"4\" width=\"100%\" height=\"16\"/>",
              out);
        for (size_t n = 0; n < N_PARTS; n++) {
            const double size = known(tn_cli_page_number(memory, parts[n]));
            fprintf(out, "<rect class=\"p%d\" x=\"%.2f%%\" y=\"4\" width=\"%.2f%%\" height=\"16\"/>", fills[n], 100 * at / most,
                    100 * size / most);
            at += size;
        }
        if (peak > 0)
            fprintf(out, "<line class=\"peak\" x1=\"%.2f%%\" x2=\"%.2f%%\" y1=\"1\" y2=\"23\"/>", 100 * peak / most, 100 * peak / most);
        tn_cli_page_format(sum_of(memory), TN_PAGE_BYTES, shown, sizeof shown);
        fprintf(out, "</svg><span class=\"value\">%s</span>", shown);
    } else {
        fputs("<span class=\"note soft\">unknown</span>", out);
    }
    fputs("</li>\n", out);
}

static void write_key(FILE *out)
{
    static const char *const names[N_PARTS] = {"weights", "keys and values", "scratch"};
    fputs("<ul class=\"key\">", out);
    for (size_t n = 0; n < N_PARTS; n++) {
        fprintf(out,
                "<li><svg width=\"26\" height=\"14\" aria-hidden=\"true\"><rect class=\"p%zu\" x=\"1\" y=\"1\" width=\"24\" "
                "height=\"12\"/></svg>"
                "%s</li>",
                n, names[n]);
    }
    fputs("<li><svg width=\"26\" height=\"14\" aria-hidden=\"true\"><line class=\"peak\" x1=\"13\" x2=\"13\" y1=\"0\" y2=\"14\"/></svg>"
          "peak of the process</li></ul>\n",
          out);
}

void tn_cli_page_memory(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject", "Weights", "Keys and values", "Scratch", "Peak of the process", NULL};
    static const char *const fields[] = {"weights_bytes", "kv_bytes", "scratch_bytes", "peak_rss_bytes"};
    FILE *out = page->out;
    tn_cli_page_table table;
    char at[64], shown[64];
    const double most = largest(page);
    fputs("<section id=\"memory\">\n<h2>Memory</h2>\n", out);
    if (most > 0) {
        tn_cli_page_format(most, TN_PAGE_BYTES, shown, sizeof shown);
        fprintf(out, "<figure>\n<figcaption>From 0 to %s; the figure is the sum of weights, keys and values, and scratch</figcaption>\n",
                shown);
        write_key(out);
        fputs("<ol class=\"bars\">\n", out);
        for (size_t i = 0; i < page->n_subjects; i++) draw(page, i, most);
        fputs("</ol>\n</figure>\n", out);
        tn_cli_page_table_begin(&table, out, "plain", "Memory of each subject", heads);
        for (size_t i = 0; i < page->n_subjects; i++) {
            snprintf(at, sizeof at, "/subjects/%zu/memory", i);
            tn_cli_page_row_begin(&table);
            tn_cli_page_subject_name(page, i);
            for (size_t n = 0; n < sizeof fields / sizeof *fields; n++) {
                tn_cli_page_cell(&table);
                tn_cli_page_figure(out, memory_of(page, i), fields[n], TN_PAGE_BYTES, at);
            }
            tn_cli_page_row_end(&table);
        }
        tn_cli_page_table_end(&table);
    } else {
        fputs("<p>No memory was measured.</p>\n", out);
    }
    fputs("</section>\n", out);
}

// Joules of a token in each test that has them, or why there are none and what would change that.
static void write_energy(const tn_cli_page *page, tn_cli_page_table *table, size_t i)
{
    FILE *out = page->out;
    const json_t *subject = tn_cli_page_subject(page, i), *energy = tn_cli_page_field(subject, "energy"), *speed;
    size_t k, n = 0;
    char at[80];
    tn_cli_page_row_begin(table);
    tn_cli_page_subject_name(page, i);
    tn_cli_page_cell(table);
    tn_cli_page_word(out, energy, "meter");
    tn_cli_page_cell(table);
    json_array_foreach(json_object_get(subject, "speed"), k, speed)
    {
        const json_t *of_test = tn_cli_page_field(speed, "energy");
        if (!json_is_number(json_object_get(of_test, "joule_per_token"))) continue;
        snprintf(at, sizeof at, "/subjects/%zu/speed/%zu/energy", i, k);
        if (n++ > 0) fputs("; ", out);
        tn_cli_page_word(out, speed, "test");
        fputs(": ", out);
        tn_cli_page_figure(out, of_test, "joule_per_token", TN_PAGE_TINY, at);
    }
    if (n == 0) tn_cli_page_word(out, energy, "why");
    if (n == 0 && tn_cli_page_string(energy, "enable")) {
        fputs("; to enable it: <code>", out);
        tn_cli_page_word(out, energy, "enable");
        fputs("</code>", out);
    }
    tn_cli_page_row_end(table);
}

void tn_cli_page_energy(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject", "Meter", "Joules per token", NULL};
    tn_cli_page_table table;
    bool any = false;
    for (size_t i = 0; i < page->n_subjects; i++) any = any || tn_cli_page_field(tn_cli_page_subject(page, i), "energy");
    if (!any) return;
    fputs("<section id=\"energy\">\n<h2>Energy</h2>\n", page->out);
    tn_cli_page_table_begin(&table, page->out, "plain", "By the meter of the device, where there is one that may be read", heads);
    for (size_t i = 0; i < page->n_subjects; i++) write_energy(page, &table, i);
    tn_cli_page_table_end(&table);
    fputs("</section>\n", page->out);
}
