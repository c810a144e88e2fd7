// What runs where: a strip of layers for each subject, filled by device.
#include "report_page_parts.h"

#include <math.h>
#include <string.h>

enum { N_FILLS = 6, END_UNITS = 2, LAYERS_MAX = 100000 }; // embedding and head are drawn as wide as two layers

// A layer's number in the file, or -1; what is no layer is left out of the drawing.
static int layer_of(const json_t *part, const char *key)
{
    const double layer = tn_cli_page_number(part, key);
    return layer >= 0 && layer < LAYERS_MAX ? (int)layer : -1;
}

static int count_layers(const tn_cli_page *page, const json_t *placement)
{
    int n = layer_of(tn_cli_page_field(page->root, "model"), "n_layers");
    size_t k;
    const json_t *part;
    json_array_foreach(placement, k, part)
    {
        if (layer_of(part, "last_layer") + 1 > n) n = layer_of(part, "last_layer") + 1;
    }
    return n > 0 ? n : 0;
}

// The first part on the same device has the number that its fill goes by.
static int fill_of(const json_t *placement, size_t k)
{
    const char *device = tn_cli_page_string(json_array_get(placement, k), "device");
    size_t n_before = 0;
    for (size_t i = 0; i <= k; i++) {
        const char *other = tn_cli_page_string(json_array_get(placement, i), "device");
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++) {
            const char *earlier = tn_cli_page_string(json_array_get(placement, j), "device");
            seen = earlier && other && strcmp(earlier, other) == 0;
        }
        if (other && device && strcmp(other, device) == 0) return (int)(n_before % N_FILLS);
        n_before += !seen;
    }
    return 0;
}

static void draw_part(FILE *out, int fill, double from, double units, double all)
{
    fprintf(out, "<rect class=\"p%d\" x=\"%.3f%%\" y=\"16\" width=\"%.3f%%\" height=\"18\"/>", fill, 100 * from / all, 100 * units / all);
}

static void draw_strip(const tn_cli_page *page, const json_t *subject, const json_t *placement)
{
    FILE *out = page->out;
    const int n_layers = count_layers(page, placement);
    const double all = n_layers + 2 * END_UNITS;
    size_t k;
    const json_t *part;
    fputs("<svg width=\"100%\" height=\"38\" role=\"img\"><title>Placement of ", out);
    tn_cli_page_word(out, subject, "name");
    fputs("</title><desc>", out);
    tn_cli_page_word(out, subject, "placement_text");
    fputs("</desc><rect class=\"track\" x=\"0\" y=\"16\" width=\"100%\" height=\"18\"/>", out);
    json_array_foreach(placement, k, part)
    {
        const int fill = fill_of(placement, k), first = layer_of(part, "first_layer"), last = layer_of(part, "last_layer");
        if (tn_cli_page_true(part, "embedding")) draw_part(out, fill, 0, END_UNITS, all);
        if (first >= 0 && last >= first) draw_part(out, fill, END_UNITS + first, last - first + 1, all);
        if (tn_cli_page_true(part, "head")) draw_part(out, fill, END_UNITS + n_layers, END_UNITS, all);
    }
    for (int i = 0; i <= n_layers && n_layers <= 100; i++) {
        const double x = 100 * (END_UNITS + i) / all;
        fprintf(out, "<line class=\"axis\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"%d\" y2=\"34\"/>", x, x, i == 0 || i == n_layers ? 12 : 16);
    }
    fputs("<text x=\"0\" y=\"11\">E</text><text x=\"100%\" y=\"11\" text-anchor=\"end\">H</text>", out);
    if (n_layers > 0) {
        fprintf(out, "<text x=\"%.3f%%\" dx=\"3\" y=\"11\">0</text>", 100 * END_UNITS / all);
        if (n_layers > 1)
            fprintf(out, "<text x=\"%.3f%%\" dx=\"-3\" y=\"11\" text-anchor=\"end\">%d</text>", 100 * (END_UNITS + n_layers) / all,
                    n_layers - 1);
    }
    fputs("</svg>\n", out);
}

static void write_key(const tn_cli_page *page, size_t i, const json_t *placement)
{
    FILE *out = page->out;
    size_t k;
    const json_t *part;
    char at[64];
    fputs("<ul class=\"key\">", out);
    json_array_foreach(placement, k, part)
    {
        const char *between = ": ";
        snprintf(at, sizeof at, "/subjects/%zu/placement/%zu", i, k);
        fprintf(out,
                "<li><svg width=\"26\" height=\"14\" aria-hidden=\"true\"><rect class=\"p%d\" x=\"1\" y=\"1\" width=\"24\" "
                "height=\"12\"/></svg>",
                fill_of(placement, k));
        tn_cli_page_word(out, part, "device");
        if (tn_cli_page_true(part, "embedding")) {
            fprintf(out, "%sembedding", between);
            between = ", ";
        }
        if (layer_of(part, "first_layer") >= 0 && layer_of(part, "last_layer") >= layer_of(part, "first_layer")) {
            fprintf(out, "%slayers ", between);
            tn_cli_page_figure(out, part, "first_layer", TN_PAGE_COUNT, at);
            fputs(" to ", out);
            tn_cli_page_figure(out, part, "last_layer", TN_PAGE_COUNT, at);
            between = ", ";
        }
        if (tn_cli_page_true(part, "head")) fprintf(out, "%shead", between);
        fputs("</li>", out);
    }
    fputs("</ul>\n", out);
}

void tn_cli_page_placement(const tn_cli_page *page)
{
    FILE *out = page->out;
    bool any = false;
    fputs("<section id=\"placement\">\n<h2>Placement</h2>\n", out);
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *subject = tn_cli_page_subject(page, i), *placement = tn_cli_page_field(subject, "placement");
        if (json_array_size(placement) == 0) continue;
        if (!any) fputs("<p>From the embedding (E) through the layers to the head (H); each device has a filling of its own.</p>\n", out);
        any = true;
        fputs("<figure>\n<figcaption>", out);
        tn_cli_page_subject_name(page, i);
        fputs("</figcaption>\n", out);
        draw_strip(page, subject, placement);
        write_key(page, i, placement);
        fputs("</figure>\n", out);
    }
    if (!any) fputs("<p>No placement is known.</p>\n", out);
    fputs("</section>\n", out);
}
