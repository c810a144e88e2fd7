// Replies of the likeliest tokens, many at a time: where two subjects choose another token, a user would read another text.
#include "bytes_hash.h"
#include "compare.h"
#include "report.h"

#include <stdlib.h>

// The lowest of those ids that have the largest logit.
static int32_t best_of(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

// A pass over replies: so many prompts from the first one on.
typedef struct pass {
    tn_cli_compare *job;
    tn_cli_compare_subject *subject;
    uint32_t n_prompts;
    int32_t *next;    // [n_prompts] the likeliest tokens behind what was decoded
    uint32_t *seqs;   // [n_prompts]
    int32_t *tokens;  // [n_prompts][n_greedy]
    uint64_t *hashes; // [n_prompts][n_greedy]
} pass;

static void take_row(pass *r, uint32_t prompt, uint32_t i, uint32_t row)
{
    const uint32_t n_vocab = r->job->engine.info.n_vocab;
    const float *logits = tn_session_logits(r->subject->engine.session, row);
    const size_t at = (size_t)prompt * r->job->n_greedy + i;
    r->next[prompt] = r->tokens[at] = best_of(logits, n_vocab);
    r->hashes[at] = tn_cli_hash(logits, n_vocab * sizeof *logits, 0);
}

static int feed_prompts(pass *r)
{
    tn_cli_compare *job = r->job;
    for (uint32_t p = 0; p < r->n_prompts; p++) {
        uint32_t seqs[TN_CLI_COMPARE_GREEDY_PROMPT];
        tn_batch batch = TN_BATCH_INIT;
        for (uint32_t i = 0; i < TN_CLI_COMPARE_GREEDY_PROMPT; i++) seqs[i] = p;
        batch.n_tokens = TN_CLI_COMPARE_GREEDY_PROMPT;
        batch.tokens = job->text.tokens + tn_cli_compare_prompt_begin(job, p);
        batch.seqs = seqs;
        batch.progress = tn_cli_progress_hook(&job->cli->progress);
        if (tn_session_decode(r->subject->engine.session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
        take_row(r, p, 0, 0);
    }
    return 0;
}

static int reply(pass *r)
{
    tn_cli_compare *job = r->job;
    int rc = tn_cli_bench_feed_depth(&r->subject->feed, job->n_seqs_max, 0, 1);
    if (rc == 0) rc = feed_prompts(r);
    for (uint32_t i = 1; i < job->n_greedy && rc == 0; i++) {
        tn_batch batch = TN_BATCH_INIT;
        batch.n_tokens = r->n_prompts;
        batch.tokens = r->next;
        batch.seqs = r->seqs;
        job->cli->progress.base = i;
        job->cli->progress.whole = job->n_greedy;
        batch.progress = tn_cli_progress_hook(&job->cli->progress);
        if (tn_session_decode(r->subject->engine.session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
        for (uint32_t p = 0; p < r->n_prompts; p++) take_row(r, p, i, p);
    }
    tn_cli_progress_end(&job->cli->progress);
    return rc;
}

int tn_cli_compare_greedy(tn_cli_compare *job, tn_cli_compare_subject *subject, tn_cli_compare_replies *out)
{
    const uint32_t n = job->n_greedy_prompts;
    // Room for a reply more: kernels for one token alone are others than those for some side by side.
    const size_t n_values = ((size_t)n + 1) * job->n_greedy;
    tn_cli_compare_replies_deinit(out);
    out->tokens = calloc(n_values, sizeof *out->tokens);
    out->hashes = calloc(n_values, sizeof *out->hashes);
    pass r = {job, subject, n, calloc(n, sizeof *r.next), calloc(n, sizeof *r.seqs), out->tokens, out->hashes};
    int rc = r.next && r.seqs && out->tokens && out->hashes ? 0 : tn_cli_out_of_memory();
    for (uint32_t p = 0; p < n && rc == 0; p++) r.seqs[p] = p;
    if (rc == 0) rc = reply(&r);
    r.n_prompts = 1;
    r.tokens = out->tokens + (n_values - job->n_greedy);
    r.hashes = out->hashes + (n_values - job->n_greedy);
    if (rc == 0) rc = reply(&r);
    free(r.next);
    free(r.seqs);
    return rc;
}
