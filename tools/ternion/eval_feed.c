// Spans one behind the other, cut into calls by tokens and by rows of logits.
#include "eval_feed.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_BYTES_MAX ((uint64_t)256 << 20)
#define ROWS_MIN       16u

uint32_t tn_cli_eval_rows_max(uint32_t n_vocab, uint32_t n_batch)
{
    const uint64_t n = ROWS_BYTES_MAX / ((uint64_t)n_vocab * sizeof(float));
    const uint32_t rows = n < ROWS_MIN ? ROWS_MIN : n > n_batch ? n_batch : (uint32_t)n;
    return rows < n_batch ? rows : n_batch;
}

int tn_cli_eval_feed_init(tn_cli_eval_feed *feed, tn_cli *cli, const tn_cli_engine *engine, uint32_t n_batch)
{
    feed->cli = cli;
    feed->engine = engine;
    feed->n_batch = n_batch;
    feed->tokens = calloc(n_batch, sizeof *feed->tokens);
    feed->seqs = calloc(n_batch, sizeof *feed->seqs);
    feed->spans = calloc(n_batch, sizeof *feed->spans);
    feed->positions = calloc(n_batch, sizeof *feed->positions);
    feed->wanted = calloc(n_batch, sizeof *feed->wanted);
    return feed->tokens && feed->seqs && feed->spans && feed->positions && feed->wanted ? 0 : tn_cli_out_of_memory();
}

void tn_cli_eval_feed_deinit(tn_cli_eval_feed *feed)
{
    free(feed->tokens);
    free(feed->seqs);
    free(feed->spans);
    free(feed->positions);
    free(feed->wanted);
    memset(feed, 0, sizeof *feed);
}

static bool tell(void *user, const char *stage, uint64_t done, uint64_t total)
{
    tn_cli_eval_feed *feed = user;
    (void)stage;
    (void)total;
    return tn_cli_progress_update(&feed->cli->progress, feed->stage, feed->n_done + done, feed->n_all);
}

static int hand_out(tn_cli_eval_feed *feed)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < feed->n_tokens; i++) {
        if (!feed->wanted[i]) continue;
        const float *logits = tn_session_logits(feed->engine->session, n++);
        if (!logits) return tn_cli_fail(NULL, "the session has no row %u: please report this", n - 1);
        const int rc = feed->row(feed->user, feed->spans[i], feed->positions[i], logits);
        if (rc) return rc;
    }
    return 0;
}

static int call(tn_cli_eval_feed *feed)
{
    tn_batch batch = TN_BATCH_INIT;
    if (feed->n_tokens == 0) return 0;
    batch.n_tokens = feed->n_tokens;
    batch.tokens = feed->tokens;
    batch.seqs = feed->seqs;
    batch.logits = feed->wanted;
    batch.progress = (tn_progress){tell, feed};
    if (tn_session_decode(feed->engine->session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
    feed->n_done += feed->n_tokens;
    const int rc = hand_out(feed);
    feed->n_tokens = feed->n_rows = 0;
    if (rc) return rc;
    return tell(feed, NULL, 0, 0) ? 0 : tn_cli_stopped();
}

static int add(tn_cli_eval_feed *feed, const tn_cli_eval_span *span, uint32_t index, uint32_t position)
{
    const bool wanted = position >= span->first_row;
    if (feed->n_tokens == feed->n_batch || (wanted && feed->n_rows == feed->engine->session_info.n_logits_max)) {
        const int rc = call(feed);
        if (rc) return rc;
    }
    const uint32_t i = feed->n_tokens++;
    feed->tokens[i] = span->tokens[position];
    feed->seqs[i] = span->seq;
    feed->spans[i] = index;
    feed->positions[i] = position;
    feed->wanted[i] = wanted;
    feed->n_rows += wanted;
    return 0;
}

int tn_cli_eval_feed_spans(tn_cli_eval_feed *feed, const tn_cli_eval_span *spans, uint32_t n_spans)
{
    feed->n_tokens = feed->n_rows = 0;
    for (uint32_t s = 0; s < n_spans; s++) {
        for (uint32_t position = spans[s].begin; position < spans[s].end; position++) {
            const int rc = add(feed, &spans[s], s, position);
            if (rc) return rc;
        }
    }
    return call(feed);
}

int tn_cli_eval_feed_clear(tn_cli_eval_feed *feed, uint32_t n_seqs)
{
    for (uint32_t i = 0; i < n_seqs; i++) {
        if (tn_session_seq_truncate(feed->engine->session, i, 0) != TN_OK) return tn_cli_fail_status(NULL);
    }
    return 0;
}
