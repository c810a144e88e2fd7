// The rules of llama-perplexity for which tokens of an answer count.
#include "eval_score.h"

#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int encode(const tn_tokenizer *tokenizer, const char *text, size_t len, int32_t **out_tokens, uint32_t *out_n)
{
    size_t n = 0;
    if (tn_tokenizer_encode(tokenizer, text, len, TN_ENCODE_ADD_SPECIAL, NULL, 0, &n) != TN_OK) return tn_cli_fail_status(NULL);
    *out_n = (uint32_t)n; // below 2^31
    if (!out_tokens) return 0;
    *out_tokens = malloc((n + 1) * sizeof **out_tokens);
    if (!*out_tokens) return tn_cli_out_of_memory();
    return tn_tokenizer_encode(tokenizer, text, len, TN_ENCODE_ADD_SPECIAL, *out_tokens, n, &n) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// Where one answer is the beginning of all others ("yes", "yes, sir"), its last token is scored in all of them, so that something of it is.
static uint32_t count_common(const tn_cli_eval_task *task)
{
    const tn_cli_eval_choice *first = &task->choices[0];
    uint32_t n_most = first->n_tokens;
    for (uint32_t c = 1; c < task->n_choices; c++) {
        if (task->choices[c].n_tokens < n_most) n_most = task->choices[c].n_tokens;
    }
    for (uint32_t i = 0; i + 1 < n_most; i++) {
        for (uint32_t c = 1; c < task->n_choices; c++) {
            if (task->choices[c].tokens[i] != first->tokens[i]) return i;
        }
    }
    return n_most ? n_most - 1 : 0;
}

// WinoGrande: what follows the choice counts, without the last token, where both sentences go on for more than 3 tokens behind what they
// have in common; else the choice and what follows.
static int find_scored_behind(const tn_tokenizer *tokenizer, const tn_cli_eval_question *question, tn_cli_eval_task *task)
{
    bool long_enough = true;
    for (uint32_t c = 0; c < 2; c++) long_enough = long_enough && task->choices[c].n_tokens - task->n_common > 3;
    for (uint32_t c = 0; c < 2; c++) {
        tn_cli_eval_choice *choice = &task->choices[c];
        uint32_t n_base = task->n_common;
        if (long_enough) {
            const int rc = encode(tokenizer, question->choices[c].text, question->choices[c].base_len, NULL, &n_base);
            if (rc) return rc;
        }
        // Tokens may reach over the end of the choice, and the choice may be the end.
        choice->first = n_base < task->n_common ? task->n_common : n_base >= choice->n_tokens ? choice->n_tokens - 1 : n_base;
        choice->end = choice->n_tokens - choice->first > 1 ? choice->n_tokens - 1 : choice->n_tokens;
    }
    return 0;
}

int tn_cli_eval_task_make(const tn_tokenizer *tokenizer, tn_cli_eval_kind kind, const tn_cli_eval_question *question,
                          tn_cli_eval_task *task, const char **out_problem)
{
    *out_problem = NULL;
    *task = (tn_cli_eval_task){.line = question->line, .n_choices = question->n_choices, .answer = question->answer};
    task->last_of_equal = kind == TN_CLI_EVAL_WINOGRANDE;
    task->choices = calloc(task->n_choices, sizeof *task->choices);
    if (!task->choices) return tn_cli_out_of_memory();
    for (uint32_t c = 0; c < task->n_choices; c++) {
        const tn_cli_eval_text_span *span = &question->choices[c];
        const int rc = encode(tokenizer, span->text, span->len, &task->choices[c].tokens, &task->choices[c].n_tokens);
        if (rc) return rc;
    }
    task->n_common = count_common(task);
    if (task->n_common == 0) *out_problem = "the answers have no token in common before them that a first one could be told from";
    for (uint32_t c = 0; c < task->n_choices; c++) {
        tn_cli_eval_choice *choice = &task->choices[c];
        choice->first = task->n_common;
        choice->end = choice->n_tokens;
    }
    return *out_problem || kind != TN_CLI_EVAL_WINOGRANDE ? 0 : find_scored_behind(tokenizer, question, task);
}

double tn_cli_eval_choice_score(const tn_cli_eval_choice *choice) { return choice->logprob / (double)(choice->end - choice->first); }

void tn_cli_eval_task_choose(tn_cli_eval_task *task)
{
    double best = tn_cli_eval_choice_score(&task->choices[0]);
    task->chosen = 0;
    for (uint32_t c = 1; c < task->n_choices; c++) {
        const double score = tn_cli_eval_choice_score(&task->choices[c]);
        if (score < best || (score == best && !task->last_of_equal)) continue;
        best = score;
        task->chosen = c;
    }
}

void tn_cli_eval_task_deinit(tn_cli_eval_task *task)
{
    for (uint32_t c = 0; task->choices && c < task->n_choices; c++) free(task->choices[c].tokens);
    free(task->choices);
    memset(task, 0, sizeof *task);
}

tn_cli_eval_share tn_cli_eval_share_of(uint64_t n_right, uint64_t n)
{
    const double z = 1.95996398454, count = (double)n, p = n ? (double)n_right / count : 0;
    tn_cli_eval_share s = {.share = p};
    if (n == 0) return s;
    if (n > 1) s.error = sqrt(p * (1 - p) / (count - 1));
    const double zz = z * z / count, middle = p + zz / 2, half = z * sqrt((p * (1 - p) + zz / 4) / count);
    s.low = (middle - half) / (1 + zz);
    s.high = (middle + half) / (1 + zz);
    return s;
}
