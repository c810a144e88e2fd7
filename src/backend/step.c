// Where a step's arrays lie in its block.
#include "backend/step.h"

#include "base/checked.h"

// Puts an array of n * width words behind what was placed before.
static bool place(uint64_t *end, uint32_t n, uint32_t width, uint32_t *out_at)
{
    uint64_t at = *end, words;
    if (!tn_ckd_mul(n, width, &words) || !tn_ckd_add(at, words, end) || !tn_ckd_round_up(*end, TN_STEP_ALIGN_WORDS, end)) return false;
    *out_at = (uint32_t)at; // as large as the end, which the caller looks at
    return true;
}

tn_status tn_step_layout_of(const tn_step_limits *limits, tn_step_layout *out_layout)
{
    const uint32_t header_words = sizeof(tn_step) / sizeof(uint32_t);
    tn_step_layout layout = {.n_seq_pages = limits->n_seq_pages};
    uint32_t header;
    uint64_t end = 0;
    const bool fits = place(&end, header_words, 1, &header) && place(&end, limits->n_seqs, 2, &layout.copies) &&
                      place(&end, limits->n_logits, 1, &layout.logit_rows) && place(&end, limits->n_logits, 1, &layout.n_top) &&
                      place(&end, limits->n_tokens, 1, &layout.tokens) && place(&end, limits->n_tokens, 1, &layout.positions) &&
                      place(&end, limits->n_tokens, 1, &layout.seqs) &&
                      place(&end, limits->n_seqs, limits->n_seq_pages, &layout.page_table);
    if (!fits || end > UINT32_MAX / sizeof(uint32_t))
        return tn_fail(
            TN_INVALID_ARGUMENT,
            "a step of %u tokens, %u rows of logits and %u sequences of %u pages would have 4 GiB or more: ask for fewer sequences, "
            "a shorter context or smaller steps",
            (unsigned)limits->n_tokens, (unsigned)limits->n_logits, (unsigned)limits->n_seqs, (unsigned)limits->n_seq_pages);
    layout.n_words = (uint32_t)end;
    *out_layout = layout;
    return TN_OK;
}
