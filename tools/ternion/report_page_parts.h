// The sections of a comparison's page, and what they share.
#ifndef TERNION_TOOL_REPORT_PAGE_PARTS_H
#define TERNION_TOOL_REPORT_PAGE_PARTS_H

#include "report_page_text.h"

// A test of speed. Borrowed texts.
typedef struct tn_cli_page_test {
    const char *test, *unit;
} tn_cli_page_test;

typedef struct tn_cli_page {
    FILE *out;
    const json_t *root;     // the whole comparison
    const json_t *subjects; // NULL: it has no list of them
    size_t n_subjects;
    tn_cli_page_test *tests; // of all subjects, each once, in the order in which they are met
    size_t n_tests;
} tn_cli_page;
// Fills the page's list of tests, to free; false without memory.
bool tn_cli_page_find_tests(tn_cli_page *page);

// Each writes one <section> with its heading, or nothing where the comparison has nothing for it. False without memory.
void tn_cli_page_summary(const tn_cli_page *page);
void tn_cli_page_problems(const tn_cli_page *page);
void tn_cli_page_speed(const tn_cli_page *page);
bool tn_cli_page_batch(const tn_cli_page *page);
void tn_cli_page_accuracy(const tn_cli_page *page);
bool tn_cli_page_roofline(const tn_cli_page *page);
void tn_cli_page_memory(const tn_cli_page *page);
void tn_cli_page_energy(const tn_cli_page *page);
void tn_cli_page_placement(const tn_cli_page *page);
void tn_cli_page_conditions(const tn_cli_page *page);
void tn_cli_page_block(const tn_cli_page *page);

// The rules of the page's look, and the patterns that its drawings are filled with.
void tn_cli_page_style(FILE *out);
void tn_cli_page_patterns(FILE *out);

// A subject by its number, and what it is.
const json_t *tn_cli_page_subject(const tn_cli_page *page, size_t i);
bool tn_cli_page_is_external(const json_t *subject);
// Its name in the page: with the letter by which drawings name it, and what else must not be overlooked ("reference", "not ours").
void tn_cli_page_subject_name(const tn_cli_page *page, size_t i);
// The same without what is said elsewhere; "not ours" always is.
void tn_cli_page_subject_short_name(const tn_cli_page *page, size_t i);
// "A" .. "Z", "AA" ..
void tn_cli_page_letter(size_t i, char out[8]);
// The first test of replies of a subject, NULL where it has none; *out_k: its place in the list.
const json_t *tn_cli_page_reply_of(const json_t *subject, size_t *out_k);
// The field of a speed's figure: the median, or of a file of another program that has no samples the mean.
const char *tn_cli_page_middle_of(const json_t *speed);
// The share of the roofline, or where nobody measured the device's int8 products that of its memory, which is said.
void tn_cli_page_limit(FILE *out, const json_t *speed, const char *at);
// The speed of subject `i` in a test, NULL where it has none; *out_k: its place in the list.
const json_t *tn_cli_page_speed_of(const json_t *subject, const char *test, const char *unit, size_t *out_k);

#endif
