// Who is compared: names, letters, tests, and what failed or differs.
#include "report_page_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const json_t *tn_cli_page_subject(const tn_cli_page *page, size_t i) { return json_array_get(page->subjects, i); }

static bool field_is(const json_t *object, const char *key, const char *word)
{
    const char *text = tn_cli_page_string(object, key);
    return text && strcmp(text, word) == 0;
}

bool tn_cli_page_is_external(const json_t *subject) { return field_is(subject, "kind", "external"); }

void tn_cli_page_letter(size_t i, char out[8])
{
    char reversed[8];
    size_t n = 0;
    for (size_t rest = i + 1; rest > 0 && n < sizeof reversed - 1; rest = (rest - 1) / 26) reversed[n++] = (char)('A' + (rest - 1) % 26);
    for (size_t k = 0; k < n; k++) out[k] = reversed[n - 1 - k];
    out[n] = '\0';
}

void tn_cli_page_subject_short_name(const tn_cli_page *page, size_t i)
{
    const json_t *subject = tn_cli_page_subject(page, i);
    char letter[8];
    tn_cli_page_letter(i, letter);
    fprintf(page->out, "<span class=\"letter\">%s</span> ", letter);
    tn_cli_page_word(page->out, subject, "name");
    if (tn_cli_page_is_external(subject)) fputs(" <span class=\"tag\">not ours</span>", page->out);
}

void tn_cli_page_subject_name(const tn_cli_page *page, size_t i)
{
    const json_t *subject = tn_cli_page_subject(page, i);
    tn_cli_page_subject_short_name(page, i);
    if (i == 0) fputs(" <span class=\"tag\">reference</span>", page->out);
    if (field_is(subject, "status", "failed")) fputs(" <span class=\"tag bad\">\xe2\x9c\x97 failed</span>", page->out);
    if (field_is(subject, "status", "different")) fputs(" <span class=\"tag warn\">\xe2\x89\xa0 different</span>", page->out);
}

const json_t *tn_cli_page_reply_of(const json_t *subject, size_t *out_k)
{
    const json_t *speed;
    size_t k;
    json_array_foreach(json_object_get(subject, "speed"), k, speed)
    {
        const char *test = tn_cli_page_string(speed, "test");
        *out_k = k;
        if (test && strncmp(test, "tg", 2) == 0) return speed;
    }
    return NULL;
}

const json_t *tn_cli_page_speed_of(const json_t *subject, const char *test, const char *unit, size_t *out_k)
{
    size_t k;
    const json_t *speed;
    json_array_foreach(json_object_get(subject, "speed"), k, speed)
    {
        if (!field_is(speed, "test", test) || !field_is(speed, "unit", unit)) continue;
        *out_k = k;
        return speed;
    }
    return NULL;
}

static bool knows_test(const tn_cli_page *page, const char *test, const char *unit)
{
    for (size_t i = 0; i < page->n_tests; i++) {
        if (strcmp(page->tests[i].test, test) == 0 && strcmp(page->tests[i].unit, unit) == 0) return true;
    }
    return false;
}

bool tn_cli_page_find_tests(tn_cli_page *page)
{
    size_t n = 0, k;
    const json_t *speed;
    for (size_t i = 0; i < page->n_subjects; i++) n += json_array_size(json_object_get(tn_cli_page_subject(page, i), "speed"));
    page->tests = calloc(n + 1, sizeof *page->tests);
    if (!page->tests) return false;
    for (size_t i = 0; i < page->n_subjects; i++) {
        json_array_foreach(json_object_get(tn_cli_page_subject(page, i), "speed"), k, speed)
        {
            const char *test = tn_cli_page_string(speed, "test"), *unit = tn_cli_page_string(speed, "unit");
            if (test && unit && !knows_test(page, test, unit)) page->tests[page->n_tests++] = (tn_cli_page_test){test, unit};
        }
    }
    return true;
}

// How many of those that were run here gave the reference's bits, and which did not.
static void say_identical(const tn_cli_page *page)
{
    size_t n_compared = 0, n_identical = 0, n_failed = 0;
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *subject = tn_cli_page_subject(page, i), *accuracy = tn_cli_page_field(subject, "accuracy");
        n_failed += field_is(subject, "status", "failed");
        if (i == 0 || tn_cli_page_is_external(subject) || !json_is_boolean(json_object_get(accuracy, "identical"))) continue;
        n_compared++;
        n_identical += tn_cli_page_true(accuracy, "identical");
    }
    if (n_compared > 0) {
        fprintf(page->out, "<li><span class=\"%s\">%s %zu of %zu</span> gave the same bits as the reference, ",
                n_identical == n_compared ? "good" : "warn", n_identical == n_compared ? "\xe2\x9c\x93" : "\xe2\x89\xa0", n_identical,
                n_compared);
        tn_cli_page_word(page->out, tn_cli_page_subject(page, 0), "name");
        fputs(".</li>\n", page->out);
    }
    if (n_failed > 0) fprintf(page->out, "<li><span class=\"bad\">\xe2\x9c\x97 %zu failed</span>: the reasons are below.</li>\n", n_failed);
}

