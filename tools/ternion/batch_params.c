// The parameters in the body of a batch line: which there are, what they may be, and what they mean for the sampler and the batcher.
#include "batch_fields.h"
#include "bytes_hash.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPLETION = 1 << TN_CLI_BATCH_COMPLETION, CHAT = 1 << TN_CLI_BATCH_CHAT, BOTH = COMPLETION | CHAT };
enum { N_STOPS_MAX = 16, N_BIAS_MAX = 4096, MAX_TOKENS_COMPLETION = 16 }; // the last is OpenAI's default

static const char *const urls[] = {[TN_CLI_BATCH_COMPLETION] = "/v1/completions", [TN_CLI_BATCH_CHAT] = "/v1/chat/completions"};

typedef enum form { NUMBER, REAL, ABOVE, FLAG, VALUE, READ, NO_EFFECT } form;

// A parameter. NUMBER, REAL, ABOVE (the lowest value is out of range) and FLAG are kept at `offset` of the body, VALUE as JSON; READ
// parameters have a function; NO_EFFECT ones are known, and no answer depends on them.
typedef struct parameter {
    const char *name;
    unsigned kinds;
    form form;
    size_t offset;
    int64_t low, high;
    bool (*read)(tn_cli_batch_body *body, const char *name, json_t *value);
} parameter;

static bool refuse(tn_cli_batch_body *body, const char *name, const char *why)
{
    return tn_cli_batch_refuse(body->error, "unsupported_parameter", name, "'%s': %s", name, why);
}

static bool read_model(tn_cli_batch_body *body, const char *name, json_t *value)
{
    if (!json_is_string(value)) return tn_cli_batch_wrong(body->error, name, value, "a string");
    body->request->model = strdup(json_string_value(value));
    return body->request->model || tn_cli_batch_no_memory(body->error);
}

static bool read_user(tn_cli_batch_body *body, const char *name, json_t *value)
{
    if (!json_is_string(value)) return tn_cli_batch_wrong(body->error, name, value, "a string");
    body->request->params.flow = tn_cli_hash(json_string_value(value), json_string_length(value), 0);
    return true;
}

static bool read_stream(tn_cli_batch_body *body, const char *name, json_t *value)
{
    bool streams = false;
    if (!tn_cli_batch_read_flag(body->error, name, value, &streams)) return false;
    return !streams || refuse(body, name, "a line of a batch has one answer, which is not streamed: leave it out");
}

static bool read_tools(tn_cli_batch_body *body, const char *name, json_t *value)
{
    if (json_is_array(value) && json_array_size(value) == 0) return true;
    return refuse(body, name, "tools are not supported: leave them out");
}

static bool read_tool_choice(tn_cli_batch_body *body, const char *name, json_t *value)
{
    const char *word = json_is_string(value) ? json_string_value(value) : "";
    if (strcmp(word, "none") == 0 || strcmp(word, "auto") == 0) return true;
    return refuse(body, name, "tools are not supported: only \"none\" and \"auto\" are possible");
}

static bool read_response_format(tn_cli_batch_body *body, const char *name, json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    if (type && strcmp(type, "text") == 0) return true;
    return refuse(body, name, "answers are not bound to a form: only {\"type\": \"text\"} is possible");
}

static bool read_suffix(tn_cli_batch_body *body, const char *name, json_t *value)
{
    (void)value;
    return refuse(body, name, "text cannot be filled in before a suffix: leave it out");
}

static bool read_audio(tn_cli_batch_body *body, const char *name, json_t *value)
{
    (void)value;
    return refuse(body, name, "answers are text only: leave it out");
}

static bool read_web_search(tn_cli_batch_body *body, const char *name, json_t *value)
{
    (void)value;
    return refuse(body, name, "nothing is looked up: leave it out");
}

static bool read_modalities(tn_cli_batch_body *body, const char *name, json_t *value)
{
    const char *only = json_array_size(value) == 1 ? json_string_value(json_array_get(value, 0)) : NULL;
    if (only && strcmp(only, "text") == 0) return true;
    return refuse(body, name, "answers are text only: [\"text\"] is possible");
}

