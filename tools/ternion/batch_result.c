// Results as OpenAI's text_completion and chat.completion objects, each a line.
#include "batch_result.h"

#include "batch_logprobs.h"
#include "json_out.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *finish_reason(tn_finish finish) { return finish == TN_FINISH_END || finish == TN_FINISH_STOP ? "stop" : "length"; }

static json_t *completion_choice(tn_cli_batch_json *j, const tn_result *result, const tn_cli_batch_echo *echo, const tn_sample *sample,
                                 size_t index)
{
    json_t *choice = tn_cli_batch_object(j);
    char *joined = NULL;
    if (echo->len > 0) {
        joined = malloc(echo->len + sample->text_len);
        j->failed = j->failed || !joined;
    }
    if (joined) {
        memcpy(joined, echo->text, echo->len);
        memcpy(joined + echo->len, sample->text, sample->text_len);
    }
    tn_cli_batch_put(j, choice, "text", tn_cli_json_text(joined ? joined : sample->text, (joined ? echo->len : 0) + sample->text_len));
    tn_cli_batch_put(j, choice, "index", json_integer((json_int_t)index));
    tn_cli_batch_put(j, choice, "logprobs",
                     j->request->wants_logprobs ? tn_cli_batch_completion_logprobs(j, result, echo, sample) : json_null());
    tn_cli_batch_put(j, choice, "finish_reason", json_string(finish_reason(sample->finish)));
    free(joined);
    return choice;
}

static json_t *chat_choice(tn_cli_batch_json *j, const tn_result *result, const tn_sample *sample, size_t index)
{
    json_t *choice = tn_cli_batch_object(j), *message = tn_cli_batch_object(j);
    tn_cli_batch_put(j, message, "role", json_string("assistant"));
    tn_cli_batch_put(j, message, "content", tn_cli_json_text(sample->text, sample->text_len));
    tn_cli_batch_put(j, message, "refusal", json_null());
    tn_cli_batch_put(j, choice, "index", json_integer((json_int_t)index));
    tn_cli_batch_put(j, choice, "message", message);
    tn_cli_batch_put(j, choice, "logprobs", j->request->wants_logprobs ? tn_cli_batch_chat_logprobs(j, result, sample) : json_null());
    tn_cli_batch_put(j, choice, "finish_reason", json_string(finish_reason(sample->finish)));
    return choice;
}

// Of all prompts: sample k of prompt i is choice i * n + k.
static json_t *choices_of(tn_cli_batch_json *j, const tn_result *const *results)
{
    const tn_cli_batch_request *r = j->request;
    json_t *choices = tn_cli_batch_array(j);
    for (size_t i = 0; i < r->n_prompts; i++) {
        tn_cli_batch_echo echo = {0};
        if (r->echo) tn_cli_batch_echo_make(j, r->prompts[i], r->n_prompt_tokens[i], &echo);
        for (size_t k = 0; k < results[i]->n_samples; k++) {
            const size_t index = i * r->n_choices + k;
            const tn_sample *sample = &results[i]->samples[k];
            tn_cli_batch_push(j, choices,
                              r->kind == TN_CLI_BATCH_CHAT ? chat_choice(j, results[i], sample, index)
                                                           : completion_choice(j, results[i], &echo, sample, index));
        }
        tn_cli_batch_echo_deinit(&echo);
    }
    return choices;
}

static json_t *usage_of(tn_cli_batch_json *j, const tn_result *const *results)
{
    json_t *usage = tn_cli_batch_object(j), *details = tn_cli_batch_object(j);
    json_int_t n_prompt = 0, n_cached = 0, n_generated = 0;
    for (size_t i = 0; i < j->request->n_prompts; i++) {
        n_prompt += results[i]->n_prompt;
        n_cached += results[i]->n_prompt_reused;
        n_generated += results[i]->n_generated;
    }
    tn_cli_batch_put(j, usage, "prompt_tokens", json_integer(n_prompt));
    tn_cli_batch_put(j, usage, "completion_tokens", json_integer(n_generated));
    tn_cli_batch_put(j, usage, "total_tokens", json_integer(n_prompt + n_generated));
    tn_cli_batch_put(j, details, "cached_tokens", json_integer(n_cached));
    tn_cli_batch_put(j, usage, "prompt_tokens_details", details);
    return usage;
}

// "PREFIXLINE_HASH".
static json_t *id_of(const char *prefix, const tn_cli_batch_where *where)
{
    char id[80];
    snprintf(id, sizeof id, "%s%" PRIu64 "_%016" PRIx64, prefix, where->line, where->hash);
    return json_string(id);
}

static json_t *body_of(tn_cli_batch_json *j, const tn_cli_batch_where *where, const tn_result *const *results)
{
    const bool chat = j->request->kind == TN_CLI_BATCH_CHAT;
    json_t *body = tn_cli_batch_object(j);
    tn_cli_batch_put(j, body, "id", id_of(chat ? "chatcmpl-" : "cmpl-", where));
    tn_cli_batch_put(j, body, "object", json_string(chat ? "chat.completion" : "text_completion"));
    tn_cli_batch_put(j, body, "created", json_integer(where->created ? where->created : (json_int_t)time(NULL)));
    tn_cli_batch_put(j, body, "model", tn_cli_json_text(where->model, strlen(where->model)));
    tn_cli_batch_put(j, body, "choices", choices_of(j, results));
    tn_cli_batch_put(j, body, "usage", usage_of(j, results));
    tn_cli_batch_put(j, body, "system_fingerprint", json_string(where->fingerprint));
    return body;
}

