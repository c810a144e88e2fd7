// What all lines of a batch have in common: the template of chats, and the defaults that the flags set.
#include "batch_request.h"
#include "bytes_hash.h"
#include "numbers.h"
#include "prompt.h"
#include "report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// OpenAI's, but for those that its API does not have.
static tn_sampler_params default_sampler(void)
{
    tn_sampler_params s = tn_sampler_params_default();
    s.temperature = 1;
    s.top_k = 0;
    s.top_p = 1;
    s.min_p = 0;
    return s;
}

static int read_sampler(const tn_cli_options *o, tn_sampler_params *s)
{
    *s = default_sampler();
    if (tn_cli_given(o, TN_OPT_SEED) && tn_cli_int(o, TN_OPT_SEED) >= 0) s->seed = (uint64_t)tn_cli_int(o, TN_OPT_SEED);
    if (tn_cli_given(o, TN_OPT_TEMP)) s->temperature = (float)tn_cli_real(o, TN_OPT_TEMP);
    if (tn_cli_given(o, TN_OPT_TOP_K)) s->top_k = (int32_t)tn_cli_int(o, TN_OPT_TOP_K);
    if (tn_cli_given(o, TN_OPT_TOP_P)) s->top_p = (float)tn_cli_real(o, TN_OPT_TOP_P);
    if (tn_cli_given(o, TN_OPT_MIN_P)) s->min_p = (float)tn_cli_real(o, TN_OPT_MIN_P);
    if (tn_cli_given(o, TN_OPT_REPEAT_LAST_N)) s->repeat_last_n = (int32_t)tn_cli_int(o, TN_OPT_REPEAT_LAST_N);
    if (tn_cli_given(o, TN_OPT_REPEAT_PENALTY)) s->repeat_penalty = (float)tn_cli_real(o, TN_OPT_REPEAT_PENALTY);
    if (tn_cli_given(o, TN_OPT_PRESENCE_PENALTY)) s->presence_penalty = (float)tn_cli_real(o, TN_OPT_PRESENCE_PENALTY);
    if (tn_cli_given(o, TN_OPT_FREQUENCY_PENALTY)) s->frequency_penalty = (float)tn_cli_real(o, TN_OPT_FREQUENCY_PENALTY);
    return s->repeat_penalty > 0 ? 0 : tn_cli_usage("--repeat-penalty: it must be above 0; 1 is off");
}

static int read_stops(const tn_cli *cli, tn_cli_option_id id, tn_cli_batch_context *c)
{
    const tn_cli_value *value = &cli->options.values[id];
    for (size_t i = 0; i < value->n; i++) {
        size_t len = 0;
        int rc = tn_cli_unescape(cli, value->list[i], &c->stops[c->n_stops], &len);
        if (rc) return rc;
        c->n_stops++;
        if (len == 0) return tn_cli_usage("--stop: the text is empty");
        if (strlen(c->stops[c->n_stops - 1]) != len) return tn_cli_usage("--stop: \\x00 cannot be part of the text");
    }
    return 0;
}

static int read_all_stops(const tn_cli *cli, tn_cli_batch_context *c)
{
    const size_t n = cli->options.values[TN_OPT_STOP].n + cli->options.values[TN_OPT_REVERSE_PROMPT].n;
    if (n > TN_REQUEST_STOPS_MAX) return tn_cli_usage("--stop: %zu texts are given, but at most %u are possible", n, TN_REQUEST_STOPS_MAX);
    c->stops = calloc(n + 1, sizeof *c->stops);
    if (!c->stops) return tn_cli_out_of_memory();
    int rc = read_stops(cli, TN_OPT_STOP, c);
    return rc ? rc : read_stops(cli, TN_OPT_REVERSE_PROMPT, c);
}

static int read_biases(const tn_cli *cli, tn_cli_batch_context *c)
{
    const tn_cli_value *value = &cli->options.values[TN_OPT_LOGIT_BIAS];
    const int32_t n_vocab = tn_tokenizer_n_vocab(c->engine->tokenizer);
    char why[160];
    c->bias = calloc(value->n + 1, sizeof *c->bias);
    if (!c->bias) return tn_cli_out_of_memory();
    for (; c->n_bias < value->n; c->n_bias++) {
        tn_logit_bias *bias = &c->bias[c->n_bias];
        if (!tn_cli_parse_bias(value->list[c->n_bias], &bias->token, &bias->bias, why, sizeof why)) return tn_cli_usage("-l: %s", why);
        if (bias->token >= n_vocab) return tn_cli_usage("-l: token %" PRId32 " is not one of the model's %" PRId32, bias->token, n_vocab);
    }
    return 0;
}

