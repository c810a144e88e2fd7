// Texts, figures and tables of a comparison's page. The markup is XML too, so that any parser can check it.
#include "report_page_text.h"

#include "plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const json_t *tn_cli_page_field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

double tn_cli_page_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *tn_cli_page_string(const json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

bool tn_cli_page_true(const json_t *object, const char *key) { return json_is_true(json_object_get(object, key)); }

// Bytes of the character at `c` that must not be in a page as it is: those that turn the direction of text around, and no characters.
static size_t misleading_length(const unsigned char *c)
{
    if (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae))) return 3;
    if (c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9) return 3;
    return c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe ? 3 : 0;
}

static void write_escaped(FILE *out, const char *text)
{
    for (const char *c = text; *c;) {
        const size_t n = misleading_length((const unsigned char *)c);
        switch (*c) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        case '\'': fputs("&#39;", out); break;
        default: n ? fputs("\xef\xbf\xbd", out) : fputc(*c, out);
        }
        c += n ? n : 1;
    }
}

void tn_cli_page_text(FILE *out, const char *text)
{
    char plain[512];
    for (size_t n = strlen(text), at = 0; at < n;) {
        size_t len = n - at < 100 ? n - at : 100;
        while (at + len < n && ((unsigned char)text[at + len] & 0xc0) == 0x80 && len < 104) len++; // the rest of a character
        write_escaped(out, tn_cli_plain(text + at, len, plain, sizeof plain));
        at += len;
    }
}

void tn_cli_page_word(FILE *out, const json_t *object, const char *key)
{
    const char *word = tn_cli_page_string(object, key);
    tn_cli_page_text(out, word ? word : "n/a");
}

static void format_count(double value, char *text, size_t capacity)
{
    char digits[40];
    if (fabs(value) >= 1e15 || value != floor(value)) {
        snprintf(text, capacity, "%.4g", value);
        return;
    }
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    size_t n = strlen(digits), used = 0;
    if (value < 0 && capacity > 1) text[used++] = '-';
    for (size_t i = 0; i < n && used + 4 < capacity; i++) {
        if (i > 0 && (n - i) % 3 == 0) used += (size_t)snprintf(text + used, capacity - used, "\xc2\xa0");
        text[used++] = digits[i];
    }
    text[used] = '\0';
}

static void format_scaled(double value, double step, const char *const units[], char *text, size_t capacity)
{
    int unit = 0;
    while (fabs(value) >= step && units[unit + 1]) {
        value /= step;
        unit++;
    }
    snprintf(text, capacity, fabs(value) < 1e4 ? "%.*f\xc2\xa0%s" : "%.*e\xc2\xa0%s", fabs(value) >= 100 || unit == 0 ? 0 : 2, value,
             units[unit]);
}

static void format_rate(double value, char *text, size_t capacity)
{
    const double size = fabs(value);
    const int decimals = size >= 1000 || size == 0 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
    if (size != 0 && (size < 0.01 || size >= 1e9)) {
        snprintf(text, capacity, "%.2e", value);
    } else if (size >= 1e4) {
        format_count(round(value), text, capacity);
    } else {
        snprintf(text, capacity, "%.*f", decimals, value);
    }
}

void tn_cli_page_format(double value, tn_cli_page_form form, char *text, size_t capacity)
{
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL}, *const thousands[] = {"", "k", "M", "G", "T", NULL};
    switch (form) {
    case TN_PAGE_RATE: format_rate(value, text, capacity); return;
    case TN_PAGE_COUNT: format_count(value, text, capacity); return;
    case TN_PAGE_BYTES: format_scaled(value, 1024, bytes, text, capacity); return;
    case TN_PAGE_PER_S: format_scaled(value, 1000, thousands, text, capacity); return;
    case TN_PAGE_SHARE:
        snprintf(text, capacity, fabs(value) < 1e6 ? "%.2f\xc2\xa0%%" : "%.3g", fabs(value) < 1e6 ? 100 * value : value);
        if (value >= 0.995 && value < 1) snprintf(text, capacity, "%.4f\xc2\xa0%%", fmin(100 * value, 99.9999)); // not all, however near
        return;
    case TN_PAGE_DECIMALS:
        snprintf(text, capacity, fabs(value) < 1e6 && (value == 0 || fabs(value) > 1e-3) ? "%.4f" : "%.3e", value);
        return;
    case TN_PAGE_TINY: snprintf(text, capacity, value == 0 ? "0" : "%.3g", value); return;
    }
}

static void write_figure(FILE *out, const json_t *value, const char *key, tn_cli_page_form form, const char *at)
{
    char shown[64];
    tn_cli_page_format(json_number_value(value), form, shown, sizeof shown);
    if (json_is_integer(value)) {
        fprintf(out, "<data value=\"%" JSON_INTEGER_FORMAT "\" data-json=\"%s/%s\">%s</data>", json_integer_value(value), at, key, shown);
    } else {
        fprintf(out, "<data value=\"%.12g\" data-json=\"%s/%s\">%s</data>", json_number_value(value), at, key, shown);
    }
}

void tn_cli_page_figure(FILE *out, const json_t *object, const char *key, tn_cli_page_form form, const char *at)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value)) {
        write_figure(out, value, key, form, at);
    } else {
        fputs("<span class=\"none\">n/a</span>", out);
    }
}

void tn_cli_page_counted(FILE *out, const json_t *object, const char *key, const char *thing, const char *at)
{
    tn_cli_page_figure(out, object, key, TN_PAGE_COUNT, at);
    fprintf(out, " %s%s", thing, tn_cli_page_number(object, key) == 1 ? "" : "s");
}

void tn_cli_page_error(FILE *out, const json_t *object, const char *key, tn_cli_page_form form, const char *at)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) return;
    fputs(" <span class=\"error\">\xc2\xb1\xc2\xa0", out);
    write_figure(out, value, key, form, at);
    fputs("</span>", out);
}

void tn_cli_page_table_begin(tn_cli_page_table *table, FILE *out, const char *look, const char *caption, const char *const *heads)
{
    *table = (tn_cli_page_table){out, heads, 0};
    fprintf(out,
            "<div class=\"scroll\"><table role=\"table\" class=\"%s\">\n<caption>%s</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
            look, caption);
    for (size_t i = 0; heads[i]; i++) {
        fputs("<th scope=\"col\" role=\"columnheader\">", out);
        tn_cli_page_text(out, heads[i]);
        fputs("</th>", out);
    }
    fputs("</tr></thead>\n<tbody role=\"rowgroup\">\n", out);
}

void tn_cli_page_row_begin(tn_cli_page_table *table)
{
    table->column = 0;
    fputs("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">", table->out);
}

void tn_cli_page_cell(tn_cli_page_table *table)
{
    fputs(table->column == 0 ? "</th>" : "</span></td>", table->out);
    table->column++;
    fputs("<td role=\"cell\" data-head=\"", table->out);
    tn_cli_page_text(table->out, table->heads[table->column]);
    fputs("\"><span>", table->out); // a phone's card puts it opposite the head
}

void tn_cli_page_row_end(const tn_cli_page_table *table) { fputs(table->column == 0 ? "</th></tr>\n" : "</span></td></tr>\n", table->out); }

void tn_cli_page_table_end(const tn_cli_page_table *table) { fputs("</tbody>\n</table></div>\n", table->out); }
