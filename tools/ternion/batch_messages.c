// The messages of a chat line: to the tokens that ask the model for its next answer.
#include "batch_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_messages(tn_chat_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)messages[i].text);
    free(messages);
}

static bool read_role(tn_cli_batch_body *body, size_t index, const json_t *role, tn_chat_role *out)
{
    static const struct {
        const char *name;
        tn_chat_role role;
    } roles[] = {{"system", TN_CHAT_SYSTEM}, {"developer", TN_CHAT_SYSTEM}, {"user", TN_CHAT_USER}, {"assistant", TN_CHAT_ASSISTANT}};
    static const char wanted[] = "\"system\", \"developer\", \"user\" or \"assistant\"";
    char param[64];
    snprintf(param, sizeof param, "messages[%zu].role", index);
    for (size_t i = 0; json_is_string(role) && i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(json_string_value(role), roles[i].name) != 0) continue;
        *out = roles[i].role;
        return true;
    }
    if (role) return tn_cli_batch_wrong(body->error, param, role, "%s", wanted);
    return tn_cli_batch_refuse(body->error, "missing_required_parameter", param, "'%s' is missing: it must be %s", param, wanted);
}

// One part of a content that is an array: {"type": "text", "text": TEXT}.
static bool check_part(tn_cli_batch_body *body, const char *content, size_t index, const json_t *part)
{
    char param[96];
    const char *type = json_string_value(json_object_get(part, "type"));
    snprintf(param, sizeof param, "%s[%zu]", content, index);
    if (type && strcmp(type, "text") == 0 && json_is_string(json_object_get(part, "text"))) return true;
    if (type && strcmp(type, "text") != 0)
        return tn_cli_batch_refuse(body->error, "unsupported_value", param, "'%s' is of type \"%.40s\", but the model reads text only",
                                   param, type);
    return tn_cli_batch_wrong(body->error, param, part, "{\"type\": \"text\", \"text\": ...}");
}

// The texts of a content with newlines between them, as other servers join them. To free.
static bool join_parts(tn_cli_batch_body *body, const char *param, const json_t *parts, char **out, size_t *out_len)
{
    size_t len = 0, n = json_array_size(parts);
    if (n == 0) return tn_cli_batch_wrong(body->error, param, parts, "a string, or an array of parts of type \"text\"");
    for (size_t i = 0; i < n; i++) {
        if (!check_part(body, param, i, json_array_get(parts, i))) return false;
        len += json_string_length(json_object_get(json_array_get(parts, i), "text")) + (i > 0);
    }
    char *text = malloc(len + 1), *at = text;
    if (!text) return tn_cli_batch_no_memory(body->error);
    for (size_t i = 0; i < n; i++) {
        const json_t *part = json_object_get(json_array_get(parts, i), "text");
        if (i > 0) *at++ = '\n';
        memcpy(at, json_string_value(part), json_string_length(part));
        at += json_string_length(part);
    }
    *out = text;
    *out_len = len;
    return true;
}

static bool read_content(tn_cli_batch_body *body, size_t index, const json_t *content, tn_chat_message *message)
{
    char param[64], *text = NULL;
    snprintf(param, sizeof param, "messages[%zu].content", index);
    if (!content) return tn_cli_batch_refuse(body->error, "missing_required_parameter", param, "'%s' is missing: it must be a text", param);
    if (json_is_array(content)) {
        if (!join_parts(body, param, content, &text, &message->text_len)) return false;
        message->text = text;
        return true;
    }
    if (!json_is_string(content)) return tn_cli_batch_wrong(body->error, param, content, "a string, or an array of parts of type \"text\"");
    message->text_len = json_string_length(content);
    text = malloc(message->text_len + 1);
    if (!text) return tn_cli_batch_no_memory(body->error);
    memcpy(text, json_string_value(content), message->text_len);
    message->text = text;
    return true;
}

