// Conversations as JSON: {"template": NAME, "messages": [{"role": "user", "content": "..."}, ...]}, the messages as in OpenAI's requests.
#include "conversation.h"
#include "json_out.h"
#include "output.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const role_names[] = {[TN_CHAT_SYSTEM] = "system", [TN_CHAT_USER] = "user", [TN_CHAT_ASSISTANT] = "assistant"};

static json_t *to_json(const tn_cli_conversation *c)
{
    json_t *messages = json_array();
    for (size_t i = 0; i < c->n_messages; i++) {
        const tn_chat_message *m = &c->messages[i];
        json_array_append_new(messages,
                              json_pack("{s:s, s:o}", "role", role_names[m->role], "content", tn_cli_json_text(m->text, m->text_len)));
    }
    json_t *whole = json_pack("{s:s, s:o}", "template", tn_chat_template_name(c->chat_template), "messages", messages);
    if (whole && json_array_size(messages) == c->n_messages) return whole;
    json_decref(whole);
    return NULL;
}

int tn_cli_conversation_save(const tn_cli_conversation *conversation, const char *path)
{
    tn_cli_output output = {0};
    if (strcmp(path, "-") == 0 || access(path, F_OK) == 0)
        return tn_cli_fail("/save NEWNAME", "%s exists already: choose another name", path);
    json_t *json = to_json(conversation);
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (!text) return tn_cli_out_of_memory();
    int rc = tn_cli_output_open(&output, path);
    if (rc == 0) rc = tn_cli_output_write(&output, text, strlen(text));
    if (rc == 0) rc = tn_cli_output_write(&output, "\n", 1);
    if (rc == 0) rc = tn_cli_output_commit(&output);
    tn_cli_output_discard(&output);
    free(text);
    return rc;
}

static int add_json(tn_cli_conversation *c, const json_t *message, const char *path, size_t index)
{
    const json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content");
    for (int r = TN_CHAT_SYSTEM; json_is_string(role) && json_is_string(content) && r <= TN_CHAT_ASSISTANT; r++) {
        if (strcmp(json_string_value(role), role_names[r]) != 0) continue;
        return tn_cli_conversation_add(c, (tn_chat_role)r, json_string_value(content), json_string_length(content));
    }
    return tn_cli_fail("/load FILE", "%s: message %zu has no role of system, user or assistant with a content of text", path, index);
}

int tn_cli_conversation_load(tn_cli_conversation *conversation, const char *path)
{
    json_error_t error;
    tn_cli_conversation loaded = {.chat_template = conversation->chat_template, .flags = conversation->flags};
    json_t *json = json_load_file(path, 0, &error);
    if (!json) return tn_cli_fail("/load FILE", "cannot read a conversation from %s: %s", path, error.text);
    const json_t *messages = json_object_get(json, "messages");
    int rc = json_is_array(messages) ? 0 : tn_cli_fail("/load FILE", "%s has no list of \"messages\"", path);
    for (size_t i = 0; rc == 0 && i < json_array_size(messages); i++) rc = add_json(&loaded, json_array_get(messages, i), path, i);
    size_t question = tn_cli_conversation_last_question(&loaded);
    if (rc == 0 && question + 1 == loaded.n_messages) tn_cli_conversation_cut(&loaded, question); // a question without its answer
    json_decref(json);
    if (rc == 0) {
        tn_cli_conversation_deinit(conversation);
        *conversation = loaded;
    } else {
        tn_cli_conversation_deinit(&loaded);
    }
    return rc;
}
