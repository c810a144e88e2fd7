// What the files of chat templates share: the families as functions that write items to a sink.
#ifndef TN_MODEL_CHAT_TEMPLATE_H
#define TN_MODEL_CHAT_TEMPLATE_H

#include "base/str.h"
#include "ternion/chat.h"

// Where a family writes. Each function returns a status, which ends the rendering where it is not TN_OK.
typedef struct tn_chat_sink {
    void *user;
    tn_status (*bos)(void *user);
    tn_status (*token)(void *user, const char *text, bool required); // one token; not required: plain text where there is no such token
    tn_status (*text)(void *user, tn_str text);                      // joined with its neighbours, never parsed
    tn_status (*ids)(void *user, const int32_t *ids, size_t n);
} tn_chat_sink;

// A conversation on its way through a family.
typedef struct tn_chat {
    const tn_chat_message *messages;
    size_t n_messages;
    unsigned flags;
    const tn_chat_sink *sink;
} tn_chat;

struct tn_chat_template {
    const char *name, *summary;
    bool thinks;
    tn_status (*render)(const tn_chat *chat);
};

// Checks the arguments, then lets the family write.  Errors: INVALID_ARGUMENT, UNSUPPORTED, those of the sink.
tn_status tn_chat_write(const tn_chat_template *chat_template, const tn_chat *chat);

// The families; `detect` chooses among them.
extern const tn_chat_template tn_chat_bitnet, tn_chat_llama3, tn_chat_llama31, tn_chat_falcon3, tn_chat_chatml, tn_chat_chatml_bos,
    tn_chat_qwen2, tn_chat_qwen3;

// "bitnet, llama3, ...", for messages. Returns `out`.
char *tn_chat_template_names(char *out, size_t capacity);

#endif
