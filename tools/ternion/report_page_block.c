// The block to copy: machine, commit, command, and a table in Markdown, as people paste them elsewhere.
#include "report_page_parts.h"

#include <string.h>

// Text for a cell of Markdown: a bar would end it.
static void put_cell(FILE *out, const char *text)
{
    for (const char *c = text ? text : "n/a"; *c;) {
        char piece[128];
        const size_t n = strcspn(c, "|");
        for (size_t at = 0; at < n;) {
            size_t len = n - at < 100 ? n - at : 100;
            while (at + len < n && ((unsigned char)c[at + len] & 0xc0) == 0x80 && len < sizeof piece - 1) len++; // the rest of a character
            memcpy(piece, c + at, len);
            piece[len] = '\0';
            tn_cli_page_text(out, piece);
            at += len;
        }
        c += n;
        if (*c) fputs("\\|", out);
        c += *c != '\0';
    }
}

static void put_greedy(FILE *out, const json_t *accuracy, const char *at)
{
    const json_t *greedy = tn_cli_page_field(accuracy, "greedy");
    char place[96];
    if (!greedy) {
        fputs("n/a", out);
        return;
    }
    snprintf(place, sizeof place, "%s/greedy", at);
    tn_cli_page_figure(out, greedy, "n_agree", TN_PAGE_COUNT, place);
    fputc('/', out);
    tn_cli_page_figure(out, greedy, "n_prompts", TN_PAGE_COUNT, place);
}

// What a token of a reply costs, and the memory.
static void put_costs(FILE *out, const json_t *subject, size_t i)
{
    size_t k = 0;
    char at[64], place[96];
    const json_t *reply = tn_cli_page_reply_of(subject, &k);
    snprintf(at, sizeof at, "/subjects/%zu/speed/%zu", i, k);
    snprintf(place, sizeof place, "%s/energy", at);
    fputc(' ', out);
    tn_cli_page_figure(out, tn_cli_page_field(reply, "energy"), "joule_per_token", TN_PAGE_TINY, place);
    fputs(" | ", out);
    tn_cli_page_limit(out, reply, at);
    fputs(" | ", out);
    snprintf(at, sizeof at, "/subjects/%zu/memory", i);
    tn_cli_page_figure(out, tn_cli_page_field(subject, "memory"), "peak_rss_bytes", TN_PAGE_BYTES, at);
    fputs(" |", out);
}

static void put_row(const tn_cli_page *page, size_t i)
{
    FILE *out = page->out;
    const json_t *subject = tn_cli_page_subject(page, i), *accuracy = tn_cli_page_field(subject, "accuracy");
    char at[64], place[64];
    size_t k = 0;
    snprintf(at, sizeof at, "/subjects/%zu/accuracy", i);
    fputs("| ", out);
    put_cell(out, tn_cli_page_string(subject, "name"));
    if (tn_cli_page_is_external(subject)) fputs(" (not ours)", out);
    fputs(" | ", out);
    put_cell(out, tn_cli_page_string(subject, "status"));
    fputs(" | ", out);
    put_cell(out, tn_cli_page_string(accuracy, "logits_hash"));
    fputs(" | ", out);
    tn_cli_page_figure(out, accuracy, "perplexity", TN_PAGE_DECIMALS, at);
    fputs(" | ", out);
    tn_cli_page_figure(out, accuracy, "mean_kld", TN_PAGE_TINY, at);
    fputs(" | ", out);
    tn_cli_page_figure(out, accuracy, "max_kld", TN_PAGE_TINY, at);
    fputs(" | ", out);
    tn_cli_page_figure(out, accuracy, "same_top", TN_PAGE_SHARE, at);
    fputs(" | ", out);
    put_greedy(out, accuracy, at);
    fputs(" |", out);
    for (size_t n = 0; n < page->n_tests; n++) {
        const json_t *speed = tn_cli_page_speed_of(subject, page->tests[n].test, page->tests[n].unit, &k);
        snprintf(place, sizeof place, "/subjects/%zu/speed/%zu", i, k);
        fputc(' ', out);
        tn_cli_page_figure(out, speed, tn_cli_page_middle_of(speed), TN_PAGE_RATE, place);
        tn_cli_page_error(out, speed, "deviation", TN_PAGE_RATE, place);
        if (speed && strcmp(tn_cli_page_middle_of(speed), "mean") == 0) fputs(" (mean)", out);
        fputs(" |", out);
    }
    put_costs(out, subject, i);
    fputc('\n', out);
}

