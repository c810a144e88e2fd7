// Log-probabilities of tokens as the two APIs write them.
#include "batch_logprobs.h"

#include "json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *tn_cli_batch_object(tn_cli_batch_json *j)
{
    json_t *object = json_object();
    j->failed = j->failed || !object;
    return object;
}

json_t *tn_cli_batch_array(tn_cli_batch_json *j)
{
    json_t *array = json_array();
    j->failed = j->failed || !array;
    return array;
}

void tn_cli_batch_put(tn_cli_batch_json *j, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) j->failed = true;
}

void tn_cli_batch_push(tn_cli_batch_json *j, json_t *array, json_t *value)
{
    if (json_array_append_new(array, value) != 0) j->failed = true;
}

// JSON has no infinity; OpenAI's number for what is never chosen.
static json_t *logprob_of(float logprob) { return json_real(isfinite(logprob) ? tn_cli_short_real(logprob) : -9999.0); }

void tn_cli_batch_echo_deinit(tn_cli_batch_echo *echo)
{
    free(echo->text);
    free(echo->ends);
    memset(echo, 0, sizeof *echo);
}

// Bytes that `token` adds to a text behind `before` (NULL: it is the first one): the pair says whether a space before it is part of it.
static size_t added_bytes(const tn_cli_batch_json *j, const int32_t *before, int32_t token)
{
    const int32_t pair[] = {before ? *before : token, token};
    const bool special = j->request->params.special;
    size_t with = 0, without = 0;
    if (tn_tokenizer_decode(j->tokenizer, before ? pair : pair + 1, before ? 2 : 1, special, NULL, 0, &with) != TN_OK) return 0;
    if (before && tn_tokenizer_decode(j->tokenizer, pair, 1, special, NULL, 0, &without) != TN_OK) return 0;
    return with - without;
}

void tn_cli_batch_echo_make(tn_cli_batch_json *j, const int32_t *tokens, size_t n_tokens, tn_cli_batch_echo *echo)
{
    const bool special = j->request->params.special;
    size_t len = 0, n = 0;
    if (tn_tokenizer_decode(j->tokenizer, tokens, n_tokens, special, NULL, 0, &len) == TN_OK) echo->text = malloc(len + 1);
    if (j->request->wants_logprobs) echo->ends = malloc((n_tokens + 1) * sizeof *echo->ends);
    if (!echo->text || (j->request->wants_logprobs && !echo->ends) ||
        tn_tokenizer_decode(j->tokenizer, tokens, n_tokens, special, echo->text, len, &echo->len) != TN_OK) {
        j->failed = true;
        return;
    }
    for (size_t i = 0; echo->ends && i < n_tokens; i++) {
        n += added_bytes(j, i > 0 ? &tokens[i - 1] : NULL, tokens[i]);
        echo->ends[i] = n;
    }
}

// Counts the characters of a text as its JSON string has them.
typedef struct counter {
    const char *raw, *clean; // any bytes; the same with U+FFFD for each byte that is part of no character
    size_t raw_len, clean_len;
    size_t at_raw, at_clean, n;
} counter;

// Characters that end at or before byte `to` of the raw text; `to` never goes back.
static size_t count_to(counter *c, size_t to)
{
    while (c->at_raw < c->raw_len && c->at_clean < c->clean_len) {
        const char *raw = c->raw + c->at_raw, *clean = c->clean + c->at_clean;
        size_t len = 1;
        while (c->at_clean + len < c->clean_len && ((unsigned char)clean[len] & 0xc0) == 0x80) len++;
        const bool same = len <= c->raw_len - c->at_raw && memcmp(raw, clean, len) == 0;
        if (c->at_raw + (same ? len : 1) > to) break;
        c->at_raw += same ? len : 1;
        c->at_clean += len;
        c->n++;
    }
    return c->n;
}

