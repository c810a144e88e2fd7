// A chat: the conversation, the session that holds its beginning, and the parts that read, answer and obey.
#ifndef TERNION_TOOL_CHAT_H
#define TERNION_TOOL_CHAT_H

#include "conversation.h"
#include "line_edit.h"
#include "sampling.h"

// Zero-initialise.
typedef struct tn_cli_chat {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_conversation conversation;
    tn_cli_sampling sampling;
    tn_cli_line_edit *editor; // NULL where nobody types
    int32_t *held;            // [n_ctx] tokens that the session has computed
    size_t n_held;
    tn_cli_prompt prompt; // of the last answer
    tn_cli_answer answer;
    size_t n_known;    // tokens of that prompt that the session had already
    bool leaves;       // a command ends the program
    unsigned n_breaks; // Ctrl-C at the prompt, one after the other
} tn_cli_chat;

// Answers the conversation, which ends with a user's message. *out_answered: the answer is part of it now; else it is as it was. Returns 0
// (Ctrl-C too: see `answer`) or the exit status after a message.
int tn_cli_chat_answer(tn_cli_chat *chat, bool *out_answered);
// The same for a message that was just added: where there is no answer, it is taken back.
int tn_cli_chat_ask(tn_cli_chat *chat);
// Takes out of the session what is no longer part of the conversation. Returns 0 or the exit status after a message.
int tn_cli_chat_shorten(tn_cli_chat *chat);
// Context in use, and whether that is most of it.
size_t tn_cli_chat_used(const tn_cli_chat *chat);
bool tn_cli_chat_is_filling(const tn_cli_chat *chat);

// Reads a message of one or more lines, or a command, which is one line that begins with a slash (two: a message that begins with one).
// The caller frees `*out_text`.
tn_cli_line_result tn_cli_chat_read(tn_cli_chat *chat, char **out_text, bool *out_command);

// Obeys "/command ...". What goes wrong is said and forgotten.
void tn_cli_chat_command(tn_cli_chat *chat, const char *text);

#endif
