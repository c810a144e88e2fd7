// Results and errors as lines of OpenAI's batch output.
#ifndef TERNION_TOOL_BATCH_RESULT_H
#define TERNION_TOOL_BATCH_RESULT_H

#include "batch_request.h"

// What a line of results is about.
typedef struct tn_cli_batch_where {
    uint64_t line;                   // of the input, from 1
    uint64_t hash;                   // of its bytes
    const char *model, *fingerprint; // the loaded model's name; tn_cli_batch_fingerprint's
    int64_t created;                 // of the answer, seconds of Unix; 0: now
} tn_cli_batch_where;

// {"id": "batch_req_LINE_HASH", "custom_id", "response": {"status_code", "request_id", "body"}, "error": null} and a newline, to free; NULL
// without memory. results: [n_prompts], one for each prompt in order, of which tn_cli_batch_error_of_result says false.
char *tn_cli_batch_result_line(const tn_cli_batch_context *context, const tn_cli_batch_where *where, const tn_cli_batch_request *request,
                               const tn_result *const *results, size_t *out_len);
// The same for a line that failed: the error stands in "error" and as the body of "response". custom_id may be NULL.
char *tn_cli_batch_error_line(const tn_cli_batch_where *where, const json_t *custom_id, const tn_cli_batch_error *error, size_t *out_len);
// The error of a status of the batcher; message NULL: tn_error_last's.
void tn_cli_batch_error_of(tn_status status, const char *message, tn_cli_batch_error *out_error);
// Whether a result is no answer: it failed, or one of its samples did. The API has no word for a choice without an answer, so the line
// fails with the reason.
bool tn_cli_batch_error_of_result(const tn_result *result, tn_cli_batch_error *out_error);

#endif
