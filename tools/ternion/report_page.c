// A comparison as one HTML page: the order of its sections, its head, and what it says first.
#include "report_page.h"

#include "output.h"
#include "report.h"
#include "report_page_parts.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void write_title(const tn_cli_page *page)
{
    const json_t *model = tn_cli_page_field(page->root, "model");
    fputs("Comparison", page->out);
    if (tn_cli_page_string(model, "name")) {
        fputs(" of ", page->out);
        tn_cli_page_word(page->out, model, "name");
    }
}

// What a page may do is told to the browser as well: it may use its own styles, and nothing else, whatever a hostile file is named.
static void write_head(const tn_cli_page *page)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>",
          page->out);
    write_title(page);
    fputs("</title>\n", page->out);
    tn_cli_page_style(page->out);
    fputs("</head>\n<body>\n", page->out);
    tn_cli_page_patterns(page->out);
}

static void write_header(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *model = tn_cli_page_field(page->root, "model"), *ternion = tn_cli_page_field(page->root, "ternion");
    fputs("<header>\n<h1>", out);
    write_title(page);
    fputs("</h1>\n<p>", out);
    tn_cli_page_word(out, model, "architecture");
    fputs(", ", out);
    tn_cli_page_word(out, model, "type");
    fputs(", ", out);
    tn_cli_page_figure(out, model, "n_params", TN_PAGE_COUNT, "/model");
    fputs(" parameters, ", out);
    tn_cli_page_figure(out, model, "size", TN_PAGE_BYTES, "/model");
    fputs(", ", out);
    tn_cli_page_figure(out, model, "n_layers", TN_PAGE_COUNT, "/model");
    fputs(" layers. On ", out);
    tn_cli_page_word(out, tn_cli_page_field(page->root, "machine"), "cpu");
    fputs(", at ", out);
    tn_cli_page_word(out, page->root, "time");
    fputs(", by ternion ", out);
    tn_cli_page_word(out, ternion, "version");
    fputs(" (", out);
    tn_cli_page_word(out, ternion, "commit");
    fputs(").</p>\n", out);
}

// Links to the sections that are there: of "<section id=" no text of others is made, as their "<" is escaped.
static void write_navigation(FILE *out, const char *body)
{
    static const char *const sections[][2] = {{"speed", "Speed"},         {"batch", "Speed and batch"}, {"accuracy", "Accuracy"},
                                              {"roofline", "Roofline"},   {"memory", "Memory"},         {"energy", "Energy"},
                                              {"placement", "Placement"}, {"conditions", "Conditions"}, {"copy", "To copy"}};
    char begin[40];
    fputs("<nav aria-label=\"Sections\"><ul>", out);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        snprintf(begin, sizeof begin, "<section id=\"%s\"", sections[i][0]);
        if (strstr(body, begin)) fprintf(out, "<li><a href=\"#%s\">%s</a></li>", sections[i][0], sections[i][1]);
    }
    fputs("</ul></nav>\n</header>\n<main>\n", out);
}

static bool write_sections(const tn_cli_page *page)
{
    tn_cli_page_summary(page);
    tn_cli_page_problems(page);
    tn_cli_page_speed(page);
    bool good = tn_cli_page_batch(page);
    tn_cli_page_accuracy(page);
    good = tn_cli_page_roofline(page) && good;
    tn_cli_page_memory(page);
    tn_cli_page_energy(page);
    tn_cli_page_placement(page);
    tn_cli_page_conditions(page);
    tn_cli_page_block(page);
    return good && !ferror(page->out);
}

static bool write_page(const tn_cli_page *page)
{
    char *body = NULL;
    size_t size = 0;
    tn_cli_page of_body = *page;
    of_body.out = open_memstream(&body, &size);
    if (!of_body.out) return false;
    bool good = write_sections(&of_body);
    good = fclose(of_body.out) == 0 && good;
    if (good) {
        write_head(page);
        write_header(page);
        write_navigation(page->out, body);
        fwrite(body, 1, size, page->out);
        fputs("</main>\n</body>\n</html>\n", page->out);
    }
    free(body);
    return good;
}

// In memory first, so that only the writing of a file has to be looked after.
static int make_page(const json_t *comparison, char **out_text, size_t *out_size)
{
    tn_cli_page page = {.root = comparison, .subjects = tn_cli_page_field(comparison, "subjects")};
    page.n_subjects = json_array_size(page.subjects);
    page.out = open_memstream(out_text, out_size);
    if (!page.out) return tn_cli_out_of_memory();
    const bool whole = tn_cli_page_find_tests(&page) && write_page(&page) && !ferror(page.out);
    free(page.tests);
    return fclose(page.out) != 0 || !whole ? tn_cli_out_of_memory() : 0;
}

int tn_cli_report_page_write(const char *path, const json_t *comparison)
{
    char *text = NULL;
    size_t size = 0;
    tn_cli_output output = {.stream = NULL};
    int rc = make_page(comparison, &text, &size);
    if (rc == 0) rc = tn_cli_output_open(&output, path);
    if (rc == 0) rc = tn_cli_output_write(&output, text, size);
    if (rc == 0) rc = tn_cli_output_commit(&output);
    tn_cli_output_discard(&output);
    free(text);
    return rc;
}
