// Where the time of a test goes, by op and by layer: what a session added up, summed over a test's runs.
#ifndef TERNION_TOOL_PROFILE_H
#define TERNION_TOOL_PROFILE_H

#include "json_out.h"
#include "ternion/session.h"

#include <stdio.h>

// Nodes of one op with weights of one name, in all layers.
typedef struct tn_cli_profile_op {
    char op[24], name[64], layout[24]; // name: of the weight without layer and ".weight"
    uint32_t n_nodes;
    uint64_t ns, weight_bytes; // of all steps; that one step reads
} tn_cli_profile_op;

// Zero-initialise. To use it for another test, deinitialise it.
typedef struct tn_cli_profile {
    tn_session_profile_totals totals; // sums
    tn_cli_profile_op *ops;           // owned, in the order of the graph
    size_t n_ops, ops_capacity;
    uint64_t *layer_ns; // owned, [n_layers]: the embedding, the layers, the head
    size_t n_layers;
    bool counted; // ops know their nodes
    bool failed;  // memory was missing
} tn_cli_profile;

// Adds what `session` added up since its profile was reset. `n_layers`: of the model. Returns 0 or the exit status after a message.
int tn_cli_profile_add(tn_cli_profile *profile, const tn_session *session, uint32_t n_layers);
void tn_cli_profile_deinit(tn_cli_profile *profile);

// A table for people; `n_tokens`: of all runs; `layers`: a line for each layer too.
void tn_cli_profile_print(const tn_cli_profile *profile, const char *test, double n_tokens, bool layers, FILE *out);
// {"n_steps", "step_ns", "n_barriers", "barrier_wait_ns", "n_gates", "n_gates_zero", "n_codes", "n_codes_zero", "ops": [...], "layer_ns":
// [...]}. NULL without memory.
json_t *tn_cli_profile_json(const tn_cli_profile *profile);

#endif
