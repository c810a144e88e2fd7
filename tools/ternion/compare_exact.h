// Where the bits of two subjects part: the first token, layer and op whose stored rows differ. The library's sessions are all that it
// needs.
//
// "First" is the smallest position, and there the first op in the order of the graph. A token sees those before it and no other, so at the
// smallest position all that the op has read was equal, whatever order a step computes its rows in.
//
// Both subjects run through the chunk, one after the other, and of each row that an op stores 8 bytes are kept, its hash; then both run
// again, and the one row that counts is kept. What does not have the same bits the second time is a subject that differs from itself.
#ifndef TERNION_TOOL_COMPARE_EXACT_H
#define TERNION_TOOL_COMPARE_EXACT_H

#include "ternion/session.h"

// One of the two.
typedef struct tn_cli_exact_side {
    const char *name; // for the sentence: "vulkan0"
    // Makes a session with this trace (its `row` may be NULL) and no_recovery, whose sequence 0 is empty; up to four times, the last one
    // closed before.
    tn_status (*open)(void *user, tn_trace trace, tn_session **out_session);
    void (*close)(void *user, tn_session *session); // NULL: tn_session_destroy
    void *user;
} tn_cli_exact_side;

// All of it is borrowed during the call.
typedef struct tn_cli_exact_request {
    tn_cli_exact_side sides[2]; // the reference, and who is compared with it
    const int32_t *tokens;      // [n_tokens] from the beginning of a sequence
    uint32_t n_tokens;          // some hundreds: memory is n_tokens times the ops of the model times 9 bytes, three times over
    uint64_t first_token;       // index of tokens[0] in the text
    // Tokens a decode call, best as they were where rows of logits differed, since kernels go by it; 0: all at once. At most the sessions'
    // n_logits_max.
    uint32_t n_feed;
    tn_progress progress;
} tn_cli_exact_request;

typedef enum tn_cli_exact_kind {
    TN_CLI_EXACT_SAME,     // no row differs, traced or not
    TN_CLI_EXACT_PARTED,   // a row of an op differs
    TN_CLI_EXACT_UNTRACED, // a row of logits differs, but none of any op where they are traced: devices then fuse fewer of them
    TN_CLI_EXACT_UNSTABLE, // a subject differs from itself
    TN_CLI_EXACT_FAILED,   // a subject could not be run through the chunk
} tn_cli_exact_kind;

#define TN_CLI_EXACT_OP 32

typedef struct tn_cli_exact_result {
    tn_cli_exact_kind kind;
    // The place, where there is one: PARTED, UNTRACED, UNSTABLE.
    uint64_t token;           // index in the text
    uint32_t position;        // in the chunk
    int32_t layer;            // -1: the embedding or the head
    char op[TN_CLI_EXACT_OP]; // as in traces, without the layer: "q"; of UNTRACED "logits"
    // PARTED and UNTRACED: the first value of the row that differs, of the reference and of the other.
    uint32_t element;
    float values[2];
    // UNSTABLE and FAILED: which of the two.
    uint32_t side;
    // FAILED; CANCELLED where progress wanted it.
    tn_status status;
    char reason[1024]; // one line
} tn_cli_exact_result;

void tn_cli_exact_find(const tn_cli_exact_request *request, tn_cli_exact_result *out_result);

// The result in one line without a newline, cut to the capacity.
void tn_cli_exact_sentence(const tn_cli_exact_request *request, const tn_cli_exact_result *result, char *text, size_t capacity);

#define TN_CLI_EXACT_VALUE 32
// A value as it is: "0x1.8p+3", "-inf", "nan (0x7fc00001)".
void tn_cli_exact_value(float value, char text[TN_CLI_EXACT_VALUE]);

#endif