// The bytes of a token, control tokens as they are written. To free; NULL without memory.
static char *token_bytes(tn_cli_batch_json *j, int32_t token, size_t *out_len)
{
    size_t capacity = 64;
    for (;;) {
        char *bytes = malloc(capacity);
        j->failed = j->failed || !bytes;
        *out_len = 0;
        // A row of the embedding behind the vocabulary is no token: it has no text.
        if (!bytes || tn_tokenizer_decode_token(j->tokenizer, token, true, bytes, capacity, out_len) != TN_OK || *out_len <= capacity)
            return bytes;
        free(bytes);
        capacity = *out_len;
    }
}

// A token's text; for bytes that form no characters in OpenAI's way: "bytes:\xe2\x80" in completions, "\xe2\x80" in chats.
static json_t *token_name(tn_cli_batch_json *j, const char *bytes, size_t len)
{
    json_t *text = tn_cli_json_text(bytes, len);
    if (!text || (json_string_length(text) == len && memcmp(json_string_value(text), bytes, len) == 0)) return text;
    json_decref(text);
    const char *prefix = j->request->kind == TN_CLI_BATCH_CHAT ? "" : "bytes:";
    char *name = malloc(strlen(prefix) + 4 * len + 1);
    if (!name) return NULL;
    size_t n = strlen(prefix);
    memcpy(name, prefix, n);
    for (size_t i = 0; i < len; i++) {
        const unsigned char byte = (unsigned char)bytes[i];
        if (byte < 0x80)
            name[n++] = bytes[i];
        else
            n += (size_t)snprintf(name + n, 5, "\\x%02x", byte);
    }
    text = json_stringn(name, n);
    free(name);
    return text;
}

static json_t *name_of(tn_cli_batch_json *j, int32_t token)
{
    size_t len = 0;
    char *bytes = token_bytes(j, token, &len);
    json_t *name = bytes ? token_name(j, bytes, len) : NULL;
    free(bytes);
    return name;
}

// {TEXT: LOGPROB}: the most probable tokens, and the token itself.
static json_t *top_by_name(tn_cli_batch_json *j, const tn_token_logprob *top, uint32_t n_top, const tn_token_logprob *own)
{
    json_t *object = tn_cli_batch_object(j);
    for (uint32_t i = 0; i <= n_top; i++) {
        const tn_token_logprob *entry = i < n_top ? &top[i] : own;
        json_t *name = name_of(j, entry->token);
        const char *key = json_string_value(name);
        if (!name) j->failed = true;
        // Of two tokens with one name the more probable one stays, as the own token does where it is one of the best.
        if (name && !json_object_getn(object, key, json_string_length(name)) &&
            json_object_setn_new(object, key, json_string_length(name), logprob_of(entry->logprob)) != 0)
            j->failed = true;
        json_decref(name);
    }
    return object;
}

typedef struct columns {
    json_t *tokens, *logprobs, *top, *offsets;
} columns;

static void add_row(tn_cli_batch_json *j, const columns *c, const tn_token_logprob *own, const tn_token_logprob *top, uint32_t n_top,
                    size_t offset)
{
    tn_cli_batch_push(j, c->tokens, name_of(j, own->token));
    tn_cli_batch_push(j, c->logprobs, logprob_of(own->logprob));
    tn_cli_batch_push(j, c->top, top_by_name(j, top, top ? n_top : 0, own));
    tn_cli_batch_push(j, c->offsets, json_integer((json_int_t)offset));
}

// The first token follows nothing, so it has no probability.
static void add_first_row(tn_cli_batch_json *j, const columns *c, int32_t token)
{
    tn_cli_batch_push(j, c->tokens, name_of(j, token));
    tn_cli_batch_push(j, c->logprobs, json_null());
    tn_cli_batch_push(j, c->top, json_null());
    tn_cli_batch_push(j, c->offsets, json_integer(0));
}

