// Replies of the likeliest tokens, many at a time: where two subjects choose another token, a user would read another text.
#include "compare.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

// The lowest of those ids that have the largest logit.
static int32_t best_of(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

// The prompts stand at even distances in the text.
static int feed_prompts(tn_cli_compare *job, tn_cli_compare_subject *subject, int32_t *next)
{
    const size_t n_text = job->text.n_tokens, n = TN_CLI_COMPARE_GREEDY_PROMPT;
    for (uint32_t p = 0; p < job->n_greedy_prompts; p++) {
        uint32_t seqs[TN_CLI_COMPARE_GREEDY_PROMPT];
        tn_batch batch = TN_BATCH_INIT;
        for (uint32_t i = 0; i < n; i++) seqs[i] = p;
        batch.n_tokens = (uint32_t)n;
        batch.tokens = job->text.tokens + (n_text - n) * p / job->n_greedy_prompts;
        batch.seqs = seqs;
        batch.progress = tn_cli_progress_hook(&job->cli->progress);
        if (tn_session_decode(subject->engine.session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
        next[p] = best_of(tn_session_logits(subject->engine.session, 0), job->engine.info.n_vocab);
    }
    return 0;
}

static int reply(tn_cli_compare *job, tn_cli_compare_subject *subject, int32_t *next, uint32_t *seqs, int32_t *out)
{
    int rc = feed_prompts(job, subject, next);
    for (uint32_t i = 0; i < job->n_greedy && rc == 0; i++) {
        tn_batch batch = TN_BATCH_INIT;
        for (uint32_t p = 0; p < job->n_greedy_prompts; p++) out[(size_t)p * job->n_greedy + i] = next[p];
        if (i + 1 == job->n_greedy) break;
        batch.n_tokens = job->n_greedy_prompts;
        batch.tokens = next;
        batch.seqs = seqs;
        job->cli->progress.base = i;
        job->cli->progress.whole = job->n_greedy;
        batch.progress = tn_cli_progress_hook(&job->cli->progress);
        if (tn_session_decode(subject->engine.session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
        for (uint32_t p = 0; p < job->n_greedy_prompts; p++)
            next[p] = best_of(tn_session_logits(subject->engine.session, p), job->engine.info.n_vocab);
    }
    tn_cli_progress_end(&job->cli->progress);
    return rc;
}

int tn_cli_compare_greedy(tn_cli_compare *job, tn_cli_compare_subject *subject, int32_t *out)
{
    int32_t *next = calloc(job->n_greedy_prompts, sizeof *next);
    uint32_t *seqs = calloc(job->n_greedy_prompts, sizeof *seqs);
    int rc = next && seqs ? 0 : tn_cli_out_of_memory();
    for (uint32_t p = 0; p < job->n_greedy_prompts && rc == 0; p++) seqs[p] = p;
    if (rc == 0) rc = tn_cli_bench_feed_depth(&subject->feed, job->n_seqs_max, 0, 1);
    if (rc == 0) rc = reply(job, subject, next, seqs, out);
    free(next);
    free(seqs);
    return rc;
}