// What a message may have beside role and content: calls of tools are part of what the model should read, names are not shown to it.
static bool check_others(tn_cli_batch_body *body, size_t index, json_t *message)
{
    const char *key;
    json_t *value;
    char param[80];
    json_object_foreach(message, key, value)
    {
        if (strcmp(key, "role") == 0 || strcmp(key, "content") == 0 || json_is_null(value)) continue;
        if (strcmp(key, "tool_calls") == 0 && json_is_array(value) && json_array_size(value) == 0) continue;
        snprintf(param, sizeof param, "messages[%zu].%.40s", index, key);
        if (strcmp(key, "tool_calls") == 0 || strcmp(key, "function_call") == 0)
            return tn_cli_batch_refuse(body->error, "unsupported_parameter", param, "'%s': tools are not supported: leave it out", param);
        snprintf(param, sizeof param, "messages[].%.40s", key);
        tn_cli_batch_note_unknown(body->context, body->number, param, NULL);
    }
    return true;
}

static bool read_message(tn_cli_batch_body *body, size_t index, json_t *message, tn_chat_message *out)
{
    char param[64];
    snprintf(param, sizeof param, "messages[%zu]", index);
    if (!json_is_object(message)) return tn_cli_batch_wrong(body->error, param, message, "an object with 'role' and 'content'");
    return read_role(body, index, json_object_get(message, "role"), &out->role) && check_others(body, index, message) &&
           read_content(body, index, json_object_get(message, "content"), out);
}

static unsigned flags_of(const tn_cli_batch_body *body)
{
    unsigned flags = TN_CHAT_ADD_GENERATION_PROMPT | body->context->chat_flags;
    if (!body->enable_thinking.given) return flags;
    flags &= ~(unsigned)TN_CHAT_NO_THINKING;
    if (!body->enable_thinking.value && tn_chat_template_thinks(body->context->chat_template)) flags |= TN_CHAT_NO_THINKING;
    return flags;
}

static bool render(tn_cli_batch_body *body, const tn_chat_message *messages, size_t n_messages)
{
    const tn_cli_batch_context *c = body->context;
    const tn_tokenizer *tokenizer = c->engine->tokenizer;
    const unsigned flags = flags_of(body);
    size_t capacity = 0, n = 0;
    for (size_t i = 0; i < n_messages; i++) capacity += messages[i].text_len + 64; // of turns and their marks; rarely too few
    for (;;) {
        int32_t *tokens = malloc((capacity + 1) * sizeof *tokens);
        if (!tokens) return tn_cli_batch_no_memory(body->error);
        const tn_status status = tn_chat_render(c->chat_template, tokenizer, messages, n_messages, flags, tokens, capacity, &n);
        if (status == TN_OK && n <= capacity) {
            int32_t *fitting = realloc(tokens, (n + 1) * sizeof *tokens);
            return tn_cli_batch_take_prompt(body, 0, fitting ? fitting : tokens, n);
        }
        free(tokens);
        if (status != TN_OK) return tn_cli_batch_refuse_status(body->error, status, "messages");
        capacity = n;
    }
}

static bool read_all(tn_cli_batch_body *body, tn_chat_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!read_message(body, i, json_array_get(body->messages, i), &messages[i])) return false;
    }
    if (messages[n - 1].role == TN_CHAT_ASSISTANT)
        return tn_cli_batch_refuse(body->error, "unsupported_value", "messages",
                                   "'messages' ends with the assistant's, which no chat template continues: end with one of the user");
    return render(body, messages, n);
}

bool tn_cli_batch_read_messages(tn_cli_batch_body *body)
{
    static const char wanted[] = "an array of messages, {\"role\": \"user\", \"content\": ...} for example";
    const size_t n = json_array_size(body->messages);
    if (!body->context->chat_template)
        return tn_cli_batch_refuse(body->error, "unsupported_value", "messages", "%s", body->context->no_chat);
    if (!body->messages)
        return tn_cli_batch_refuse(body->error, "missing_required_parameter", "messages", "'messages' is missing: it must be %s", wanted);
    if (n == 0) return tn_cli_batch_wrong(body->error, "messages", body->messages, "%s", wanted);
    if (!tn_cli_batch_reserve_prompts(body, 1)) return false;
    tn_chat_message *messages = calloc(n, sizeof *messages);
    if (!messages) return tn_cli_batch_no_memory(body->error);
    const bool good = read_all(body, messages, n);
    free_messages(messages, n);
    return good;
}
