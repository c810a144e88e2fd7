// Summaries of answers.
#include "summary.h"

#include "json_out.h"
#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void tn_cli_note_sampling(const tn_sampler_params *s)
{
    tn_cli_note("sampling  seed %" PRIu64 "  temp %g  top-k %d  top-p %g  min-p %g  repeat %g of %d  presence %g  frequency %g", s->seed,
                (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p, (double)s->repeat_penalty, s->repeat_last_n,
                (double)s->presence_penalty, (double)s->frequency_penalty);
}

static void stop_reason(const tn_cli_answer *answer, uint32_t n_ctx, char *text, size_t capacity)
{
    switch (answer->stop) {
    case TN_CLI_STOP_NONE: snprintf(text, capacity, "failed"); break;
    case TN_CLI_STOP_END: snprintf(text, capacity, "end of text"); break;
    case TN_CLI_STOP_TEXT: snprintf(text, capacity, "stop text"); break;
    case TN_CLI_STOP_LENGTH: snprintf(text, capacity, "length (-n)"); break;
    case TN_CLI_STOP_CONTEXT: snprintf(text, capacity, "context full: %u tokens", n_ctx); break;
    case TN_CLI_STOP_INTERRUPTED: snprintf(text, capacity, "interrupted"); break;
    }
}

static const char *pack_cache_note(const tn_session *session)
{
    switch (tn_session_pack_cache(session)) {
    case TN_PACK_CACHE_NONE: return "";
    case TN_PACK_CACHE_MAPPED: return " from the pack cache";
    case TN_PACK_CACHE_WRITTEN: return " now in the pack cache";
    case TN_PACK_CACHE_FAILED: return " not in the pack cache (-v)";
    }
    return "";
}

void tn_cli_note_summary(const tn_cli_engine *engine, const tn_cli_prompt *prompt, uint64_t seed, const tn_cli_answer *a)
{
    char reason[64], prompt_time[32], first[32], reply_time[32], weights[24], kv[24], peak[24];
    stop_reason(a, engine->session_info.n_ctx, reason, sizeof reason);
    tn_cli_format_seconds((double)a->prompt_ns * 1e-9, prompt_time, sizeof prompt_time);
    tn_cli_format_seconds((double)a->first_ns * 1e-9, first, sizeof first);
    tn_cli_format_seconds((double)a->reply_ns * 1e-9, reply_time, sizeof reply_time);
    tn_cli_format_bytes(engine->session_info.weights_bytes, weights, sizeof weights);
    tn_cli_format_bytes(engine->session_info.kv_bytes, kv, sizeof kv);
    tn_cli_format_bytes(tn_cli_peak_rss_bytes(), peak, sizeof peak);
    tn_cli_note("prompt %zu tokens %s %.1f t/s | first token %s | reply %zu tokens %s %.1f t/s | %s | seed %" PRIu64
                " | memory %s weights%s + %s KV, peak %s",
                prompt->n_tokens, prompt_time, tn_cli_rate(prompt->n_tokens, a->prompt_ns), a->n_tokens ? first : "none", a->n_tokens,
                reply_time, tn_cli_rate(a->n_decoded, a->reply_ns), reason, seed, weights, pack_cache_note(engine->session), kv, peak);
}

// What was predicted of the reply's tokens, at the positions that they had; 0: nothing.
static double predicted_rate(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    return a->n_decoded ? tn_placement_predict(engine->placement, 1, (uint32_t)(prompt->n_tokens + a->n_decoded / 2 + 1)) : 0;
}

void tn_cli_note_prediction(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    const double predicted = predicted_rate(engine, prompt, a), measured = tn_cli_rate(a->n_decoded, a->reply_ns);
    if (predicted > 0)
        tn_cli_note("plan  reply predicted %.1f t/s, measured %.1f (%+.0f %%)", predicted, measured, 100 * (measured / predicted - 1));
}

static json_t *json_prediction(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    const double predicted = predicted_rate(engine, prompt, a);
    return json_pack("{s:f, s:f}", "predicted_tokens_per_second", predicted, "measured_tokens_per_second",
                     tn_cli_rate(a->n_decoded, a->reply_ns));
}

static json_t *json_sampling(const tn_sampler_params *s)
{
    return json_pack("{s:f, s:i, s:f, s:f, s:i, s:f, s:f, s:f}", "temperature", tn_cli_short_real(s->temperature), "top_k", s->top_k,
                     "top_p", tn_cli_short_real(s->top_p), "min_p", tn_cli_short_real(s->min_p), "repeat_last_n", s->repeat_last_n,
                     "repeat_penalty", tn_cli_short_real(s->repeat_penalty), "presence_penalty", tn_cli_short_real(s->presence_penalty),
                     "frequency_penalty", tn_cli_short_real(s->frequency_penalty));
}

// The names of llama-server's timings.
static json_t *json_timings(const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:I, s:f, s:f}", "prompt_n", (json_int_t)prompt->n_tokens, "prompt_ms",
                     (double)a->prompt_ns * 1e-6, "prompt_per_second", tn_cli_rate(prompt->n_tokens, a->prompt_ns), "first_token_ms",
                     (double)a->first_ns * 1e-6, "predicted_n", (json_int_t)a->n_tokens, "predicted_ms", (double)a->reply_ns * 1e-6,
                     "predicted_per_second", tn_cli_rate(a->n_decoded, a->reply_ns));
}

static json_t *json_memory(const tn_cli_engine *engine)
{
    static const char *const uses[] = {"none", "mapped", "written", "failed"};
    const tn_session_info *info = &engine->session_info;
    tn_two_stage_info two_stage = TN_TWO_STAGE_INFO_INIT;
    if (tn_session_get_two_stage(engine->session, &two_stage) != TN_OK) return NULL;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "two_stage_bytes", (json_int_t)two_stage.bytes, "weights_bytes",
                     (json_int_t)info->weights_bytes, "kv_bytes", (json_int_t)info->kv_bytes, "scratch_bytes",
                     (json_int_t)info->scratch_bytes, "peak_rss_bytes", (json_int_t)tn_cli_peak_rss_bytes(), "pack_cache",
                     uses[tn_session_pack_cache(engine->session)]);
}

int tn_cli_print_answer_json(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const char *chat_template,
                             const tn_sampler_params *sampler, const tn_cli_answer *a)
{
    static const char *const reasons[] = {"failed", "end", "stop", "length", "context", "interrupted"};
    char plan[1024];
    json_t *tokens = json_array();
    for (size_t i = 0; i < a->n_tokens; i++) json_array_append_new(tokens, json_integer(a->tokens[i]));
    tn_placement_print(engine->placement, plan, sizeof plan);
    json_t *object = json_pack("{s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:s, s:o, s:o, s:o}", "model",
                               tn_cli_json_model(engine->path, &engine->info), "prompt", tn_cli_json_text(prompt->text, prompt->len),
                               "text", tn_cli_json_text(a->text ? a->text : "", a->text_len), "tokens", tokens, "stop_reason",
                               reasons[a->stop], "n_ctx", (json_int_t)engine->session_info.n_ctx, "seed", (json_int_t)sampler->seed, "plan",
                               plan, "sampling", json_sampling(sampler), "timings", json_timings(prompt, a), "memory", json_memory(engine));
    if (object && chat_template) json_object_set_new(object, "template", json_string(chat_template));
    if (object && predicted_rate(engine, prompt, a) > 0) json_object_set_new(object, "prediction", json_prediction(engine, prompt, a));
    if (object && engine->is_fast) json_object_set_new(object, "numerics", json_string("fast"));
    return tn_cli_json_print(object);
}

bool tn_cli_one_output(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}