// Arguments of the template in the Jinja language; of these the families know one.
static bool read_template_arguments(tn_cli_batch_body *body, const char *name, json_t *value)
{
    const char *key;
    json_t *argument;
    char full[80];
    if (!json_is_object(value)) return tn_cli_batch_wrong(body->error, name, value, "an object");
    json_object_foreach(value, key, argument)
    {
        snprintf(full, sizeof full, "%s.%.48s", name, key);
        if (strcmp(key, "enable_thinking") != 0) {
            tn_cli_batch_note_unknown(body->context, body->number, full, NULL);
        } else if (!json_is_null(argument)) {
            body->enable_thinking.given = true;
            if (!tn_cli_batch_read_flag(body->error, full, argument, &body->enable_thinking.value)) return false;
        }
    }
    return true;
}

#define AT(field) offsetof(tn_cli_batch_body, field)
static const parameter parameters[] = {
    {"model", BOTH, READ, 0, 0, 0, read_model},
    {"prompt", COMPLETION, VALUE, AT(prompt), 0, 0, NULL},
    {"messages", CHAT, VALUE, AT(messages), 0, 0, NULL},
    {"max_tokens", BOTH, NUMBER, AT(max_tokens), 0, INT32_MAX, NULL},
    {"max_completion_tokens", BOTH, NUMBER, AT(max_completion_tokens), 0, INT32_MAX, NULL},
    {"n", BOTH, NUMBER, AT(n), 1, TN_REQUEST_SAMPLES_MAX, NULL},
    {"best_of", COMPLETION, NUMBER, AT(best_of), 1, TN_REQUEST_SAMPLES_MAX, NULL},
    {"echo", COMPLETION, FLAG, AT(echo), 0, 0, NULL},
    {"logprobs", COMPLETION, NUMBER, AT(logprobs), 0, TN_REQUEST_LOGPROBS_MAX, NULL},
    {"logprobs", CHAT, FLAG, AT(wants_logprobs), 0, 0, NULL},
    {"top_logprobs", CHAT, NUMBER, AT(top_logprobs), 0, TN_REQUEST_LOGPROBS_MAX, NULL},
    {"temperature", BOTH, REAL, AT(temperature), 0, 2, NULL},
    {"top_p", BOTH, ABOVE, AT(top_p), 0, 1, NULL},
    {"top_k", BOTH, NUMBER, AT(top_k), -1, INT32_MAX, NULL},
    {"min_p", BOTH, REAL, AT(min_p), 0, 1, NULL},
    {"presence_penalty", BOTH, REAL, AT(presence_penalty), -2, 2, NULL},
    {"frequency_penalty", BOTH, REAL, AT(frequency_penalty), -2, 2, NULL},
    {"repetition_penalty", BOTH, ABOVE, AT(repetition_penalty), 0, 10, NULL},
    {"repeat_penalty", BOTH, ABOVE, AT(repeat_penalty), 0, 10, NULL},
    {"repeat_last_n", BOTH, NUMBER, AT(repeat_last_n), -1, INT32_MAX, NULL},
    {"logit_bias", BOTH, VALUE, AT(logit_bias), 0, 0, NULL},
    {"stop", BOTH, VALUE, AT(stop), 0, 0, NULL},
    {"seed", BOTH, NUMBER, AT(seed), INT64_MIN, INT64_MAX, NULL},
    {"ignore_eos", BOTH, FLAG, AT(ignore_eos), 0, 0, NULL},
    {"user", BOTH, READ, 0, 0, 0, read_user},
    {"chat_template_kwargs", CHAT, READ, 0, 0, 0, read_template_arguments},
    {"stream", BOTH, READ, 0, 0, 0, read_stream},
    {"tools", CHAT, READ, 0, 0, 0, read_tools},
    {"functions", CHAT, READ, 0, 0, 0, read_tools},
    {"tool_choice", CHAT, READ, 0, 0, 0, read_tool_choice},
    {"function_call", CHAT, READ, 0, 0, 0, read_tool_choice},
    {"response_format", BOTH, READ, 0, 0, 0, read_response_format},
    {"suffix", COMPLETION, READ, 0, 0, 0, read_suffix},
    {"audio", CHAT, READ, 0, 0, 0, read_audio},
    {"modalities", CHAT, READ, 0, 0, 0, read_modalities},
    {"web_search_options", CHAT, READ, 0, 0, 0, read_web_search},
    {"metadata", BOTH, NO_EFFECT, 0, 0, 0, NULL},
    {"store", BOTH, NO_EFFECT, 0, 0, 0, NULL},
    {"service_tier", BOTH, NO_EFFECT, 0, 0, 0, NULL},
    {"parallel_tool_calls", BOTH, NO_EFFECT, 0, 0, 0, NULL},
    {"prediction", BOTH, NO_EFFECT, 0, 0, 0, NULL}, // only a help to be faster
    {"prompt_cache_key", BOTH, NO_EFFECT, 0, 0, 0, NULL},
    {"safety_identifier", BOTH, NO_EFFECT, 0, 0, 0, NULL},
};
#undef AT

