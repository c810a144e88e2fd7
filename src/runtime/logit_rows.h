// Rows of logits of a decode, in host memory: whole, or with those candidates alone that the device ranked. In such a row all others are
// -INFINITY, as tn_batch.n_top allows, so that who wants no more than the best sees no difference.
#ifndef TN_RUNTIME_LOGIT_ROWS_H
#define TN_RUNTIME_LOGIT_ROWS_H

#include "base/status.h"

typedef struct tn_logit_rows {
    float *logits; // [n_rows][n_vocab], owned
    uint32_t n_rows, n_vocab;
    uint32_t max;    // candidates of a row at most; 0: all rows are whole, and there are no arrays of candidates
    uint32_t *ids;   // [n_rows][max] candidates, best first; owned
    uint32_t *n_ids; // [n_rows], 0: the row is whole; owned
} tn_logit_rows;

// Errors: INVALID_ARGUMENT (larger than any memory), OUT_OF_MEMORY. What it made, failed or not, is given to deinit.
tn_status tn_logit_rows_init(tn_logit_rows *rows, uint32_t n_rows, uint32_t n_vocab);
// Room for rows of up to `max` candidates; once.  Errors: the same.
tn_status tn_logit_rows_rank(tn_logit_rows *rows, uint32_t max);
void tn_logit_rows_deinit(tn_logit_rows *rows);
uint64_t tn_logit_rows_bytes(const tn_logit_rows *rows);

// Where n whole rows go that the caller is about to write.
float *tn_logit_rows_whole(tn_logit_rows *rows, uint32_t first, uint32_t n);
// Makes a row of n candidates, at least one.  Errors: INTERNAL (more than `max`, or ids that are not in the vocabulary: the device is at
// fault).
tn_status tn_logit_rows_put(tn_logit_rows *rows, uint32_t row, uint32_t n, const uint32_t *ids, const float *logits);

#endif