static int find_ends(tn_cli_batch_context *c)
{
    const tn_tokenizer *tokenizer = c->engine->tokenizer;
    size_t n = 0;
    for (int32_t id = 0; id < tn_tokenizer_n_vocab(tokenizer); id++) n += tn_tokenizer_is_eog(tokenizer, id);
    c->ends = calloc(n + 1, sizeof *c->ends);
    if (!c->ends) return tn_cli_out_of_memory();
    for (int32_t id = 0; c->n_ends < n; id++) {
        if (tn_tokenizer_is_eog(tokenizer, id)) c->ends[c->n_ends++] = id;
    }
    return 0;
}

// Whether the vocabulary has the tokens that the template writes.
static tn_status try_template(const tn_chat_template *chat_template, const tn_tokenizer *tokenizer)
{
    static const char hello[] = "Hi";
    const tn_chat_message probe[] = {{TN_CHAT_USER, hello, 2, NULL, 0}, {TN_CHAT_ASSISTANT, hello, 2, NULL, 0}};
    size_t n = 0;
    return tn_chat_render(chat_template, tokenizer, probe, 2, TN_CHAT_ADD_GENERATION_PROMPT, NULL, 0, &n);
}

// The template that --template names, else that of the file. A file without one has no chats: its lines say so, and completions go on.
static int choose_template(const tn_cli *cli, tn_cli_batch_context *c)
{
    const tn_cli_engine *engine = c->engine;
    const char *name = tn_cli_text(&cli->options, TN_OPT_TEMPLATE);
    if (name) {
        if (tn_chat_template_find(name, &c->chat_template) != TN_OK) return tn_cli_usage("--template: %s", tn_error_last()->message);
        return try_template(c->chat_template, engine->tokenizer) == TN_OK ? 0 : tn_cli_fail_status("ternion batch --template NAME");
    }
    tn_status status = tn_chat_template_detect(engine->model, &c->chat_template);
    if (status == TN_OK) status = try_template(c->chat_template, engine->tokenizer);
    if (status == TN_OK) return 0;
    c->chat_template = NULL;
    if (status == TN_OUT_OF_MEMORY) return tn_cli_out_of_memory();
    snprintf(c->no_chat, sizeof c->no_chat, "%.800s; start the run with --template NAME", tn_error_last()->message);
    return 0;
}

static int choose_thinking(const tn_cli *cli, tn_cli_batch_context *c)
{
    if (!tn_cli_given(&cli->options, TN_OPT_NO_THINK)) return 0;
    if (!c->chat_template) return tn_cli_usage("--no-think: there is no chat template: %s", c->no_chat);
    if (!tn_chat_template_thinks(c->chat_template))
        return tn_cli_usage("--no-think: the template %s has no thoughts", tn_chat_template_name(c->chat_template));
    c->chat_flags = TN_CHAT_NO_THINKING;
    return 0;
}

// -n: no limit where it is -1; how many tokens no answer has is nobody's question.
static int read_length(const tn_cli_options *o, tn_cli_batch_context *c)
{
    c->n_predict = -1;
    if (!tn_cli_given(o, TN_OPT_N_PREDICT)) return 0;
    const int64_t n = tn_cli_int(o, TN_OPT_N_PREDICT);
    if (n == 0) return tn_cli_usage("-n: 0 tokens are no answer; -1 is no limit");
    c->n_predict = n < 0 ? 0 : n;
    return 0;
}

int tn_cli_batch_context_init(tn_cli *cli, const tn_cli_engine *engine, tn_cli_batch_context *context)
{
    memset(context, 0, sizeof *context);
    context->cli = cli;
    context->engine = engine;
    context->n_ctx = engine->session_info.n_ctx ? engine->session_info.n_ctx : tn_cli_context(cli, engine);
    context->ignore_eos = tn_cli_given(&cli->options, TN_OPT_IGNORE_EOS);
    if (!engine->tokenizer) return tn_cli_fail(NULL, "%s has no tokenizer: use another file", engine->path);
    int rc = read_sampler(&cli->options, &context->sampler);
    if (rc == 0) rc = read_length(&cli->options, context);
    if (rc == 0) rc = read_all_stops(cli, context);
    if (rc == 0) rc = read_biases(cli, context);
    if (rc == 0) rc = find_ends(context);
    if (rc == 0) rc = choose_template(cli, context);
    return rc ? rc : choose_thinking(cli, context);
}