static bool read_parameter(tn_cli_batch_body *body, const parameter *p, json_t *value)
{
    void *at = (char *)body + p->offset;
    tn_cli_batch_int *number = at;
    tn_cli_batch_real *real = at;
    tn_cli_batch_flag *flag = at;
    switch (p->form) {
    case NUMBER: number->given = true; return tn_cli_batch_read_int(body->error, p->name, value, p->low, p->high, &number->value);
    case REAL:
    case ABOVE:
        real->given = true;
        return tn_cli_batch_read_real(body->error, p->name, value, (double)p->low, p->form == ABOVE, (double)p->high, &real->value);
    case FLAG: flag->given = true; return tn_cli_batch_read_flag(body->error, p->name, value, &flag->value);
    case VALUE: *(json_t **)at = value; return true;
    case READ: return p->read(body, p->name, value);
    case NO_EFFECT: return true;
    }
    return true;
}

bool tn_cli_batch_read_params(tn_cli_batch_body *body, json_t *object)
{
    const unsigned kind = 1u << body->request->kind;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const parameter *found = NULL, *elsewhere = NULL;
        for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
            if (strcmp(parameters[i].name, name) != 0) continue;
            *(parameters[i].kinds & kind ? &found : &elsewhere) = &parameters[i];
        }
        if (json_is_null(value)) continue;
        if (!found) {
            tn_cli_batch_note_unknown(body->context, body->number, name, elsewhere ? urls[body->request->kind] : NULL);
        } else if (!read_parameter(body, found, value)) {
            return false;
        }
    }
    return true;
}

static bool add_stop(tn_cli_batch_body *body, const json_t *text, const char *param)
{
    tn_cli_batch_request *r = body->request;
    const char *bytes = json_string_value(text);
    if (!bytes) return tn_cli_batch_wrong(body->error, param, text, "a string, or an array of at most %d of them", (int)N_STOPS_MAX);
    if (!*bytes || strlen(bytes) != json_string_length(text))
        return tn_cli_batch_refuse(body->error, "invalid_value", param, "'%s' must be a text that is not empty and has no \\u0000", param);
    r->stops[r->params.n_stops] = strdup(bytes);
    if (!r->stops[r->params.n_stops]) return tn_cli_batch_no_memory(body->error);
    r->params.n_stops++;
    return true;
}

// The line's stop texts, else those of the flags.
static bool apply_stops(tn_cli_batch_body *body)
{
    const tn_cli_batch_context *c = body->context;
    tn_cli_batch_request *r = body->request;
    const json_t *stop = body->stop;
    const size_t n = !stop ? c->n_stops : json_is_array(stop) ? json_array_size(stop) : 1;
    char param[40];
    if (stop && n > N_STOPS_MAX)
        return tn_cli_batch_refuse(body->error, "invalid_value", "stop", "'stop' has %zu texts, but at most %d are possible", n,
                                   (int)N_STOPS_MAX);
    r->stops = calloc(n + 1, sizeof *r->stops);
    if (!r->stops) return tn_cli_batch_no_memory(body->error);
    r->params.stops = (const char *const *)r->stops;
    for (size_t i = 0; !stop && i < n; i++) {
        if (!(r->stops[i] = strdup(c->stops[i]))) return tn_cli_batch_no_memory(body->error);
        r->params.n_stops++;
    }
    if (!stop) return true;
    if (!json_is_array(stop)) return add_stop(body, stop, "stop");
    for (size_t i = 0; i < n; i++) {
        snprintf(param, sizeof param, "stop[%zu]", i);
        if (!add_stop(body, json_array_get(stop, i), param)) return false;
    }
    return true;
}

