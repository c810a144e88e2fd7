// ternion run: continues a text.
#include "generate.h"
#include "interrupt.h"
#include "json_out.h"
#include "numbers.h"
#include "output.h"
#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORY "Once upon a time"

// What the flags ask the sampler and the text stream for; owns its arrays.
typedef struct wishes {
    tn_sampler_params sampler;
    tn_logit_bias *bias;
    char *stops[2 * TN_CLI_LIST_MAX];
    size_t n_stops;
} wishes;

static int add_stops(const tn_cli *cli, tn_cli_option_id id, wishes *w)
{
    const tn_cli_value *value = &cli->options.values[id];
    for (size_t i = 0; i < value->n; i++) {
        size_t len = 0;
        int rc = tn_cli_unescape(cli, value->list[i], &w->stops[w->n_stops], &len);
        if (rc) return rc;
        w->n_stops++;
        if (len == 0) return tn_cli_usage("--stop: the text is empty");
        if (strlen(w->stops[w->n_stops - 1]) != len) return tn_cli_usage("--stop: \\x00 cannot be part of the text");
    }
    return 0;
}

// Biases of -l, and those that forbid every token that ends an answer.
static int add_biases(const tn_cli *cli, const tn_cli_engine *engine, wishes *w)
{
    const tn_cli_value *value = &cli->options.values[TN_OPT_LOGIT_BIAS];
    int32_t n_vocab = tn_tokenizer_n_vocab(engine->tokenizer);
    char why[160];
    size_t n = 0, capacity = value->n + (tn_cli_given(&cli->options, TN_OPT_IGNORE_EOS) ? (size_t)n_vocab : 0);
    if (capacity == 0) return 0;
    w->bias = malloc(capacity * sizeof *w->bias);
    if (!w->bias) return tn_cli_out_of_memory();
    for (size_t i = 0; i < value->n; i++, n++) {
        if (!tn_cli_parse_bias(value->list[i], &w->bias[n].token, &w->bias[n].bias, why, sizeof why)) {
            return tn_cli_usage("-l: %s", why);
        }
        if (w->bias[n].token >= n_vocab) {
            return tn_cli_usage("-l: token %" PRId32 " is not one of the model's %" PRId32, w->bias[n].token, n_vocab);
        }
    }
    for (int32_t id = 0; tn_cli_given(&cli->options, TN_OPT_IGNORE_EOS) && id < n_vocab; id++) {
        if (tn_tokenizer_is_eog(engine->tokenizer, id)) w->bias[n++] = (tn_logit_bias){id, -INFINITY};
    }
    w->sampler.logit_bias = w->bias;
    w->sampler.n_logit_bias = n;
    return 0;
}

static int read_wishes(const tn_cli *cli, const tn_cli_engine *engine, wishes *w)
{
    const tn_cli_options *o = &cli->options;
    uint32_t random = 0;
    w->sampler = tn_sampler_params_default();
    if (tn_cli_int(o, TN_OPT_SEED) < 0 && getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) {
        return tn_cli_fail("ternion run --seed 1", "the system gives no random seed");
    }
    w->sampler.seed = tn_cli_int(o, TN_OPT_SEED) < 0 ? random : (uint64_t)tn_cli_int(o, TN_OPT_SEED);
    w->sampler.temperature = (float)tn_cli_real(o, TN_OPT_TEMP);
    w->sampler.top_k = (int32_t)tn_cli_int(o, TN_OPT_TOP_K);
    w->sampler.top_p = (float)tn_cli_real(o, TN_OPT_TOP_P);
    w->sampler.min_p = (float)tn_cli_real(o, TN_OPT_MIN_P);
    w->sampler.repeat_last_n = (int32_t)tn_cli_int(o, TN_OPT_REPEAT_LAST_N);
    w->sampler.repeat_penalty = (float)tn_cli_real(o, TN_OPT_REPEAT_PENALTY);
    if (!(w->sampler.repeat_penalty > 0)) return tn_cli_usage("--repeat-penalty: it must be above 0; 1 is off");
    w->sampler.presence_penalty = (float)tn_cli_real(o, TN_OPT_PRESENCE_PENALTY);
    w->sampler.frequency_penalty = (float)tn_cli_real(o, TN_OPT_FREQUENCY_PENALTY);
    int rc = add_stops(cli, TN_OPT_STOP, w);
    if (rc == 0) rc = add_stops(cli, TN_OPT_REVERSE_PROMPT, w);
    return rc ? rc : add_biases(cli, engine, w);
}

// The prompt's text: as asked for, or the beginning of a story, which is then part of what is shown.
static int read_prompt(tn_cli *cli, const tn_cli_engine *engine, tn_cli_prompt *prompt)
{
    size_t n_ctx = tn_cli_context(cli, engine), most = TN_CLI_INPUT_MAX / TN_CLI_TOKEN_BYTES_MAX;
    int rc = tn_cli_prompt_read(cli, prompt, TN_CLI_TOKEN_BYTES_MAX * (n_ctx < most ? n_ctx : most));
    if (rc) return rc;
    if (prompt->from_terminal) {
        prompt->text = strdup(STORY);
        prompt->len = strlen(STORY);
        return prompt->text ? 0 : tn_cli_out_of_memory();
    }
    // Editors and echo end a file with a newline; a model takes it for the end of a line of text.
    if (prompt->from_file && prompt->len > 0 && prompt->text[prompt->len - 1] == '\n') prompt->len--;
    return 0;
}

static void note_sampling(const tn_sampler_params *s)
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

