// Rooflines: what each op computes in a second against its operations for each byte, below the limits of the device.
#include "report_page_chart.h"
#include "report_page_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 40 };

typedef struct place {
    size_t op; // number in the list
    double intensity, speed;
    size_t phase;         // number among the phases
    char name[NAME_SIZE]; // "3 ternary matmul"
    char number[8];
} place;

typedef struct roof {
    double memory, int8; // bytes and operations a second; NAN: unknown
    const json_t *ops;
    place *places; // of those that can be drawn: attention, say, has no int8 operations
    size_t n_places;
    tn_cli_page_axis across, up;
} roof;

// The number of the op's phase among the phases, in the order in which they come.
static size_t phase_of(const json_t *ops, size_t i)
{
    const char *phase = tn_cli_page_string(json_array_get(ops, i), "phase"), *last = NULL;
    size_t n = 0;
    for (size_t k = 0; k <= i; k++) {
        const char *other = tn_cli_page_string(json_array_get(ops, k), "phase");
        if (other && last && strcmp(other, last) != 0) n++;
        if (other) last = other;
        if (other && phase && strcmp(other, phase) == 0) return n;
    }
    return n;
}

static void name_place(place *p, const json_t *op)
{
    const char *name = tn_cli_page_string(op, "op");
    snprintf(p->number, sizeof p->number, "%zu", p->op + 1);
    snprintf(p->name, sizeof p->name, "%zu %.27s", p->op + 1, name ? name : "");
    size_t n = strlen(p->name);
    while (n > 0 && ((unsigned char)p->name[n - 1] & 0xc0) == 0x80) n--; // a character that the cut went through
    if (n > 0 && n < strlen(p->name)) {
        const unsigned char lead = (unsigned char)p->name[n - 1];
        const size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
        if (n - 1 + len > strlen(p->name)) p->name[n - 1] = '\0';
    } else if (n > 0 && ((unsigned char)p->name[n - 1] & 0x80)) {
        p->name[n - 1] = '\0';
    }
}

// From top to bottom, in which order names of points above each other go beside them without crossing.
static int by_speed(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return (x->speed < y->speed) - (x->speed > y->speed);
}

static bool find_places(roof *r)
{
    size_t k;
    const json_t *op;
    r->places = calloc(json_array_size(r->ops) + 1, sizeof *r->places);
    if (!r->places) return false;
    json_array_foreach(r->ops, k, op)
    {
        const double intensity = tn_cli_page_number(op, "intensity"), speed = tn_cli_page_number(op, "ops_per_s");
        if (!(intensity > 0 && speed > 0)) continue;
        place *p = &r->places[r->n_places++];
        *p = (place){.op = k, .intensity = intensity, .speed = speed, .phase = phase_of(r->ops, k)};
        name_place(p, op);
    }
    qsort(r->places, r->n_places, sizeof *r->places, by_speed);
    return true;
}

static void find_axes(roof *r)
{
    double least = r->places[0].intensity, most = least, slow = r->places[0].speed, fast = slow;
    for (size_t i = 1; i < r->n_places; i++) {
        least = fmin(least, r->places[i].intensity);
        most = fmax(most, r->places[i].intensity);
        slow = fmin(slow, r->places[i].speed);
        fast = fmax(fast, r->places[i].speed);
    }
    if (r->int8 > 0) fast = fmax(fast, r->int8);
    if (r->int8 > 0 && r->memory > 0) {
        least = fmin(least, r->int8 / r->memory); // where the two limits meet
        most = fmax(most, r->int8 / r->memory);
    }
    r->across = tn_cli_page_log_axis(least, most);
    r->up = tn_cli_page_log_axis(slow, fast);
}

static tn_cli_page_line line_between(const roof *r, double x1, double y1, double x2, double y2)
{
    return (tn_cli_page_line){tn_cli_page_place(&r->across, x1), tn_cli_page_down(&r->up, y1), tn_cli_page_place(&r->across, x2),
                              tn_cli_page_down(&r->up, y2)};
}

static void draw_line(FILE *out, const tn_cli_page_line *l, const char *kind)
{
    fprintf(out, "<line class=\"roof %s\" x1=\"%.2f%%\" y1=\"%.1f\" x2=\"%.2f%%\" y2=\"%.1f\"/>", kind, 100 * l->across1, l->down1,
            100 * l->across2, l->down2);
}