static void put_line(FILE *out, const char *name, const json_t *object, const char *key)
{
    fprintf(out, "%s: ", name);
    tn_cli_page_word(out, object, key);
    fputc('\n', out);
}

static void put_machine(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *machine = tn_cli_page_field(page->root, "machine");
    fputs("machine: ", out);
    tn_cli_page_word(out, machine, "cpu");
    fputs(", ", out);
    tn_cli_page_figure(out, machine, "n_cores", TN_PAGE_COUNT, "/machine");
    fputs(" cores, ", out);
    tn_cli_page_figure(out, machine, "n_processors", TN_PAGE_COUNT, "/machine");
    fputs(" processors, ", out);
    tn_cli_page_figure(out, machine, "memory_bytes", TN_PAGE_BYTES, "/machine");
    fputs(tn_cli_page_true(machine, "virtual") ? ", virtual machine\n" : "\n", out);
    put_line(out, "kernel", machine, "kernel");
    fputs("governor: ", out);
    tn_cli_page_word(out, machine, "governor");
    fputs(", load ", out);
    tn_cli_page_figure(out, machine, "load_before", TN_PAGE_RATE, "/machine");
    fputs(" before and ", out);
    tn_cli_page_figure(out, machine, "load_after", TN_PAGE_RATE, "/machine");
    fputs(" after, ", out);
    tn_cli_page_figure(out, machine, "celsius_before", TN_PAGE_RATE, "/machine");
    fputs(" °C before and ", out);
    tn_cli_page_figure(out, machine, "celsius_after", TN_PAGE_RATE, "/machine");
    fputs(" °C after\n", out);
}

// Without its folders, which tell of the machine's user and are of no use to others.
static void put_file(FILE *out, const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    tn_cli_page_text(out, slash ? slash + 1 : path ? path : "n/a");
}

static void put_model(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *model = tn_cli_page_field(page->root, "model"), *text = tn_cli_page_field(page->root, "text");
    fputs("model: ", out);
    tn_cli_page_word(out, model, "name");
    fputs(", ", out);
    tn_cli_page_word(out, model, "architecture");
    fputs(" ", out);
    tn_cli_page_word(out, model, "type");
    fputs(", ", out);
    put_file(out, tn_cli_page_string(model, "path"));
    fputs("\ntext: ", out);
    tn_cli_page_word(out, text, "source");
    fputs(", XXH64 ", out);
    tn_cli_page_word(out, text, "xxh64");
    fputc('\n', out);
}

void tn_cli_page_block(const tn_cli_page *page)
{
    FILE *out = page->out;
    const json_t *ternion = tn_cli_page_field(page->root, "ternion");
    fputs("<section id=\"copy\">\n<h2>To copy</h2>\n<p>Machine, commit and command with the figures, in Markdown.</p>\n"
          "<pre tabindex=\"0\" aria-label=\"The figures in Markdown\">",
          out);
    fputs("ternion ", out);
    tn_cli_page_word(out, ternion, "version");
    fputs(", commit ", out);
    tn_cli_page_word(out, ternion, "commit");
    fputs(", ", out);
    tn_cli_page_word(out, ternion, "build_type");
    fputc('\n', out);
    put_machine(page);
    put_model(page);
    put_line(out, "time", page->root, "time");
    put_line(out, "command", page->root, "command");
    fputs("\n| subject | status | hash of logits | PPL | mean KLD | max KLD | same top | greedy |", out);
    for (size_t n = 0; n < page->n_tests; n++) {
        fputc(' ', out);
        put_cell(out, page->tests[n].test);
        fputc(' ', out);
        put_cell(out, page->tests[n].unit);
        fputs(" |", out);
    }
    fputs(" J/tok | share of limit | peak RSS |\n| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |", out);
    for (size_t n = 0; n < page->n_tests + 3; n++) fputs(" ---: |", out);
    fputc('\n', out);
    for (size_t i = 0; i < page->n_subjects; i++) put_row(page, i);
    fputs("</pre>\n</section>\n", out);
}
