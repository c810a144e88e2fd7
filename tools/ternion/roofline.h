// What a test of ternion bench has to read and to multiply, and how that compares with the machine's limits. Arithmetic only.
#ifndef TERNION_TOOL_ROOFLINE_H
#define TERNION_TOOL_ROOFLINE_H

#include "ternion/device.h"
#include "ternion/session.h"

// One test: `n_pl` sequences decoded together, each a prompt and a reply behind `n_depth` positions.
typedef struct tn_cli_bench_test {
    uint32_t n_prompt, n_gen, n_depth, n_pl;
    uint32_t n_batch, n_ubatch, n_threads;
} tn_cli_bench_test;

// Counted dense: weights once a step, whatever a session skips; keys and values once a step for each sequence, up to its last position.
typedef struct tn_cli_work {
    double n_tokens;
    double read_bytes;
    double int8_ops; // products and additions of ternary weights and of a quantised head; attention's int16 products are not among them
} tn_cli_work;
tn_cli_work tn_cli_work_of(const tn_session_costs *costs, const tn_cli_bench_test *test);

// Shares of limits that a run of `ns` reached; each is negative where its limit is unknown (0).
typedef struct tn_cli_shares {
    double memory, int8;
    double roofline; // of the speed that the lower of the two limits allows
} tn_cli_shares;
tn_cli_shares tn_cli_shares_of(const tn_cli_work *work, double ns, double memory_bytes_per_s, double int8_ops_per_s);

// The best figure of a kind with at most that many threads, of int8 products by the best level: who has more threads may leave some idle. 0
// where that many were not measured.
double tn_cli_best_limit(const tn_device_limit *list, size_t n, tn_limit_kind kind, uint32_t n_threads);

#endif