// Draws the limits as far as they are in the drawing; returns how many lines there are.
static size_t draw_roof(FILE *out, const roof *r, tn_cli_page_line lines[2])
{
    const double ridge = r->memory > 0 && r->int8 > 0 ? r->int8 / r->memory : (double)NAN;
    size_t n = 0;
    if (r->memory > 0) {
        const double from = fmax(r->across.low, r->up.low / r->memory);
        const double to = fmin(fmin(r->across.high, r->up.high / r->memory), isnan(ridge) ? r->across.high : ridge);
        if (from < to) {
            lines[n] = line_between(r, from, from * r->memory, to, to * r->memory);
            draw_line(out, &lines[n++], "memory");
        }
    }
    if (r->int8 > 0) {
        lines[n] = line_between(r, isnan(ridge) ? r->across.low : ridge, r->int8, r->across.high, r->int8);
        draw_line(out, &lines[n++], "int8");
    }
    return n;
}

static bool draw_places(FILE *out, const roof *r, const tn_cli_page_line *lines, size_t n_lines)
{
    tn_cli_page_label *labels = malloc(r->n_places * sizeof *labels);
    if (!labels) return false;
    for (size_t i = 0; i < r->n_places; i++) {
        const place *p = &r->places[i];
        labels[i] = (tn_cli_page_label){p->name, tn_cli_page_place(&r->across, p->intensity), tn_cli_page_down(&r->up, p->speed), 0, 0};
        tn_cli_page_draw_mark(out, p->phase, labels[i].across, labels[i].down);
    }
    fputc('\n', out);
    tn_cli_page_draw_labels(out, labels, r->n_places, lines, n_lines, "wide");
    for (size_t i = 0; i < r->n_places; i++) labels[i].text = r->places[i].number;
    tn_cli_page_draw_labels(out, labels, r->n_places, lines, n_lines, "narrow");
    free(labels);
    return true;
}

static void write_key(FILE *out, const roof *r)
{
    fputs("<ul class=\"key\">", out);
    if (r->memory > 0)
        fputs("<li><svg width=\"30\" height=\"10\" aria-hidden=\"true\"><line class=\"roof memory\" x1=\"0\" x2=\"30\" y1=\"5\" "
              "y2=\"5\"/></svg>limit "
              "of memory</li>",
              out);
    if (r->int8 > 0)
        fputs("<li><svg width=\"30\" height=\"10\" aria-hidden=\"true\"><line class=\"roof int8\" x1=\"0\" x2=\"30\" y1=\"5\" "
              "y2=\"5\"/></svg>limit of "
              "int8 products</li>",
              out);
    for (size_t k = 0; k < json_array_size(r->ops); k++) {
        if (k > 0 && phase_of(r->ops, k) == phase_of(r->ops, k - 1)) continue;
        fputs("<li><svg width=\"14\" height=\"14\" aria-hidden=\"true\"><svg x=\"7\" y=\"7\">", out);
        tn_cli_page_draw_mark(out, phase_of(r->ops, k), 0, 0);
        fputs("</svg></svg>", out);
        tn_cli_page_word(out, json_array_get(r->ops, k), "phase");
        fputs("</li>", out);
    }
    fputs("</ul>\n", out);
}

static bool draw(const tn_cli_page *page, size_t i, roof *r)
{
    FILE *out = page->out;
    double ticks[TN_PAGE_TICKS_MAX];
    find_axes(r);
    fputs("<figure>\n<figcaption>Up: int8 operations a second. Across: int8 operations for each byte read. Both scales: ten times at each "
          "line or more. Numbers are those of the table.</figcaption>\n",
          out);
    write_key(out, r);
    fprintf(out, "<svg class=\"chart\" height=\"%d\" role=\"img\"><title>Roofline of ", TN_PAGE_CHART_HEIGHT);
    tn_cli_page_word(out, tn_cli_page_subject(page, i), "name");
    fputs("</title><desc>Each op at its operations for each byte and its speed, below the limits; the figures are in the table.</desc>\n",
          out);
    tn_cli_page_draw_up_axis(out, &r->up, "operations/s");
    tn_cli_page_draw_across_axis(out, &r->across, ticks, tn_cli_page_ticks(&r->across, ticks), "operations/byte");
    tn_cli_page_line lines[2];
    const size_t n_lines = draw_roof(out, r, lines);
    const bool good = draw_places(out, r, lines, n_lines);
    fputs("</svg>\n</figure>\n", out);
    return good;
}

