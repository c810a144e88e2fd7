// A list of messages that owns its texts.
#include "conversation.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>

static void free_message(tn_chat_message *message)
{
    free((char *)message->text);
    free((int32_t *)message->tokens);
}

// Room for one more message at `at`, zeroed.
static tn_chat_message *insert(tn_cli_conversation *c, size_t at)
{
    if (c->n_messages == c->capacity) {
        size_t capacity = 2 * c->capacity + 16;
        tn_chat_message *grown = realloc(c->messages, capacity * sizeof *grown);
        if (!grown) return NULL;
        c->messages = grown;
        c->capacity = capacity;
    }
    memmove(c->messages + at + 1, c->messages + at, (c->n_messages - at) * sizeof *c->messages);
    memset(c->messages + at, 0, sizeof *c->messages);
    c->n_messages++;
    return c->messages + at;
}

static void *copy(const void *bytes, size_t n)
{
    void *out = malloc(n + 1);
    if (out && n > 0) memcpy(out, bytes, n);
    return out;
}

static int add_at(tn_cli_conversation *c, size_t at, tn_chat_role role, const char *text, size_t len)
{
    char *owned = copy(text, len);
    tn_chat_message *message = owned ? insert(c, at) : NULL;
    if (!message) {
        free(owned);
        return tn_cli_out_of_memory();
    }
    message->role = role;
    message->text = owned;
    message->text_len = len;
    return 0;
}

int tn_cli_conversation_add(tn_cli_conversation *conversation, tn_chat_role role, const char *text, size_t len)
{
    return add_at(conversation, conversation->n_messages, role, text, len);
}

static bool has_thought(const tn_cli_conversation *c, const tn_cli_answer *answer)
{
    return tn_chat_template_thinks(c->chat_template) && answer->text_len > 0 && memmem(answer->text, answer->text_len, "</think>", 8);
}

int tn_cli_conversation_add_answer(tn_cli_conversation *conversation, const tn_cli_answer *answer)
{
    int rc = tn_cli_conversation_add(conversation, TN_CHAT_ASSISTANT, answer->text, answer->text_len);
    if (rc || answer->stop == TN_CLI_STOP_TEXT || has_thought(conversation, answer)) return rc;
    tn_chat_message *message = &conversation->messages[conversation->n_messages - 1];
    message->tokens = copy(answer->tokens, answer->n_tokens * sizeof *answer->tokens);
    message->n_tokens = answer->n_tokens;
    return message->tokens ? 0 : tn_cli_out_of_memory();
}

bool tn_cli_conversation_has_system(const tn_cli_conversation *conversation)
{
    return conversation->n_messages > 0 && conversation->messages[0].role == TN_CHAT_SYSTEM;
}

int tn_cli_conversation_set_system(tn_cli_conversation *conversation, const char *text, size_t len)
{
    bool had = tn_cli_conversation_has_system(conversation);
    int rc = len > 0 ? add_at(conversation, 0, TN_CHAT_SYSTEM, text, len) : 0;
    if (rc || !had) return rc;
    size_t old = len > 0;
    free_message(&conversation->messages[old]);
    memmove(conversation->messages + old, conversation->messages + old + 1,
            (conversation->n_messages - old - 1) * sizeof *conversation->messages);
    conversation->n_messages--;
    return 0;
}

void tn_cli_conversation_cut(tn_cli_conversation *conversation, size_t n)
{
    while (conversation->n_messages > n) free_message(&conversation->messages[--conversation->n_messages]);
}

int tn_cli_conversation_split(tn_cli_conversation *conversation, size_t n, tn_cli_conversation *rest)
{
    size_t n_rest = conversation->n_messages - n;
    *rest = (tn_cli_conversation){.messages = malloc((n_rest + 1) * sizeof *rest->messages)};
    if (!rest->messages) return tn_cli_out_of_memory();
    if (n_rest > 0) memcpy(rest->messages, conversation->messages + n, n_rest * sizeof *rest->messages);
    rest->n_messages = rest->capacity = n_rest;
    conversation->n_messages = n;
    return 0;
}

void tn_cli_conversation_join(tn_cli_conversation *conversation, tn_cli_conversation *rest)
{
    // They came from this list, whose room is never given back.
    if (rest->n_messages > 0)
        memcpy(conversation->messages + conversation->n_messages, rest->messages, rest->n_messages * sizeof *rest->messages);
    conversation->n_messages += rest->n_messages;
    rest->n_messages = 0;
}

size_t tn_cli_conversation_last_question(const tn_cli_conversation *conversation)
{
    for (size_t i = conversation->n_messages; i-- > 0;) {
        if (conversation->messages[i].role == TN_CHAT_USER) return i;
    }
    return conversation->n_messages;
}

int tn_cli_conversation_render(const tn_cli_conversation *conversation, const tn_tokenizer *tokenizer, int32_t **out_tokens, size_t *out_n)
{
    unsigned flags = conversation->flags | TN_CHAT_ADD_GENERATION_PROMPT;
    const tn_cli_conversation *c = conversation;
    *out_tokens = NULL;
    if (tn_chat_render(c->chat_template, tokenizer, c->messages, c->n_messages, flags, NULL, 0, out_n) != TN_OK)
        return tn_cli_fail_status(NULL);
    *out_tokens = malloc((*out_n + 1) * sizeof **out_tokens);
    if (!*out_tokens) return tn_cli_out_of_memory();
    tn_status status = tn_chat_render(c->chat_template, tokenizer, c->messages, c->n_messages, flags, *out_tokens, *out_n, out_n);
    return status == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

void tn_cli_conversation_deinit(tn_cli_conversation *conversation)
{
    tn_cli_conversation_cut(conversation, 0);
    free(conversation->messages);
    memset(conversation, 0, sizeof *conversation);
}
