// The prompts of a completion: texts or tokens, one or many.
#include "batch_fields.h"
#include "prompt.h"

#include <stdio.h>
#include <stdlib.h>

enum { N_PROMPTS_MAX = 128, N_SPARE = 16 };

// "prompt", or "prompt[3]" of an array.
static void name_of(const tn_cli_batch_body *body, size_t index, char out[32])
{
    if (body->request->kind == TN_CLI_BATCH_CHAT)
        snprintf(out, 32, "messages");
    else if (body->request->n_prompts == 1)
        snprintf(out, 32, "prompt");
    else
        snprintf(out, 32, "prompt[%zu]", index);
}

bool tn_cli_batch_take_prompt(tn_cli_batch_body *body, size_t index, int32_t *tokens, size_t n_tokens)
{
    tn_cli_batch_request *r = body->request;
    const size_t n_ctx = body->context->n_ctx;
    char param[32];
    r->prompts[index] = tokens;
    r->n_prompt_tokens[index] = n_tokens;
    if (n_tokens > 0 && (n_tokens < n_ctx || (n_tokens == n_ctx && r->params.prompt_only))) return true;
    name_of(body, index, param);
    if (n_tokens == 0)
        return tn_cli_batch_refuse(body->error, "invalid_value", param, "'%s' is empty: a prompt has at least one token", param);
    return tn_cli_batch_refuse(body->error, "context_length_exceeded", param,
                               "'%s' has %zu tokens, but the context holds %zu with the answer: shorten it, or raise -c", param, n_tokens,
                               n_ctx);
}

static bool encode(tn_cli_batch_body *body, size_t index, const json_t *text)
{
    const tn_tokenizer *tokenizer = body->context->engine->tokenizer;
    const bool parses = tn_cli_given(&body->context->cli->options, TN_OPT_PARSE_SPECIAL);
    const unsigned flags = TN_ENCODE_ADD_SPECIAL | (parses ? (unsigned)TN_ENCODE_PARSE_SPECIAL : 0);
    const char *bytes = json_string_value(text);
    const size_t len = json_string_length(text);
    size_t capacity = len + N_SPARE, n = 0; // hardly a text has more tokens than bytes
    for (;;) {
        int32_t *tokens = malloc(capacity * sizeof *tokens);
        if (!tokens) return tn_cli_batch_no_memory(body->error);
        const tn_status status = tn_tokenizer_encode(tokenizer, bytes, len, flags, tokens, capacity, &n);
        if (status == TN_OK && n <= capacity) {
            int32_t *fitting = realloc(tokens, (n + 1) * sizeof *tokens);
            return tn_cli_batch_take_prompt(body, index, fitting ? fitting : tokens, n);
        }
        free(tokens);
        if (status != TN_OK) return tn_cli_batch_refuse_status(body->error, status, "prompt");
        capacity = n;
    }
}

static bool read_ids(tn_cli_batch_body *body, size_t index, const json_t *ids)
{
    const int64_t n_vocab = tn_tokenizer_n_vocab(body->context->engine->tokenizer);
    const size_t n = json_array_size(ids);
    char name[32], param[64];
    int64_t id = 0;
    int32_t *tokens = malloc((n + 1) * sizeof *tokens);
    if (!tokens) return tn_cli_batch_no_memory(body->error);
    name_of(body, index, name);
    for (size_t i = 0; i < n; i++) {
        snprintf(param, sizeof param, "%s[%zu]", name, i);
        if (!tn_cli_batch_read_int(body->error, param, json_array_get(ids, i), 0, n_vocab - 1, &id)) {
            free(tokens);
            return false;
        }
        tokens[i] = (int32_t)id;
    }
    return tn_cli_batch_take_prompt(body, index, tokens, n);
}

bool tn_cli_batch_reserve_prompts(tn_cli_batch_body *body, size_t n)
{
    tn_cli_batch_request *r = body->request;
    r->prompts = calloc(n, sizeof *r->prompts);
    r->n_prompt_tokens = calloc(n, sizeof *r->n_prompt_tokens);
    if (!r->prompts || !r->n_prompt_tokens) return tn_cli_batch_no_memory(body->error);
    r->n_prompts = n;
    return true;
}

bool tn_cli_batch_read_prompts(tn_cli_batch_body *body)
{
    static const char wanted[] = "a string, an array of strings, an array of token ids or an array of such arrays";
    const json_t *prompt = body->prompt, *first = json_array_get(prompt, 0);
    char param[32];
    if (!prompt)
        return tn_cli_batch_refuse(body->error, "missing_required_parameter", "prompt", "'prompt' is missing: it must be %s", wanted);
    if (json_is_string(prompt)) return tn_cli_batch_reserve_prompts(body, 1) && encode(body, 0, prompt);
    if (json_is_number(first)) return tn_cli_batch_reserve_prompts(body, 1) && read_ids(body, 0, prompt);
    if (!json_is_string(first) && !json_is_array(first)) return tn_cli_batch_wrong(body->error, "prompt", prompt, "%s", wanted);
    const size_t n = json_array_size(prompt);
    if (n > N_PROMPTS_MAX)
        return tn_cli_batch_refuse(body->error, "invalid_value", "prompt",
                                   "'prompt' has %zu prompts, but at most %d are possible in a line", n, (int)N_PROMPTS_MAX);
    if (!tn_cli_batch_reserve_prompts(body, n)) return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(prompt, i);
        if (json_typeof(one) != json_typeof(first)) {
            snprintf(param, sizeof param, "prompt[%zu]", i);
            return tn_cli_batch_wrong(body->error, param, one, "%s as the first one is",
                                      json_is_string(first) ? "a string" : "an array of ids");
        }
        if (!(json_is_string(one) ? encode(body, i, one) : read_ids(body, i, one))) return false;
    }
    return true;
}
