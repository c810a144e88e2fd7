// Conversations to tokens, in the form that a model was trained on.
#ifndef TERNION_CHAT_H
#define TERNION_CHAT_H

#include "ternion/model.h"

#ifdef __cplusplus
extern "C" {
#endif

// A family of chat templates, built in: no template language is run. Static; any thread.
typedef struct tn_chat_template tn_chat_template;

typedef enum tn_chat_role { TN_CHAT_SYSTEM = 1, TN_CHAT_USER = 2, TN_CHAT_ASSISTANT = 3 } tn_chat_role;

// One message: a text of any bytes or, of an assistant, the tokens that the model wrote.
typedef struct tn_chat_message {
    tn_chat_role role;
    const char *text;
    size_t text_len;
    const int32_t *tokens; // not NULL: the answer as generated, without the token that ended it; `text` is not used
    size_t n_tokens;
} tn_chat_message;

enum {
    TN_CHAT_ADD_GENERATION_PROMPT = 1, // end where the assistant's next answer begins
    TN_CHAT_NO_THINKING = 2,           // answers begin behind an empty thought; only where tn_chat_template_thinks
};

// The families in a fixed order: "bitnet", "llama3", ...
TN_API size_t tn_chat_template_count(void);
TN_API const tn_chat_template *tn_chat_template_at(size_t index); // NULL behind the last one
TN_API const char *tn_chat_template_name(const tn_chat_template *chat_template);
TN_API const char *tn_chat_template_summary(const tn_chat_template *chat_template); // one line
TN_API bool tn_chat_template_thinks(const tn_chat_template *chat_template);         // whether TN_CHAT_NO_THINKING means something
// Errors: NOT_FOUND (the message lists the names).
TN_NODISCARD TN_API tn_status tn_chat_template_find(const char *name, const tn_chat_template **out_template);
// The family of a template in the Jinja language, by what it writes. One that has a family's tokens but would write something else is
// not taken for it: UNSUPPORTED, with the beginning of the text.
TN_NODISCARD TN_API tn_status tn_chat_template_match(const char *jinja, size_t jinja_len, const tn_chat_template **out_template);
// The family of the model file's own template (tokenizer.chat_template, else tokenizer.chat_template.default).
// Errors: NOT_FOUND (the file has none: a base model), UNSUPPORTED (unknown; the message shows its beginning), BAD_FILE.
TN_NODISCARD TN_API tn_status tn_chat_template_detect(const tn_model *model, const tn_chat_template **out_template);

// The tokens of a conversation. Writes at most `capacity` ids and always the full count, so that a call with capacity 0 asks for the size.
// Texts of messages are never looked at for special tokens, neither control nor user-defined ones; only what the family itself
// writes becomes such tokens. BOS comes as the family has it, whatever the model says of other texts.
// The tokens of n messages with TN_CHAT_ADD_GENERATION_PROMPT, followed by those of the model's answer, are the beginning of the tokens of
// those messages, that answer (given as tokens) and whatever comes next with the same flags: a session goes on without computing
// anything again. An answer ends at a token of tn_tokenizer_is_eog, or anywhere: its turn is closed as the family does.
// Errors: UNSUPPORTED (a token of the family is not in the vocabulary, named), INVALID_ARGUMENT, OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_chat_render(const tn_chat_template *chat_template, const tn_tokenizer *tokenizer,
                                             const tn_chat_message *messages, size_t n_messages, unsigned flags, int32_t *tokens,
                                             size_t capacity, size_t *out_n);

#ifdef __cplusplus
}
#endif
#endif
