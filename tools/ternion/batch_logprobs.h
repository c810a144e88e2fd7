// Parts of result lines: values of JSON that are never left out unseen, and the log-probabilities of tokens.
#ifndef TERNION_TOOL_BATCH_LOGPROBS_H
#define TERNION_TOOL_BATCH_LOGPROBS_H

#include "batch_request.h"

// What the values of a line are made from, and whether memory was missing for one. Borrows both.
typedef struct tn_cli_batch_json {
    const tn_tokenizer *tokenizer;
    const tn_cli_batch_request *request;
    bool failed;
} tn_cli_batch_json;

json_t *tn_cli_batch_object(tn_cli_batch_json *j);
json_t *tn_cli_batch_array(tn_cli_batch_json *j);
// Take `value`, NULL where there was no memory for it.
void tn_cli_batch_put(tn_cli_batch_json *j, json_t *object, const char *key, json_t *value);
void tn_cli_batch_push(tn_cli_batch_json *j, json_t *array, json_t *value);

// A prompt as text, before the answers to it. Zero-initialise.
typedef struct tn_cli_batch_echo {
    char *text; // any bytes
    size_t len;
    size_t *ends; // [n_tokens] where each token's bytes end in it; NULL where nobody asks for log-probabilities
} tn_cli_batch_echo;

void tn_cli_batch_echo_make(tn_cli_batch_json *j, const int32_t *tokens, size_t n_tokens, tn_cli_batch_echo *echo);
void tn_cli_batch_echo_deinit(tn_cli_batch_echo *echo);

// {"tokens", "token_logprobs", "top_logprobs", "text_offset"}: of the prompt too where the request echoes it. Offsets count characters of
// the choice's text; a token that ends no character begins where that character does.
json_t *tn_cli_batch_completion_logprobs(tn_cli_batch_json *j, const tn_result *result, const tn_cli_batch_echo *echo,
                                         const tn_sample *sample);
// {"content": [{"token", "logprob", "bytes", "top_logprobs"}], "refusal"}.
json_t *tn_cli_batch_chat_logprobs(tn_cli_batch_json *j, const tn_result *result, const tn_sample *sample);

#endif
