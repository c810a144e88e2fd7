// Chat templates by name, and conversations as token ids.
#include "model/chat_template.h"

#include "base/alloc.h"

#include <stdio.h>

static const tn_chat_template *const families[] = {&tn_chat_bitnet, &tn_chat_llama3,     &tn_chat_llama31, &tn_chat_falcon3,
                                                   &tn_chat_chatml, &tn_chat_chatml_bos, &tn_chat_qwen2,   &tn_chat_qwen3};
#define N_FAMILIES (sizeof families / sizeof families[0])

size_t tn_chat_template_count(void) { return N_FAMILIES; }
const tn_chat_template *tn_chat_template_at(size_t index) { return index < N_FAMILIES ? families[index] : NULL; }
const char *tn_chat_template_name(const tn_chat_template *chat_template) { return chat_template->name; }
const char *tn_chat_template_summary(const tn_chat_template *chat_template) { return chat_template->summary; }
bool tn_chat_template_thinks(const tn_chat_template *chat_template) { return chat_template->thinks; }

char *tn_chat_template_names(char *out, size_t capacity)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_FAMILIES && at < capacity; i++) {
        at += (size_t)snprintf(out + at, capacity - at, "%s%s", i ? ", " : "", families[i]->name);
    }
    return out;
}

tn_status tn_chat_template_find(const char *name, const tn_chat_template **out_template)
{
    char names[160];
    TN_REQUIRE(out_template);
    *out_template = NULL;
    TN_REQUIRE(name);
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (strcmp(families[i]->name, name) == 0) *out_template = families[i];
    }
    if (*out_template) return TN_OK;
    return tn_fail(TN_NOT_FOUND, "there is no chat template '%.60s'; %s are", name, tn_chat_template_names(names, sizeof names));
}

// Collects ids; text waits until something else comes, so that neighbours are encoded as one.
typedef struct id_sink {
    const tn_tokenizer *tokenizer;
    const char *family;
    tn_text pending;
    int32_t *tokens;
    size_t capacity, n;
} id_sink;

static tn_status emit(id_sink *s, const int32_t *ids, size_t n)
{
    if (n > INT32_MAX - s->n) return tn_fail(TN_INVALID_ARGUMENT, "the conversation has more than %d tokens: shorten it", INT32_MAX);
    for (size_t i = 0; i < n && s->n + i < s->capacity; i++) s->tokens[s->n + i] = ids[i];
    s->n += n;
    return TN_OK;
}

static tn_status flush(id_sink *s)
{
    size_t n = 0, room = s->n < s->capacity ? s->capacity - s->n : 0;
    if (s->pending.len == 0) return TN_OK;
    TN_TRY(
        tn_tokenizer_encode(s->tokenizer, s->pending.data, s->pending.len, TN_ENCODE_NO_SPECIAL, room ? s->tokens + s->n : NULL, room, &n));
    if (n > INT32_MAX - s->n) return tn_fail(TN_INVALID_ARGUMENT, "the conversation has more than %d tokens: shorten it", INT32_MAX);
    s->n += n;
    s->pending.len = 0;
    return TN_OK;
}

static tn_status put_text(void *user, tn_str text)
{
    id_sink *s = user;
    return text.len > 0 ? tn_text_append(&s->pending, text.data, text.len) : TN_OK;
}

static tn_status put_token(void *user, const char *text, bool required)
{
    id_sink *s = user;
    int32_t id = TN_TOKEN_NONE;
    size_t n = 0;
    TN_TRY(tn_tokenizer_encode(s->tokenizer, text, strlen(text), TN_ENCODE_PARSE_SPECIAL, &id, 1, &n));
    tn_token_kind kind = n == 1 ? tn_tokenizer_kind(s->tokenizer, id) : TN_TOKEN_NORMAL;
    if (kind == TN_TOKEN_CONTROL || kind == TN_TOKEN_USER_DEFINED) {
        TN_TRY(flush(s));
        return emit(s, &id, 1);
    }
    if (!required) return put_text(user, tn_str_of(text));
    return tn_fail(TN_UNSUPPORTED, "the vocabulary has no token %s, which the chat template %s needs: choose another template", text,
                   s->family);
}

static tn_status put_bos(void *user)
{
    id_sink *s = user;
    int32_t id = tn_tokenizer_bos(s->tokenizer);
    if (id == TN_TOKEN_NONE)
        return tn_fail(TN_UNSUPPORTED, "the vocabulary has no BOS token, which the chat template %s needs: choose another template",
                       s->family);
    TN_TRY(flush(s));
    return emit(s, &id, 1);
}

static tn_status put_ids(void *user, const int32_t *ids, size_t n)
{
    id_sink *s = user;
    int32_t n_vocab = tn_tokenizer_n_vocab(s->tokenizer);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= n_vocab)
            return tn_fail(TN_INVALID_ARGUMENT, "token %d of an answer is not one of the vocabulary's %d", (int)ids[i], (int)n_vocab);
    }
    TN_TRY(flush(s));
    return emit(s, ids, n);
}

tn_status tn_chat_render(const tn_chat_template *chat_template, const tn_tokenizer *tokenizer, const tn_chat_message *messages,
                         size_t n_messages, unsigned flags, int32_t *tokens, size_t capacity, size_t *out_n)
{
    TN_REQUIRE(out_n);
    *out_n = 0;
    TN_REQUIRE(chat_template);
    TN_REQUIRE(tokenizer);
    if (capacity) TN_REQUIRE(tokens);
    id_sink s = {.tokenizer = tokenizer, .family = chat_template->name, .tokens = tokens, .capacity = capacity};
    tn_chat_sink sink = {&s, put_bos, put_token, put_text, put_ids};
    tn_chat chat = {messages, n_messages, flags, &sink};
    tn_status status;
    TN_TRY_GOTO(tn_chat_write(chat_template, &chat));
    TN_TRY_GOTO(flush(&s));
    *out_n = s.n;
fail:
    tn_text_deinit(&s.pending);
    return status;
}
