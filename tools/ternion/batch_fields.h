// Values of a batch line's JSON, checked, and what is said where they are wrong.
#ifndef TERNION_TOOL_BATCH_FIELDS_H
#define TERNION_TOOL_BATCH_FIELDS_H

#include "batch_request.h"

// A field that may be absent.
typedef struct tn_cli_batch_int {
    bool given;
    int64_t value;
} tn_cli_batch_int;

typedef struct tn_cli_batch_real {
    bool given;
    float value;
} tn_cli_batch_real;

typedef struct tn_cli_batch_flag {
    bool given, value;
} tn_cli_batch_flag;

// The body of a line while it is read: fields as they are given, null as if absent. Borrows all.
typedef struct tn_cli_batch_body {
    tn_cli_batch_context *context;
    tn_cli_batch_request *request;
    tn_cli_batch_error *error;
    uint64_t number; // of the line
    json_t *prompt, *messages, *stop, *logit_bias;
    tn_cli_batch_int n, best_of, max_tokens, max_completion_tokens, top_k, repeat_last_n, seed, logprobs, top_logprobs;
    tn_cli_batch_real temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty, repeat_penalty;
    tn_cli_batch_flag wants_logprobs, echo, ignore_eos, enable_thinking;
} tn_cli_batch_body;

// Each returns false, so that a reader can end with it. `param`: the field, NULL: none.
bool tn_cli_batch_refuse(tn_cli_batch_error *error, const char *code, const char *param, const char *fmt, ...) TN_PRINTF(4, 5);
// "'PARAM' must be WANTED, not VALUE".
bool tn_cli_batch_wrong(tn_cli_batch_error *error, const char *param, const json_t *value, const char *wanted, ...) TN_PRINTF(4, 5);
// With the message of the library's last error.
bool tn_cli_batch_refuse_status(tn_cli_batch_error *error, tn_status status, const char *param);
bool tn_cli_batch_no_memory(tn_cli_batch_error *error);

// Whole numbers may be written as 5.0.
bool tn_cli_batch_read_int(tn_cli_batch_error *error, const char *param, const json_t *value, int64_t low, int64_t high, int64_t *out);
// `above`: the number `low` itself is out of range.
bool tn_cli_batch_read_real(tn_cli_batch_error *error, const char *param, const json_t *value, double low, bool above, double high,
                            float *out);
bool tn_cli_batch_read_flag(tn_cli_batch_error *error, const char *param, const json_t *value, bool *out);

// Warns of a name that is not known, once in a run. `where`: the API that does not have it, where another one has; NULL: none has.
void tn_cli_batch_note_unknown(tn_cli_batch_context *context, uint64_t number, const char *name, const char *where);

// The parts of a body, each in a file of its own: all parameters, then the prompts from the texts, tokens or messages.
bool tn_cli_batch_read_params(tn_cli_batch_body *body, json_t *object);
bool tn_cli_batch_apply_params(tn_cli_batch_body *body);
bool tn_cli_batch_read_prompts(tn_cli_batch_body *body);
bool tn_cli_batch_read_messages(tn_cli_batch_body *body);
// Makes room for n prompts.
bool tn_cli_batch_reserve_prompts(tn_cli_batch_body *body, size_t n);
// Takes the tokens of prompt `index`, which must fit into the context.
bool tn_cli_batch_take_prompt(tn_cli_batch_body *body, size_t index, int32_t *tokens, size_t n_tokens);

#endif