// The line around a body, with `error` as it stands in the line; takes both. NULL without memory for any of it.
static char *line_of(tn_cli_batch_json *j, const tn_cli_batch_where *where, const json_t *custom_id, int status, json_t *body,
                     json_t *error, size_t *out_len)
{
    json_t *line = tn_cli_batch_object(j), *response = tn_cli_batch_object(j);
    tn_cli_batch_put(j, response, "status_code", json_integer(status));
    tn_cli_batch_put(j, response, "request_id", id_of("req_", where));
    tn_cli_batch_put(j, response, "body", body);
    tn_cli_batch_put(j, line, "id", id_of("batch_req_", where));
    tn_cli_batch_put(j, line, "custom_id",
                     custom_id ? json_stringn(json_string_value(custom_id), json_string_length(custom_id)) : json_null());
    tn_cli_batch_put(j, line, "response", response);
    tn_cli_batch_put(j, line, "error", error);
    char *text = j->failed ? NULL : tn_cli_json_dump(line, JSON_COMPACT);
    json_decref(line);
    *out_len = text ? strlen(text) : 0;
    char *ended = text ? realloc(text, *out_len + 2) : NULL;
    if (!ended) {
        free(text);
        return NULL;
    }
    memcpy(ended + (*out_len)++, "\n", 2);
    return ended;
}

char *tn_cli_batch_result_line(const tn_cli_batch_context *context, const tn_cli_batch_where *where, const tn_cli_batch_request *request,
                               const tn_result *const *results, size_t *out_len)
{
    tn_cli_batch_json j = {.tokenizer = context->engine->tokenizer, .request = request};
    tn_cli_json_begin(); // a line that had no memory says nothing of this one
    return line_of(&j, where, request->custom_id, 200, body_of(&j, where, results), json_null(), out_len);
}

static json_t *text_or_null(const char *text) { return text[0] ? tn_cli_json_text(text, strlen(text)) : json_null(); }

char *tn_cli_batch_error_line(const tn_cli_batch_where *where, const json_t *custom_id, const tn_cli_batch_error *error, size_t *out_len)
{
    tn_cli_batch_json j = {0};
    tn_cli_json_begin();
    json_t *body = tn_cli_batch_object(&j), *inner = tn_cli_batch_object(&j), *outer = tn_cli_batch_object(&j);
    tn_cli_batch_put(&j, inner, "message", tn_cli_json_text(error->message, strlen(error->message)));
    tn_cli_batch_put(&j, inner, "type", json_string(error->type));
    tn_cli_batch_put(&j, inner, "param", text_or_null(error->param));
    tn_cli_batch_put(&j, inner, "code", text_or_null(error->code));
    tn_cli_batch_put(&j, body, "error", inner);
    tn_cli_batch_put(&j, outer, "code", text_or_null(error->code));
    tn_cli_batch_put(&j, outer, "message", tn_cli_json_text(error->message, strlen(error->message)));
    return line_of(&j, where, custom_id, error->status, body, outer, out_len);
}

void tn_cli_batch_error_of(tn_status status, const char *message, tn_cli_batch_error *out_error)
{
    const bool asked_wrongly = status == TN_INVALID_ARGUMENT || status == TN_LIMIT || status == TN_UNSUPPORTED;
    memset(out_error, 0, sizeof *out_error);
    out_error->status = asked_wrongly ? 400 : 500;
    snprintf(out_error->type, sizeof out_error->type, "%s", asked_wrongly ? "invalid_request_error" : "server_error");
    if (!message) message = tn_error_last()->message;
    snprintf(out_error->message, sizeof out_error->message, "%s", message[0] ? message : tn_status_text(status));
    switch (status) {
    case TN_LIMIT: snprintf(out_error->code, sizeof out_error->code, "context_length_exceeded"); return;
    case TN_INVALID_ARGUMENT: snprintf(out_error->code, sizeof out_error->code, "invalid_value"); return;
    case TN_UNSUPPORTED: snprintf(out_error->code, sizeof out_error->code, "unsupported_value"); return;
    default: snprintf(out_error->code, sizeof out_error->code, "%s", tn_status_name(status)); break;
    }
    for (char *c = out_error->code; *c; c++) *c = (char)tolower((unsigned char)*c);
}

bool tn_cli_batch_error_of_result(const tn_result *result, tn_cli_batch_error *out_error)
{
    if (result->status != TN_OK) {
        tn_cli_batch_error_of(result->status, result->message, out_error);
        return true;
    }
    for (uint32_t k = 0; k < result->n_samples; k++) {
        char message[200];
        const tn_sample *sample = &result->samples[k];
        if (sample->status == TN_OK) continue;
        snprintf(message, sizeof message, "answer %u of %u failed: %s", (unsigned)k + 1, (unsigned)result->n_samples,
                 tn_status_text(sample->status));
        tn_cli_batch_error_of(sample->status, message, out_error);
        return true;
    }
    return false;
}