// A key of logit_bias: the id as a number would be printed, so that no token has two keys.
static bool token_of_key(const char *key, int32_t n_vocab, int32_t *out)
{
    const size_t n = strlen(key);
    int64_t id = 0;
    if (n == 0 || n > 10 || strspn(key, "0123456789") != n || (key[0] == '0' && n > 1)) return false;
    for (size_t i = 0; i < n; i++) id = id * 10 + (key[i] - '0');
    if (id >= n_vocab) return false;
    *out = (int32_t)id;
    return true;
}

static bool read_biases(tn_cli_batch_body *body, tn_logit_bias *bias, size_t *n)
{
    const int32_t n_vocab = tn_tokenizer_n_vocab(body->context->engine->tokenizer);
    const char *key;
    json_t *value;
    char param[80];
    json_object_foreach(body->logit_bias, key, value)
    {
        snprintf(param, sizeof param, "logit_bias.%.48s", key);
        if (!token_of_key(key, n_vocab, &bias[*n].token))
            return tn_cli_batch_refuse(body->error, "invalid_value", param,
                                       "'%s': the key must be the id of a token, from \"0\" to \"%" PRId32 "\"", param, n_vocab - 1);
        if (!tn_cli_batch_read_real(body->error, param, value, -100, false, 100, &bias[*n].bias)) return false;
        ++*n;
    }
    return true;
}

// The line's biases, else those of the flags; and those that forbid every token that ends an answer.
static bool apply_biases(tn_cli_batch_body *body)
{
    const tn_cli_batch_context *c = body->context;
    tn_cli_batch_request *r = body->request;
    const json_t *given = body->logit_bias;
    const bool ignores_end = body->ignore_eos.given ? body->ignore_eos.value : c->ignore_eos;
    size_t n = 0, capacity = given ? json_object_size(given) : c->n_bias;
    if (given && !json_is_object(given))
        return tn_cli_batch_wrong(body->error, "logit_bias", given, "an object, of token ids to numbers from -100 to 100");
    if (given && capacity > N_BIAS_MAX)
        return tn_cli_batch_refuse(body->error, "invalid_value", "logit_bias", "'logit_bias' has %zu tokens, but at most %d are possible",
                                   capacity, (int)N_BIAS_MAX);
    if (ignores_end) capacity += c->n_ends;
    r->bias = calloc(capacity + 1, sizeof *r->bias);
    if (!r->bias) return tn_cli_batch_no_memory(body->error);
    if (given) {
        if (!read_biases(body, r->bias, &n)) return false;
    } else {
        for (; n < c->n_bias; n++) r->bias[n] = c->bias[n];
    }
    for (size_t i = 0; ignores_end && i < c->n_ends; i++) r->bias[n++] = (tn_logit_bias){c->ends[i], -INFINITY};
    r->sampler.logit_bias = r->bias;
    r->sampler.n_logit_bias = n;
    return true;
}

// Penalties of OpenAI look at the whole text, a repetition penalty at its end; the sampler has one window for all.
static void choose_window(const tn_cli_batch_body *body, tn_sampler_params *s)
{
    if (body->repeat_last_n.given) {
        s->repeat_last_n = (int32_t)body->repeat_last_n.value;
    } else if (!tn_cli_given(&body->context->cli->options, TN_OPT_REPEAT_LAST_N) && s->repeat_penalty == 1 &&
               (s->presence_penalty != 0 || s->frequency_penalty != 0)) {
        s->repeat_last_n = -1;
    }
}

