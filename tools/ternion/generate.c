// Prompt in, sampled tokens out, until a reason to stop.
#include "generate.h"

#include "interrupt.h"
#include "output.h"
#include "report.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// What one answer needs while it is written.
typedef struct generation {
    tn_cli *cli;
    tn_cli_engine *engine;
    const tn_cli_generate_params *params;
    tn_sampler *sampler;
    tn_text_stream *stream;
    tn_cli_answer *answer;
} generation;

// Makes room for `n` more elements of `size` bytes.
static bool grow(void **data, size_t *capacity, size_t used, size_t n, size_t size)
{
    if (used + n <= *capacity) return true;
    size_t wanted = (used + n) * 2 + 64;
    void *grown = realloc(*data, wanted * size);
    if (!grown) return false;
    *data = grown;
    *capacity = wanted;
    return true;
}

static int show(generation *g, const char *text, size_t len)
{
    tn_cli_answer *a = g->answer;
    void *data = a->text;
    if (len == 0) return 0;
    if (!grow(&data, &a->text_capacity, a->text_len, len, 1)) return tn_cli_out_of_memory();
    a->text = data;
    memcpy(a->text + a->text_len, text, len);
    a->text_len += len;
    if (!g->params->print) return 0;
    tn_cli_progress_clear(&g->cli->progress);
    return isatty(STDOUT_FILENO) ? tn_cli_print_plain(text, len) : tn_cli_print(text, len);
}

static int keep_token(generation *g, int32_t token)
{
    tn_cli_answer *a = g->answer;
    void *data = a->tokens;
    if (!grow(&data, &a->tokens_capacity, a->n_tokens, 1, sizeof *a->tokens)) return tn_cli_out_of_memory();
    a->tokens = data;
    a->tokens[a->n_tokens++] = token;
    return 0;
}

// A call's tokens, and for those whose logits the sampler will look at how many of the best.
static tn_batch batch_of(const generation *g, const int32_t *tokens, size_t n, const uint32_t *n_top)
{
    tn_batch batch = TN_BATCH_INIT;
    batch.n_tokens = (uint32_t)n;
    batch.tokens = tokens;
    batch.n_top = n_top;
    batch.n_top_ids = (uint32_t)tn_tokenizer_n_vocab(g->engine->tokenizer);
    return batch;
}

static tn_status accept_all(generation *g, const int32_t *tokens, size_t n)
{
    tn_status status = TN_OK;
    for (size_t i = 0; i < n && status == TN_OK; i++) status = tn_sampler_accept(g->sampler, tokens[i]);
    return status;
}

