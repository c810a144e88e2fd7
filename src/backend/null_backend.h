// A backend without hardware, for tests of what stands above backends: it accepts everything, records each call as a line of text, fails
// when told to, and answers steps with logits that only depend on token and position.
//
// It is in no list. A test finds its devices by handing the runtime a host whose log hook is tn_null_log(state): the log is the one thing
// that reaches every backend whichever way the host was made. Values carry token, position and hops from program to program, so that a
// row that the caller mixes up shows in the logits; results appear at the fence, not before.
#ifndef TN_BACKEND_NULL_BACKEND_H
#define TN_BACKEND_NULL_BACKEND_H

#include "backend/backend.h"

typedef enum tn_null_call {
    TN_NULL_ANY,
    TN_NULL_DEVICE_OPEN,
    TN_NULL_MEMORY,
    TN_NULL_BUFFER_CREATE,
    TN_NULL_BUFFER_WRITE,
    TN_NULL_BUFFER_READ,
    TN_NULL_BUFFER_MAP,
    TN_NULL_WEIGHT_LAYOUT,
    TN_NULL_WEIGHT_PACK,
    TN_NULL_OP_SUPPORTED,
    TN_NULL_PROGRAM_CHECK,
    TN_NULL_PROGRAM_CREATE,
    TN_NULL_SUBMIT,
    TN_NULL_FENCE_WAIT,
    TN_NULL_MEASURE,
    TN_NULL_CALL_COUNT_,
} tn_null_call;

// Zero-initialise; any thread may call the backend, one at a time sets fields.
typedef struct tn_null_state {
    uint32_t n_devices;    // "null0", "null1", ...
    uint64_t memory_bytes; // of a device, or of all that take the host's memory; 0: unknown
    // The fail_nth-th call (from 1) of kind fail_call fails with fail_status; 0: none does.
    tn_null_call fail_call;
    uint32_t fail_nth;
    tn_status fail_status;
    bool has_poison_token; // tokens that poison their sequence, at node index poison_node
    int32_t poison_token;
    uint32_t poison_node;
    uint32_t n_packings;   // candidates of packing_assume, layout_id 1 and up; the device itself chooses the last one
    uint32_t packing;      // assumed, 0: none
    tn_status op_status;   // what op_supported answers; TN_OK: everything is supported
    uint32_t n_tokens_max; // of steps; 0: any number

    struct tn_null_records *records; // owned; made at first use
} tn_null_state;

extern const tn_backend tn_null_backend_table;

// The log hook that makes the state known to the backend; messages are recorded too ("log 2 text").
tn_log tn_null_log(tn_null_state *state);
// Everything recorded so far, a line for each call, in order. Borrowed until the next call of the backend.
const char *tn_null_text(const tn_null_state *state);
// Forgets the records and starts counting calls anew; what is alive stays known.
void tn_null_clear(tn_null_state *state);
// Devices, buffers and programs that are still alive.
uint32_t tn_null_n_alive(const tn_null_state *state);
// Frees the records. Everything of the backend must be destroyed before.
void tn_null_deinit(tn_null_state *state);

// The logit that the last program gives token id `id` after `token` at `position`. `n_hops`: programs before the last one.
float tn_null_logit(int32_t token, uint32_t position, uint32_t n_hops, uint32_t id);

#endif
