// Rows of logits, whole or of candidates. A row of candidates that becomes another is changed where it has some, not all over.
#include "runtime/logit_rows.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

tn_status tn_logit_rows_init(tn_logit_rows *rows, uint32_t n_rows, uint32_t n_vocab)
{
    uint64_t n;
    *rows = (tn_logit_rows){.n_rows = n_rows, .n_vocab = n_vocab};
    if (!tn_ckd_mul(n_rows, n_vocab, &n)) return tn_fail(TN_INVALID_ARGUMENT, "too many rows of logits");
    return tn_alloc(n, sizeof *rows->logits, &rows->logits);
}

tn_status tn_logit_rows_rank(tn_logit_rows *rows, uint32_t max)
{
    uint64_t n;
    if (max == 0) return TN_OK;
    if (!tn_ckd_mul(rows->n_rows, max, &n)) return tn_fail(TN_INVALID_ARGUMENT, "too many rows of logits");
    TN_TRY(tn_alloc(n, sizeof *rows->ids, &rows->ids));
    TN_TRY(tn_alloc_zero(rows->n_rows, sizeof *rows->n_ids, &rows->n_ids));
    rows->max = max;
    return TN_OK;
}

void tn_logit_rows_deinit(tn_logit_rows *rows)
{
    tn_free(rows->logits);
    tn_free(rows->ids);
    tn_free(rows->n_ids);
    *rows = (tn_logit_rows){0};
}

uint64_t tn_logit_rows_bytes(const tn_logit_rows *rows)
{
    const uint64_t of_candidates = rows->max ? (uint64_t)rows->max * sizeof *rows->ids + sizeof *rows->n_ids : 0;
    return (uint64_t)rows->n_rows * ((uint64_t)rows->n_vocab * sizeof *rows->logits + of_candidates);
}

float *tn_logit_rows_whole(tn_logit_rows *rows, uint32_t first, uint32_t n)
{
    if (rows->max) memset(rows->n_ids + first, 0, n * sizeof *rows->n_ids);
    return rows->logits + (size_t)first * rows->n_vocab;
}

tn_status tn_logit_rows_put(tn_logit_rows *rows, uint32_t row, uint32_t n, const uint32_t *ids, const float *logits)
{
    if (n > rows->max) return tn_fail(TN_INTERNAL, "the device ranked %u logits of a row, of at most %u", (unsigned)n, (unsigned)rows->max);
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] >= rows->n_vocab)
            return tn_fail(TN_INTERNAL, "the device ranked token %u, but the vocabulary has %u", (unsigned)ids[i], (unsigned)rows->n_vocab);
    }
    float *to = rows->logits + (size_t)row * rows->n_vocab;
    uint32_t *kept = rows->ids + (size_t)row * rows->max;
    if (rows->n_ids[row]) {
        for (uint32_t i = 0; i < rows->n_ids[row]; i++) to[kept[i]] = -INFINITY;
    } else {
        for (uint32_t id = 0; id < rows->n_vocab; id++) to[id] = -INFINITY;
    }
    for (uint32_t i = 0; i < n; i++) to[ids[i]] = logits[i];
    memcpy(kept, ids, n * sizeof *kept);
    rows->n_ids[row] = n;
    return TN_OK;
}
