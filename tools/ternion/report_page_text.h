// What every part of a comparison's page writes: texts of others, figures with the field that they come from, and words for them.
#ifndef TERNION_TOOL_REPORT_PAGE_TEXT_H
#define TERNION_TOOL_REPORT_PAGE_TEXT_H

#include "json_out.h"
#include "ternion/base.h"

#include <stdio.h>

// How a figure is shown to people.
typedef enum tn_cli_page_form {
    TN_PAGE_RATE,     // "1234", "56.7"
    TN_PAGE_COUNT,    // whole numbers, with a space every three digits
    TN_PAGE_BYTES,    // "3.61 MiB"
    TN_PAGE_SHARE,    // of 1, as percent
    TN_PAGE_DECIMALS, // "17.1090"
    TN_PAGE_TINY,     // "1.23e-05"
    TN_PAGE_PER_S,    // "12.3 G"
} tn_cli_page_form;

// Fields of an object, which may be NULL, of another kind, or lack them.
const json_t *tn_cli_page_field(const json_t *object, const char *key);
double tn_cli_page_number(const json_t *object, const char *key);      // NAN: it has none
const char *tn_cli_page_string(const json_t *object, const char *key); // NULL: it has none
bool tn_cli_page_true(const json_t *object, const char *key);

// Text of others: escaped for HTML, attributes too; control characters are written out.
void tn_cli_page_text(FILE *out, const char *text);
// The string of a field, or "n/a".
void tn_cli_page_word(FILE *out, const json_t *object, const char *key);

// A figure as people read it.
void tn_cli_page_format(double value, tn_cli_page_form form, char *text, size_t capacity);
// A number of the JSON with its place in it (`at`: a JSON pointer to `object`), so that a reader, or a test, can find each figure of the
// page: <data value="12.34" data-json="/subjects/0/...">12.3</data>, or "n/a".
void tn_cli_page_figure(FILE *out, const json_t *object, const char *key, tn_cli_page_form form, const char *at);
// A count and what is counted, "1 prompt" or "8 prompts": `thing` is the word for one.
void tn_cli_page_counted(FILE *out, const json_t *object, const char *key, const char *thing, const char *at);
// A figure behind a "±" where it is there, else nothing.
void tn_cli_page_error(FILE *out, const json_t *object, const char *key, tn_cli_page_form form, const char *at);

// Tables: on a phone each row becomes a card whose cells say what they are, so a cell repeats its column's head. The look is "dense", with
// two cells beside each other in a card, or "plain".
typedef struct tn_cli_page_table {
    FILE *out;
    const char *const *heads; // NULL ends them; the first is that of the rows' names
    size_t column;
} tn_cli_page_table;
void tn_cli_page_table_begin(tn_cli_page_table *table, FILE *out, const char *look, const char *caption, const char *const *heads);
void tn_cli_page_row_begin(tn_cli_page_table *table); // then the row's name is written
void tn_cli_page_cell(tn_cli_page_table *table);      // then the next cell's content
void tn_cli_page_row_end(const tn_cli_page_table *table);
void tn_cli_page_table_end(const tn_cli_page_table *table);

#endif