// What the op reached of what the lower limit allows it.
static void write_share(FILE *out, const roof *r, const json_t *op)
{
    const double limit = fmin(r->int8, r->memory * tn_cli_page_number(op, "intensity")), speed = tn_cli_page_number(op, "ops_per_s");
    char shown[64];
    if (!(limit > 0) || isnan(speed)) {
        fputs("<span class=\"none\">n/a</span>", out);
        return;
    }
    tn_cli_page_format(speed / limit, TN_PAGE_SHARE, shown, sizeof shown);
    fputs(shown, out);
}

static void write_table(const tn_cli_page *page, size_t i, const roof *r)
{
    static const char *const heads[] = {"Op",        "Phase",    "Of the time", "ns/token",     "Bytes/token",
                                        "Ops/token", "Ops/byte", "Ops/s",       "Of its limit", NULL};
    static const struct {
        const char *key;
        tn_cli_page_form form;
    } fields[] = {{"share_of_time", TN_PAGE_SHARE},      {"ns_per_token", TN_PAGE_RATE}, {"bytes_per_token", TN_PAGE_BYTES},
                  {"int8_ops_per_token", TN_PAGE_PER_S}, {"intensity", TN_PAGE_RATE},    {"ops_per_s", TN_PAGE_PER_S}};
    tn_cli_page_table table;
    size_t k;
    const json_t *op;
    char at[64];
    tn_cli_page_table_begin(&table, page->out, "dense",
                            "Kinds of op, with the int8 operations (ops) of each; those without any have no place in the drawing", heads);
    json_array_foreach(r->ops, k, op)
    {
        snprintf(at, sizeof at, "/subjects/%zu/ops/%zu", i, k);
        tn_cli_page_row_begin(&table);
        fprintf(page->out, "%zu ", k + 1);
        tn_cli_page_word(page->out, op, "op");
        tn_cli_page_cell(&table);
        tn_cli_page_word(page->out, op, "phase");
        for (size_t n = 0; n < sizeof fields / sizeof *fields; n++) {
            tn_cli_page_cell(&table);
            tn_cli_page_figure(page->out, op, fields[n].key, fields[n].form, at);
        }
        tn_cli_page_cell(&table);
        write_share(page->out, r, op);
        tn_cli_page_row_end(&table);
    }
    tn_cli_page_table_end(&table);
}

static bool write_subject(const tn_cli_page *page, size_t i)
{
    FILE *out = page->out;
    const json_t *subject = tn_cli_page_subject(page, i), *limits = tn_cli_page_field(subject, "limits");
    roof r = {.memory = tn_cli_page_number(limits, "memory_bytes_per_s"),
              .int8 = tn_cli_page_number(limits, "int8_ops_per_s"),
              .ops = tn_cli_page_field(subject, "ops")};
    char at[64];
    bool good = find_places(&r);
    snprintf(at, sizeof at, "/subjects/%zu/limits", i);
    fputs("<h3>", out);
    tn_cli_page_subject_name(page, i);
    fputs("</h3>\n<p>Limits: memory ", out);
    tn_cli_page_figure(out, limits, "memory_bytes_per_s", TN_PAGE_PER_S, at);
    fputs("B/s, int8 ", out);
    tn_cli_page_figure(out, limits, "int8_ops_per_s", TN_PAGE_PER_S, at);
    fputs("ops/s; measured with ", out);
    tn_cli_page_word(out, limits, "measured_with");
    fputs(".</p>\n", out);
    if (good && r.n_places > 0) good = draw(page, i, &r);
    if (json_array_size(r.ops) > 0) write_table(page, i, &r);
    free(r.places);
    return good;
}

bool tn_cli_page_roofline(const tn_cli_page *page)
{
    bool good = true, begun = false;
    for (size_t i = 0; good && i < page->n_subjects; i++) {
        const json_t *subject = tn_cli_page_subject(page, i);
        if (!tn_cli_page_field(subject, "limits") && json_array_size(json_object_get(subject, "ops")) == 0) continue;
        if (!begun) fputs("<section id=\"roofline\">\n<h2>Roofline</h2>\n", page->out);
        begun = true;
        good = write_subject(page, i);
    }
    if (begun) fputs("</section>\n", page->out);
    return good;
}