static bool apply_sampler(tn_cli_batch_body *body)
{
    tn_sampler_params *s = &body->request->sampler;
    const tn_cli_batch_real *repetition = &body->repetition_penalty, *repeat = &body->repeat_penalty;
    *s = body->context->sampler;
    if (repetition->given && repeat->given && repetition->value != repeat->value)
        return tn_cli_batch_refuse(body->error, "invalid_value", "repeat_penalty",
                                   "'repeat_penalty' and 'repetition_penalty' are two names of one number, but have two values");
    if (body->temperature.given) s->temperature = body->temperature.value;
    if (body->top_p.given) s->top_p = body->top_p.value;
    if (body->top_k.given) s->top_k = (int32_t)body->top_k.value;
    if (body->min_p.given) s->min_p = body->min_p.value;
    if (body->presence_penalty.given) s->presence_penalty = body->presence_penalty.value;
    if (body->frequency_penalty.given) s->frequency_penalty = body->frequency_penalty.value;
    if (repetition->given) s->repeat_penalty = repetition->value;
    if (repeat->given) s->repeat_penalty = repeat->value;
    choose_window(body, s);
    if (body->seed.given) s->seed = (uint64_t)body->seed.value;
    s->sequence = body->seed.given ? 0 : body->number << 20; // 128 prompts of 128 samples fit in between
    return true;
}

static bool apply_samples(tn_cli_batch_body *body)
{
    tn_cli_batch_request *r = body->request;
    r->n_choices = body->n.given ? (uint32_t)body->n.value : 1;
    r->params.n_samples = r->n_choices;
    if (!body->best_of.given) return true;
    if (body->best_of.value < (int64_t)r->n_choices)
        return tn_cli_batch_refuse(body->error, "invalid_value", "best_of",
                                   "'best_of' is %" PRId64 ", but must be at least 'n', which is %u", body->best_of.value,
                                   (unsigned)r->n_choices);
    r->params.n_samples = (uint32_t)body->best_of.value;
    if (r->params.n_samples > r->n_choices) r->params.n_best = r->n_choices;
    return true;
}

static bool apply_logprobs(tn_cli_batch_body *body)
{
    tn_cli_batch_request *r = body->request;
    const bool chat = r->kind == TN_CLI_BATCH_CHAT;
    const tn_cli_batch_int *top = chat ? &body->top_logprobs : &body->logprobs;
    r->wants_logprobs = chat ? body->wants_logprobs.value : body->logprobs.given;
    if (body->top_logprobs.given && !r->wants_logprobs)
        return tn_cli_batch_refuse(body->error, "invalid_value", "top_logprobs", "'top_logprobs' needs 'logprobs' to be true");
    r->echo = body->echo.value;
    r->params.logprobs = r->wants_logprobs;
    r->params.prompt_logprobs = r->wants_logprobs && r->echo;
    if (top->given) r->params.n_top_logprobs = (uint32_t)top->value;
    return true;
}

// How long answers may be. None at all is for the log-probabilities of a text.
static bool apply_length(tn_cli_batch_body *body)
{
    tn_cli_batch_request *r = body->request;
    const tn_cli_batch_int *old = &body->max_tokens, *new = &body->max_completion_tokens;
    const char *param = new->given ? "max_completion_tokens" : "max_tokens";
    const int64_t n_default = r->kind == TN_CLI_BATCH_CHAT ? 0 : MAX_TOKENS_COMPLETION;
    if (old->given && new->given && old->value != new->value)
        return tn_cli_batch_refuse(body->error, "invalid_value", param,
                                   "'max_tokens' and 'max_completion_tokens' are two names of one number, but have two values");
    if (!old->given && !new->given) {
        r->params.n_tokens_max = (uint32_t)(body->context->n_predict >= 0 ? body->context->n_predict : n_default);
        return true;
    }
    r->params.n_tokens_max = (uint32_t)(new->given ? new->value : old->value);
    if (r->params.n_tokens_max > 0) return true;
    if (!r->params.prompt_logprobs)
        return tn_cli_batch_refuse(body->error, "invalid_value", param,
                                   "'%s' must be at least 1; 0 is for completions with 'echo' and 'logprobs'", param);
    if (r->params.n_samples > 1)
        return tn_cli_batch_refuse(body->error, "invalid_value", "n", "'n' and 'best_of' must be 1 where '%s' is 0", param);
    r->params.prompt_only = true;
    r->params.logprobs = false;
    return true;
}

bool tn_cli_batch_apply_params(tn_cli_batch_body *body)
{
    tn_cli_batch_request *r = body->request;
    r->params.sampler = &r->sampler;
    r->params.special = tn_cli_given(&body->context->cli->options, TN_OPT_SPECIAL);
    return apply_samples(body) && apply_logprobs(body) && apply_length(body) && apply_sampler(body) && apply_stops(body) &&
           apply_biases(body);
}
