// Accuracy: the same bits or not, and how far from the first subject otherwise.
#include "report_page_parts.h"

static void write_identical(FILE *out, const json_t *accuracy)
{
    const json_t *identical = json_object_get(accuracy, "identical");
    if (json_is_true(identical))
        fputs("<span class=\"good\">\xe2\x9c\x93 yes</span>", out);
    else if (json_is_false(identical))
        fputs("<span class=\"warn\">\xe2\x89\xa0 no</span>", out);
    else
        fputs("<span class=\"none\">n/a</span>", out);
}

static void write_greedy(FILE *out, const json_t *accuracy, const char *at)
{
    char place[96], deeper[128];
    const json_t *greedy = tn_cli_page_field(accuracy, "greedy"), *difference = tn_cli_page_field(greedy, "first_difference");
    if (!greedy) {
        fputs("<span class=\"none\">n/a</span>", out);
        return;
    }
    snprintf(place, sizeof place, "%s/greedy", at);
    tn_cli_page_figure(out, greedy, "n_agree", TN_PAGE_COUNT, place);
    fputs(" of ", out);
    tn_cli_page_counted(out, greedy, "n_prompts", "prompt", place);
    fputs(", ", out);
    tn_cli_page_counted(out, greedy, "n_tokens", "token", place);
    fputs(" each", out);
    if (difference) {
        snprintf(deeper, sizeof deeper, "%s/first_difference", place);
        fputs("; they part in prompt ", out);
        tn_cli_page_figure(out, difference, "prompt", TN_PAGE_COUNT, deeper);
        fputs(" at token ", out);
        tn_cli_page_figure(out, difference, "token", TN_PAGE_COUNT, deeper);
    }
}

static void write_pair(tn_cli_page_table *table, const json_t *accuracy, const char *key, const char *error, tn_cli_page_form form,
                       const char *at)
{
    tn_cli_page_cell(table);
    tn_cli_page_figure(table->out, accuracy, key, form, at);
    tn_cli_page_error(table->out, accuracy, error, form, at);
}

static void write_row(const tn_cli_page *page, tn_cli_page_table *table, size_t i)
{
    const json_t *accuracy = tn_cli_page_field(tn_cli_page_subject(page, i), "accuracy");
    char at[64];
    snprintf(at, sizeof at, "/subjects/%zu/accuracy", i);
    tn_cli_page_row_begin(table);
    tn_cli_page_subject_name(page, i);
    tn_cli_page_cell(table);
    fputs("<code class=\"hash\">", page->out);
    tn_cli_page_word(page->out, accuracy, "logits_hash");
    fputs("</code>", page->out);
    tn_cli_page_cell(table);
    write_identical(page->out, accuracy);
    write_pair(table, accuracy, "perplexity", "perplexity_error", TN_PAGE_DECIMALS, at);
    write_pair(table, accuracy, "mean_kld", "mean_kld_error", TN_PAGE_TINY, at);
    tn_cli_page_cell(table);
    tn_cli_page_figure(page->out, accuracy, "max_kld", TN_PAGE_TINY, at);
    write_pair(table, accuracy, "same_top", "same_top_error", TN_PAGE_SHARE, at);
    tn_cli_page_cell(table);
    write_greedy(page->out, accuracy, at);
    tn_cli_page_row_end(table);
}

void tn_cli_page_accuracy(const tn_cli_page *page)
{
    static const char *const heads[] = {"Subject",     "Hash of logits", "Same bits",        "Perplexity", "Mean KLD",
                                        "Largest KLD", "Same top",       "Greedy agreement", NULL};
    const json_t *text = tn_cli_page_field(page->root, "text");
    FILE *out = page->out;
    tn_cli_page_table table;
    fputs("<section id=\"accuracy\">\n<h2>Accuracy</h2>\n<p>Over ", out);
    tn_cli_page_figure(out, text, "n_scored", TN_PAGE_COUNT, "/text");
    fputs(" scored of ", out);
    tn_cli_page_counted(out, text, "n_tokens", "token", "/text");
    fputs(" of ", out);
    tn_cli_page_word(out, text, "source");
    fputs(", in ", out);
    tn_cli_page_counted(out, text, "n_chunks", "chunk", "/text");
    fputs(" with a context of ", out);
    tn_cli_page_figure(out, text, "context", TN_PAGE_COUNT, "/text");
    fputs(" and a stride of ", out);
    tn_cli_page_figure(out, text, "stride", TN_PAGE_COUNT, "/text");
    fputs(". Numerics: ", out);
    tn_cli_page_word(out, tn_cli_page_field(page->root, "settings"), "numerics");
    fputs(".</p>\n", out);
    if (page->n_subjects > 0) {
        tn_cli_page_table_begin(
            &table, out, "plain",
            "Compared with the reference, the first subject. KLD: Kullback-Leibler divergence in nats; same top: share of "
            "tokens of which both think the same the most probable.",
            heads);
        for (size_t i = 0; i < page->n_subjects; i++) write_row(page, &table, i);
        tn_cli_page_table_end(&table);
    }
    fputs("</section>\n", out);
}
