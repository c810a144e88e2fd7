// The messages of a conversation, and how they become a prompt.
#ifndef TERNION_TOOL_CONVERSATION_H
#define TERNION_TOOL_CONVERSATION_H

#include "generate.h"

// Zero-initialise, then set `chat_template` and `flags`.
typedef struct tn_cli_conversation {
    const tn_chat_template *chat_template;
    unsigned flags;            // TN_CHAT_NO_THINKING or 0
    tn_chat_message *messages; // owns their texts and tokens; an answer as tokens has its text too, as it was shown
    size_t n_messages, capacity;
} tn_cli_conversation;

// Each returns 0 or the exit status after a message; texts and tokens are copied.
int tn_cli_conversation_add(tn_cli_conversation *conversation, tn_chat_role role, const char *text, size_t len);
// An answer is kept as its tokens where the template lets its next prompt contain them as they are: not where a stop text was cut off, or a
// thought will be.
int tn_cli_conversation_add_answer(tn_cli_conversation *conversation, const tn_cli_answer *answer);
// Sets, replaces or (without text) removes the system message, which is the first one.
int tn_cli_conversation_set_system(tn_cli_conversation *conversation, const char *text, size_t len);
// Forgets all messages but the first `n`.
void tn_cli_conversation_cut(tn_cli_conversation *conversation, size_t n);
// Moves the messages from `n` on to `rest`, which owns them then; and back behind those that are there.
int tn_cli_conversation_split(tn_cli_conversation *conversation, size_t n, tn_cli_conversation *rest);
void tn_cli_conversation_join(tn_cli_conversation *conversation, tn_cli_conversation *rest);
// Whether there is a system message.
bool tn_cli_conversation_has_system(const tn_cli_conversation *conversation);
// Index of the last user's message; n_messages where there is none.
size_t tn_cli_conversation_last_question(const tn_cli_conversation *conversation);
// The tokens that ask for the next answer.
int tn_cli_conversation_render(const tn_cli_conversation *conversation, const tn_tokenizer *tokenizer, int32_t **out_tokens, size_t *out_n);
void tn_cli_conversation_deinit(tn_cli_conversation *conversation);

// Writes the messages to a new file as JSON; reads them back in place of those that are there.
int tn_cli_conversation_save(const tn_cli_conversation *conversation, const char *path);
int tn_cli_conversation_load(tn_cli_conversation *conversation, const char *path);

#endif
