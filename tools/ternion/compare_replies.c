// Replies of a subject beside those of the reference: their tokens, and the bits of the logits that chose them.
#include "compare_difference.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

void tn_cli_compare_replies_deinit(tn_cli_compare_replies *replies)
{
    free(replies->tokens);
    free(replies->hashes);
    *replies = (tn_cli_compare_replies){.tokens = NULL};
}

// Tokens of a reply that are the reference's too.
static uint32_t count_agreed(const tn_cli_compare *job, const tn_cli_compare_replies *replies, uint32_t prompt)
{
    const size_t at = (size_t)prompt * job->n_greedy;
    uint32_t i = 0;
    while (i < job->n_greedy && replies->tokens[at + i] == job->greedy.tokens[at + i]) i++;
    return i;
}

// The earliest token at which rows differ though all tokens before it are the same.
static tn_cli_compare_reply_row first_row(const tn_cli_compare *job, const tn_cli_compare_replies *replies)
{
    tn_cli_compare_reply_row first = {.differs = false};
    for (uint32_t p = 0; p <= job->n_greedy_prompts; p++) {
        const bool alone = p == job->n_greedy_prompts;
        const uint32_t n_agreed = count_agreed(job, replies, alone ? 0 : p), n_rows = n_agreed < job->n_greedy ? n_agreed + 1 : n_agreed;
        for (uint32_t i = 0; i < n_rows && !(first.differs && i >= first.token); i++) {
            const size_t at = (size_t)p * job->n_greedy + i;
            if (replies->hashes[at] != job->greedy.hashes[at]) first = (tn_cli_compare_reply_row){true, alone, alone ? 0 : p, i};
        }
    }
    return first;
}

tn_cli_compare_reply_row tn_cli_compare_put_replies(const tn_cli_compare *job, const tn_cli_compare_replies *replies, json_t *accuracy)
{
    const tn_cli_compare_reply_row row = first_row(job, replies);
    uint32_t n_agree = 0;
    json_t *first = NULL;
    for (uint32_t p = 0; p < job->n_greedy_prompts; p++) {
        const uint32_t n = count_agreed(job, replies, p);
        n_agree += n == job->n_greedy;
        if (n < job->n_greedy && !first) first = json_pack("{s:I, s:I}", "prompt", (json_int_t)p, "token", (json_int_t)n);
    }
    json_t *bits = row.differs ? json_pack("{s:I, s:I, s:b}", "prompt", (json_int_t)row.prompt, "token", (json_int_t)row.token, "alone",
                                           (int)row.alone)
                               : json_null();
    json_object_set_new(accuracy, "greedy",
                        json_pack("{s:I, s:I, s:I, s:o, s:b, s:o}", "n_prompts", (json_int_t)job->n_greedy_prompts, "n_tokens",
                                  (json_int_t)job->n_greedy, "n_agree", (json_int_t)n_agree, "first_difference",
                                  first ? first : json_null(), "identical", !row.differs, "first_bits", bits));
    if (row.differs) json_object_set_new(accuracy, "identical", json_false());
    return row;
}

int tn_cli_compare_find_in_reply(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject,
                                 const tn_cli_compare_reply_row *row, json_t *accuracy)
{
    const uint32_t n_prompt = TN_CLI_COMPARE_GREEDY_PROMPT;
    int32_t *tokens = malloc((n_prompt + row->token) * sizeof *tokens);
    if (!tokens) return tn_cli_out_of_memory();
    const size_t begin = tn_cli_compare_prompt_begin(job, row->prompt);
    memcpy(tokens, job->text.tokens + begin, n_prompt * sizeof *tokens);
    if (row->token) // the first one is chosen by the prompt's logits
        memcpy(tokens + n_prompt, job->greedy.tokens + (size_t)row->prompt * job->n_greedy, row->token * sizeof *tokens);
    char where[400], others[40] = "alone";
    if (!row->alone) snprintf(others, sizeof others, "one of %u side by side", job->n_greedy_prompts);
    snprintf(where, sizeof where,
             "%s and %s part in the logits of token %u of the reply to prompt %u (token %zu of the text), %s; alone, with ops traced, they "
             "have the same bits, so none can be named",
             reference->name, subject->name, row->token, row->prompt, begin, others);
    const tn_cli_compare_place place = {.tokens = tokens,
                                        .n_tokens = n_prompt + row->token,
                                        .first_token = begin,
                                        .n_feed = row->token || job->n_rows_max < n_prompt ? 1 : n_prompt,
                                        .position = n_prompt + row->token - 1,
                                        .found_in = where};
    const int rc = tn_cli_compare_find_difference(job, reference, subject, &place, accuracy);
    free(tokens);
    return rc;
}