void tn_cli_batch_context_deinit(tn_cli_batch_context *context)
{
    for (size_t i = 0; i < context->n_stops; i++) free(context->stops[i]);
    free(context->stops);
    free(context->bias);
    free(context->ends);
    memset(context, 0, sizeof *context);
}

// Each part begins where the one before ended.
static void add_bytes(uint64_t *hash, const void *bytes, size_t n) { *hash = tn_cli_hash(bytes, n, *hash); }
static void add_number(uint64_t *hash, uint64_t number) { add_bytes(hash, &number, sizeof number); }
static void add_real(uint64_t *hash, float number) { add_bytes(hash, &number, sizeof number); }

// With its end, so that two texts are never taken for two others.
static void add_text(uint64_t *hash, const char *text)
{
    add_number(hash, text ? strlen(text) + 1 : 0);
    if (text) add_bytes(hash, text, strlen(text));
}

// Blocks spread over the file (of a split model: its first one), because a model that was trained further differs in its weights alone.
static void add_contents(uint64_t *hash, const char *path)
{
    enum { N_BLOCKS = 64 };
    char block[4096];
    // Without stdio, which may lack the memory for it: that must not make other fingerprints.
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    const off_t size = lseek(file, 0, SEEK_END);
    for (int i = 0; i < N_BLOCKS && size > 0; i++) {
        const ssize_t n = pread(file, block, sizeof block, size / N_BLOCKS * i);
        if (n > 0) add_bytes(hash, block, (size_t)n);
    }
    close(file);
}

// What the file says of itself, which its copies say too: metadata, and the list of its tensors.
static void add_model(uint64_t *hash, const tn_cli_engine *engine)
{
    const char *key, *type;
    char value[512];
    tn_tensor_info tensor;
    add_number(hash, engine->info.file_bytes);
    add_number(hash, engine->info.n_params);
    for (size_t i = 0; i < tn_model_metadata_count(engine->model); i++) {
        if (tn_model_metadata(engine->model, i, &key, &type, value, sizeof value) != TN_OK) continue;
        add_text(hash, key);
        add_text(hash, type);
        add_text(hash, value);
    }
    for (size_t i = 0; i < tn_model_tensor_count(engine->model); i++) {
        if (tn_model_tensor(engine->model, i, &tensor) != TN_OK) continue;
        add_text(hash, tensor.name);
        add_text(hash, tensor.type);
        for (size_t d = 0; d < 4; d++) add_number(hash, tensor.dims[d]);
    }
    add_contents(hash, engine->path);
}

static void add_sampler(uint64_t *hash, const tn_sampler_params *s)
{
    const float reals[] = {s->temperature, s->top_p, s->min_p, s->repeat_penalty, s->presence_penalty, s->frequency_penalty};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) add_real(hash, reals[i]);
    add_number(hash, s->seed);
    add_number(hash, (uint64_t)s->top_k);
    add_number(hash, (uint64_t)s->repeat_last_n);
}

void tn_cli_batch_fingerprint(const tn_cli_batch_context *context, char out[40])
{
    // Flags that change what the file's weights or texts mean.
    static const tn_cli_option_id readings[] = {TN_OPT_PRE_TOKENIZER, TN_OPT_I2S_LAYOUT, TN_OPT_TL_PRESET, TN_OPT_HEAD};
    static const tn_cli_option_id switches[] = {TN_OPT_PARSE_SPECIAL, TN_OPT_SPECIAL, TN_OPT_REPEAT_LAST_N, TN_OPT_IGNORE_EOS};
    const tn_cli_batch_context *c = context;
    uint64_t fingerprint = 0, *hash = &fingerprint;
    add_text(hash, tn_version());
    add_model(hash, c->engine);
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) add_text(hash, tn_cli_text(&c->cli->options, readings[i]));
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) add_number(hash, tn_cli_given(&c->cli->options, switches[i]));
    add_text(hash, c->chat_template ? tn_chat_template_name(c->chat_template) : NULL);
    add_number(hash, c->chat_flags);
    add_number(hash, c->n_ctx);
    add_sampler(hash, &c->sampler);
    add_number(hash, (uint64_t)c->n_predict);
    add_number(hash, c->n_stops);
    for (size_t i = 0; i < c->n_stops; i++) add_text(hash, c->stops[i]);
    add_number(hash, c->n_bias);
    for (size_t i = 0; i < c->n_bias; i++) {
        add_number(hash, (uint64_t)c->bias[i].token);
        add_real(hash, c->bias[i].bias);
    }
    if (tn_cli_is_fast(c->cli)) add_text(hash, "fast");
    snprintf(out, 40, "fp_%016" PRIx64, fingerprint);
}