static void note_summary(const tn_cli_engine *engine, const tn_cli_prompt *prompt, uint64_t seed, const tn_cli_answer *a)
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
                " | memory %s weights + %s KV, peak %s",
                prompt->n_tokens, prompt_time, tn_cli_rate(prompt->n_tokens, a->prompt_ns), a->n_tokens ? first : "none", a->n_tokens,
                reply_time, tn_cli_rate(a->n_decoded, a->reply_ns), reason, seed, weights, kv, peak);
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

static json_t *json_memory(const tn_session_info *info)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "weights_bytes", (json_int_t)info->weights_bytes, "kv_bytes", (json_int_t)info->kv_bytes,
                     "scratch_bytes", (json_int_t)info->scratch_bytes, "peak_rss_bytes", (json_int_t)tn_cli_peak_rss_bytes());
}

static int print_json(const tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_sampler_params *sampler, const tn_cli_answer *a)
{
    static const char *const reasons[] = {"failed", "end", "stop", "length", "context", "interrupted"};
    char plan[1024];
    json_t *tokens = json_array();
    for (size_t i = 0; i < a->n_tokens; i++) json_array_append_new(tokens, json_integer(a->tokens[i]));
    tn_placement_print(engine->placement, plan, sizeof plan);
    return tn_cli_json_print(json_pack(
        "{s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:s, s:o, s:o, s:o}", "model", tn_cli_json_model(engine->path, &engine->info), "prompt",
        tn_cli_json_text(prompt->text, prompt->len), "text", tn_cli_json_text(a->text ? a->text : "", a->text_len), "tokens", tokens,
        "stop_reason", reasons[a->stop], "n_ctx", (json_int_t)engine->session_info.n_ctx, "seed", (json_int_t)sampler->seed, "plan", plan,
        "sampling", json_sampling(sampler), "timings", json_timings(prompt, a), "memory", json_memory(&engine->session_info)));
}

// Opens all that the answer needs. Flags and prompt are checked before weights are packed.
static int prepare(tn_cli *cli, tn_cli_engine *engine, tn_cli_prompt *prompt, wishes *w)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    int rc = tn_cli_engine_find_model(cli, engine);
    if (rc == 0) rc = tn_cli_engine_open_model(cli, engine, TN_MODEL_LOAD_ALL); // its context bounds the text
    if (rc == 0) rc = read_prompt(cli, engine, prompt);
    if (rc == 0) rc = tn_cli_prompt_encode(cli, engine, prompt, TN_ENCODE_ADD_SPECIAL);
    if (rc) return rc;
    if (prompt->n_tokens == 0) {
        return tn_cli_fail("ternion run -p \"" STORY "\"", "the prompt is empty, and this model has no token that begins a text");
    }
    params.n_ctx = tn_cli_context(cli, engine);
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    rc = tn_cli_prompt_check(cli, engine, prompt, params.n_ctx);
    if (rc == 0) rc = read_wishes(cli, engine, w);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(cli, engine);
    if (rc) return rc;
    tn_cli_engine_note(engine, params.n_ctx);
    return tn_cli_engine_start(cli, engine, params);
}

static bool shows_prompt(const tn_cli *cli, const tn_cli_prompt *prompt)
{
    return prompt->from_terminal || tn_cli_given(&cli->options, TN_OPT_DISPLAY);
}

// Whether answer and summary end up in one place, as with 2>&1.
static bool one_output(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

// The summary and a terminal's prompt should begin in a line of their own.
static int end_line(const tn_cli *cli, const tn_cli_prompt *prompt, const tn_cli_answer *a)
{
    bool ended = a->text_len > 0 ? a->text[a->text_len - 1] == '\n' : !shows_prompt(cli, prompt);
    bool seen_together = isatty(STDOUT_FILENO) || (!cli->quiet && one_output());
    return seen_together && !ended ? tn_cli_print("\n", 1) : 0;
}

static int answer_prompt(tn_cli *cli, tn_cli_engine *engine, const tn_cli_prompt *prompt, wishes *w, tn_cli_answer *answer)
{
    tn_cli_generate_params params = {&w->sampler, (const char *const *)w->stops, w->n_stops, tn_cli_given(&cli->options, TN_OPT_SPECIAL),
                                     !cli->json};
    tn_cli_interrupt_install();
    if (cli->verbosity > 0) note_sampling(&w->sampler);
    int rc = shows_prompt(cli, prompt) && !cli->json ? tn_cli_print(prompt->text, prompt->len) : 0;
    if (rc == 0) rc = tn_cli_generate(cli, engine, prompt, &params, answer);
    if (rc == 0) rc = cli->json ? print_json(engine, prompt, &w->sampler, answer) : end_line(cli, prompt, answer);
    if (rc) return rc;
    note_summary(engine, prompt, w->sampler.seed, answer);
    return answer->stop == TN_CLI_STOP_INTERRUPTED ? TN_CLI_INTERRUPTED : TN_CLI_OK;
}

int tn_cli_run(tn_cli *cli)
{
    tn_cli_engine engine = {0};
    tn_cli_prompt prompt = {0};
    tn_cli_answer answer = {0};
    wishes w = {0};
    int rc = prepare(cli, &engine, &prompt, &w);
    if (rc == 0) rc = answer_prompt(cli, &engine, &prompt, &w, &answer);
    for (size_t i = 0; i < w.n_stops; i++) free(w.stops[i]);
    free(w.bias);
    tn_cli_answer_deinit(&answer);
    tn_cli_prompt_deinit(&prompt);
    tn_cli_engine_close(&engine);
    return rc;
}