// Feeds what is new of the prompt in calls of -b tokens; only its last token's logits are computed.
static int feed_prompt(generation *g, const tn_cli_prompt *prompt)
{
    size_t n_batch = (size_t)tn_cli_int(&g->cli->options, TN_OPT_BATCH);
    uint8_t *wanted = calloc(prompt->n_tokens + 1, 1);
    uint32_t *n_top = calloc(prompt->n_tokens + 1, sizeof *n_top);
    if (!wanted || !n_top) {
        free(wanted);
        free(n_top);
        return tn_cli_out_of_memory();
    }
    wanted[prompt->n_tokens - 1] = 1;
    tn_status status = accept_all(g, prompt->tokens, g->params->n_known);
    for (size_t at = g->params->n_known; at < prompt->n_tokens && status == TN_OK; at += n_batch) {
        size_t n = prompt->n_tokens - at < n_batch ? prompt->n_tokens - at : n_batch;
        status = accept_all(g, prompt->tokens + at, n);
        if (status != TN_OK) break;
        n_top[at + n - 1] = tn_sampler_n_top(g->sampler);
        tn_batch batch = batch_of(g, prompt->tokens + at, n, n_top + at);
        batch.logits = wanted + at;
        g->cli->progress.base = at;
        g->cli->progress.whole = prompt->n_tokens;
        batch.progress = tn_cli_progress_hook(&g->cli->progress);
        status = tn_session_decode(g->engine->session, &batch);
    }
    tn_cli_progress_end(&g->cli->progress);
    free(wanted);
    free(n_top);
    if (status == TN_CANCELLED && tn_cli_interrupted()) {
        g->answer->stop = TN_CLI_STOP_INTERRUPTED;
        return 0;
    }
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

// Chooses and shows the next token; sets `stop` where the answer ends with it.
static int next_token(generation *g, int64_t n_predict, int32_t *out_token)
{
    tn_cli_answer *a = g->answer;
    const char *text = NULL;
    size_t len = 0;
    bool stopped = false;
    uint32_t length = tn_session_seq_length(g->engine->session, 0);
    if (tn_sampler_sample(g->sampler, tn_session_logits(g->engine->session, 0), length - 1, out_token) != TN_OK)
        return tn_cli_fail_status(NULL);
    if (tn_tokenizer_is_eog(g->engine->tokenizer, *out_token)) {
        a->stop = TN_CLI_STOP_END;
        return 0;
    }
    if (tn_sampler_accept(g->sampler, *out_token) != TN_OK) return tn_cli_fail_status(NULL);
    if (tn_text_stream_push(g->stream, *out_token, &text, &len, &stopped) != TN_OK) return tn_cli_fail_status(NULL);
    int rc = keep_token(g, *out_token);
    if (rc == 0) rc = show(g, text, len);
    if (stopped)
        a->stop = TN_CLI_STOP_TEXT;
    else if (n_predict >= 0 && (int64_t)a->n_tokens >= n_predict)
        a->stop = TN_CLI_STOP_LENGTH;
    else if (length >= g->engine->session_info.n_ctx)
        a->stop = TN_CLI_STOP_CONTEXT;
    else if (tn_cli_interrupted())
        a->stop = TN_CLI_STOP_INTERRUPTED;
    return rc;
}

static int decode_token(generation *g, int32_t token)
{
    const uint32_t n_top = tn_sampler_n_top(g->sampler); // it has accepted the token
    const tn_batch batch = batch_of(g, &token, 1, &n_top);
    if (tn_session_decode(g->engine->session, &batch) != TN_OK) return tn_cli_fail_status(NULL);
    g->answer->n_decoded++;
    return 0;
}

static int write_answer(generation *g, uint64_t begun_ns)
{
    tn_cli_answer *a = g->answer;
    int64_t n_predict = tn_cli_int(&g->cli->options, TN_OPT_N_PREDICT);
    int32_t token = 0;
    const char *text = NULL;
    size_t len = 0;
    if (n_predict == 0) a->stop = TN_CLI_STOP_LENGTH;
    while (a->stop == TN_CLI_STOP_NONE) {
        int rc = next_token(g, n_predict, &token);
        if (rc) return rc;
        if (a->first_ns == 0 && a->n_tokens > 0) a->first_ns = tn_cli_now_ns() - begun_ns;
        if (a->stop == TN_CLI_STOP_NONE && (rc = decode_token(g, token)) != 0) return rc;
    }
    if (a->stop == TN_CLI_STOP_TEXT) return 0;
    if (tn_text_stream_finish(g->stream, &text, &len) != TN_OK) return tn_cli_fail_status(NULL);
    return show(g, text, len);
}

int tn_cli_generate(tn_cli *cli, tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_generate_params *params,
                    tn_cli_answer *answer)
{
    generation g = {cli, engine, params, NULL, NULL, answer};
    tn_text_stream_params stream = TN_TEXT_STREAM_PARAMS_INIT;
    stream.stops = params->stops;
    stream.n_stops = params->n_stops;
    stream.special = params->special;
    int rc = 0;
    // Rows of the embedding beyond the vocabulary are padding: no token stands for them.
    if (tn_sampler_create(params->sampler, (uint32_t)tn_tokenizer_n_vocab(engine->tokenizer), &g.sampler) != TN_OK ||
        tn_text_stream_create(engine->tokenizer, &stream, &g.stream) != TN_OK) {
        rc = tn_cli_fail_status(NULL);
        goto end;
    }
    uint64_t begun_ns = tn_cli_now_ns();
    rc = feed_prompt(&g, prompt);
    uint64_t fed_ns = tn_cli_now_ns();
    answer->prompt_ns = fed_ns - begun_ns;
    if (rc == 0) rc = write_answer(&g, begun_ns);
    answer->reply_ns = tn_cli_now_ns() - fed_ns;
end:
    tn_text_stream_destroy(g.stream);
    tn_sampler_destroy(g.sampler);
    return rc;
}

void tn_cli_answer_deinit(tn_cli_answer *answer)
{
    free(answer->tokens);
    free(answer->text);
    memset(answer, 0, sizeof *answer);
}
