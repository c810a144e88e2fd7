// What every backend checks of a step before its kernels trust it.
#ifndef TN_BACKEND_STEP_CHECK_H
#define TN_BACKEND_STEP_CHECK_H

#include "backend/step.h"

typedef struct tn_step_checker {
    tn_step_limits limits;
    bool reads_tokens, reads_kv; // what the program does with the step
    uint32_t n_vocab;            // bound of tokens, where they are read
    uint32_t n_positions;        // bound of positions
    uint32_t n_positions_max;    // after a check: 1 + the largest position of the step
    uint32_t *seq_next;          // owned, [limits.n_seqs]
    uint8_t *page_uses;          // owned, [limits.n_kv_pages]; 0 between two checks
} tn_step_checker;

// Zeroed storage or what this made may be given to deinit.  Errors: OUT_OF_MEMORY.
tn_status tn_step_checker_init(tn_step_checker *checker, const tn_step_limits *limits);
void tn_step_checker_deinit(tn_step_checker *checker);
// Errors: INVALID_ARGUMENT, with what is wrong and where.
tn_status tn_step_check(tn_step_checker *checker, const tn_step_view *step);

#endif