static size_t add_prompt(tn_cli_batch_json *j, const columns *c, const tn_result *result, const tn_cli_batch_echo *echo)
{
    json_t *clean = tn_cli_json_text(echo->text, echo->len);
    counter count = {.raw = echo->text, .raw_len = echo->len};
    if (!clean) {
        j->failed = true;
        return 0;
    }
    count.clean = json_string_value(clean);
    count.clean_len = json_string_length(clean);
    for (uint32_t i = 0; i < result->n_prompt; i++) {
        const tn_token_logprob *own = &result->prompt_logprobs[i];
        const tn_token_logprob *top = result->prompt_top ? result->prompt_top + (size_t)i * result->n_top : NULL;
        if (i == 0)
            add_first_row(j, c, own->token);
        else
            add_row(j, c, own, top, result->n_top, count_to(&count, echo->ends[i - 1]));
    }
    const size_t n = count_to(&count, echo->len);
    json_decref(clean);
    return n;
}

json_t *tn_cli_batch_completion_logprobs(tn_cli_batch_json *j, const tn_result *result, const tn_cli_batch_echo *echo,
                                         const tn_sample *sample)
{
    const columns c = {tn_cli_batch_array(j), tn_cli_batch_array(j), tn_cli_batch_array(j), tn_cli_batch_array(j)};
    counter count = {.raw = sample->text, .clean = sample->text, .raw_len = sample->text_len, .clean_len = sample->text_len};
    json_t *object = tn_cli_batch_object(j);
    const size_t n_before = j->request->echo && result->prompt_logprobs && echo->ends ? add_prompt(j, &c, result, echo) : 0;
    for (uint32_t i = 0; sample->logprobs && i < sample->n_tokens; i++) {
        const tn_token_logprob *top = sample->top ? sample->top + (size_t)i * result->n_top : NULL;
        add_row(j, &c, &sample->logprobs[i], top, result->n_top, n_before + count_to(&count, i > 0 ? sample->text_ends[i - 1] : 0));
    }
    tn_cli_batch_put(j, object, "tokens", c.tokens);
    tn_cli_batch_put(j, object, "token_logprobs", c.logprobs);
    tn_cli_batch_put(j, object, "top_logprobs", c.top);
    tn_cli_batch_put(j, object, "text_offset", c.offsets);
    return object;
}

// {"token", "logprob", "bytes"}.
static json_t *chat_entry(tn_cli_batch_json *j, const tn_token_logprob *entry)
{
    json_t *object = tn_cli_batch_object(j), *list = tn_cli_batch_array(j);
    size_t len = 0;
    char *bytes = token_bytes(j, entry->token, &len);
    for (size_t i = 0; bytes && i < len; i++) tn_cli_batch_push(j, list, json_integer((unsigned char)bytes[i]));
    tn_cli_batch_put(j, object, "token", bytes ? token_name(j, bytes, len) : NULL);
    tn_cli_batch_put(j, object, "logprob", logprob_of(entry->logprob));
    tn_cli_batch_put(j, object, "bytes", list);
    free(bytes);
    return object;
}

json_t *tn_cli_batch_chat_logprobs(tn_cli_batch_json *j, const tn_result *result, const tn_sample *sample)
{
    json_t *object = tn_cli_batch_object(j), *content = tn_cli_batch_array(j);
    for (uint32_t i = 0; sample->logprobs && i < sample->n_tokens; i++) {
        json_t *entry = chat_entry(j, &sample->logprobs[i]), *top = tn_cli_batch_array(j);
        for (uint32_t k = 0; sample->top && k < result->n_top; k++)
            tn_cli_batch_push(j, top, chat_entry(j, &sample->top[(size_t)i * result->n_top + k]));
        tn_cli_batch_put(j, entry, "top_logprobs", top);
        tn_cli_batch_push(j, content, entry);
    }
    tn_cli_batch_put(j, object, "content", content);
    tn_cli_batch_put(j, object, "refusal", json_null());
    return object;
}