// The fastest by its median (a file of another program may have the mean alone), and how that stands to the reference.
static void say_fastest(const tn_cli_page *page, const tn_cli_page_test *test)
{
    size_t best = 0, best_k = 0, k = 0;
    double best_median = -1;
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *speed = tn_cli_page_speed_of(tn_cli_page_subject(page, i), test->test, test->unit, &k);
        const double median = tn_cli_page_number(speed, tn_cli_page_middle_of(speed));
        if (!(median > best_median)) continue;
        best = i;
        best_k = k;
        best_median = median;
    }
    if (best_median <= 0) return;
    const json_t *subject = tn_cli_page_subject(page, best);
    char at[64];
    snprintf(at, sizeof at, "/subjects/%zu/speed/%zu", best, best_k);
    fputs("<li>", page->out);
    tn_cli_page_text(page->out, test->test);
    fputs(": fastest is ", page->out);
    tn_cli_page_word(page->out, subject, "name");
    fputs(tn_cli_page_is_external(subject) ? " (not ours) with " : " with ", page->out);
    const json_t *fastest = json_array_get(json_object_get(subject, "speed"), best_k);
    tn_cli_page_figure(page->out, fastest, tn_cli_page_middle_of(fastest), TN_PAGE_RATE, at);
    if (strcmp(tn_cli_page_middle_of(fastest), "mean") == 0) fputs(" (mean)", page->out);
    fputc(' ', page->out);
    tn_cli_page_text(page->out, test->unit);
    const double reference = tn_cli_page_number(tn_cli_page_speed_of(tn_cli_page_subject(page, 0), test->test, test->unit, &k), "median");
    if (best > 0 && reference > 0) {
        char times[64];
        tn_cli_page_format(best_median / reference, TN_PAGE_RATE, times, sizeof times);
        fprintf(page->out, ", %s times the reference", times);
    }
    fputs(".</li>\n", page->out);
}

// How many sequences a test has, by the first subject that has it.
static double n_seqs_of(const tn_cli_page *page, const tn_cli_page_test *test)
{
    double n = (double)NAN;
    size_t k;
    for (size_t i = 0; i < page->n_subjects && isnan(n); i++)
        n = tn_cli_page_number(tn_cli_page_speed_of(tn_cli_page_subject(page, i), test->test, test->unit, &k), "n_seqs");
    return n;
}

// Of the tests with several sequences, those with the most alone: the others are between them and one.
static void say_all_fastest(const tn_cli_page *page)
{
    double most = 1;
    for (size_t i = 0; i < page->n_tests; i++) most = fmax(most, n_seqs_of(page, &page->tests[i]));
    for (size_t i = 0; i < page->n_tests; i++) {
        const double n = n_seqs_of(page, &page->tests[i]);
        if (!(n > 1 && n < most)) say_fastest(page, &page->tests[i]);
    }
}

void tn_cli_page_summary(const tn_cli_page *page)
{
    fputs("<section id=\"summary\">\n<h2>In short</h2>\n", page->out);
    if (page->n_subjects == 0) {
        fputs("<p>Nothing was compared.</p>\n", page->out);
    } else {
        fputs("<ul>\n", page->out);
        say_identical(page);
        say_all_fastest(page);
        if (page->n_tests == 0) fputs("<li>No speed was measured.</li>\n", page->out);
        fputs("</ul>\n", page->out);
    }
    fputs("</section>\n", page->out);
}

static void write_first_difference(const tn_cli_page *page, size_t i, const json_t *difference)
{
    char at[80];
    FILE *out = page->out;
    snprintf(at, sizeof at, "/subjects/%zu/accuracy/first_difference", i);
    fputs("<br/>First difference: token ", out);
    tn_cli_page_figure(out, difference, "token", TN_PAGE_COUNT, at);
    fputs(", position ", out);
    tn_cli_page_figure(out, difference, "position", TN_PAGE_COUNT, at);
    fputs(", layer ", out);
    tn_cli_page_figure(out, difference, "layer", TN_PAGE_COUNT, at);
    fputs(", op <code>", out);
    tn_cli_page_word(out, difference, "op");
    fputs("</code>, element ", out);
    tn_cli_page_figure(out, difference, "element", TN_PAGE_COUNT, at);
    fputs(": <code>", out);
    tn_cli_page_word(out, difference, "value");
    fputs("</code> where the reference has <code>", out);
    tn_cli_page_word(out, difference, "reference");
    fputs("</code>.", out);
}

void tn_cli_page_problems(const tn_cli_page *page)
{
    bool begun = false;
    for (size_t i = 0; i < page->n_subjects; i++) {
        const json_t *subject = tn_cli_page_subject(page, i);
        const json_t *difference = tn_cli_page_field(tn_cli_page_field(subject, "accuracy"), "first_difference");
        const bool reason = tn_cli_page_string(subject, "reason") != NULL;
        if (!reason && !difference && !field_is(subject, "status", "failed") && !field_is(subject, "status", "different")) continue;
        if (!begun) fputs("<section id=\"problems\">\n<h2>What failed or differs</h2>\n<ul>\n", page->out);
        begun = true;
        fputs("<li>", page->out);
        tn_cli_page_subject_name(page, i);
        fputs(": ", page->out);
        if (reason)
            tn_cli_page_word(page->out, subject, "reason");
        else
            fputs("no reason was given", page->out);
        if (difference) write_first_difference(page, i, difference);
        fputs("</li>\n", page->out);
    }
    if (begun) fputs("</ul>\n</section>\n", page->out);
}
