// The memory of samplers at work.
#include "runtime/sampler_scratch.h"

#include "base/alloc.h"

tn_status tn_sampler_scratch_create(tn_sampler_scratch **out_scratch) { return tn_alloc_zero(1, sizeof **out_scratch, out_scratch); }

static void free_arrays(tn_sampler_scratch *s)
{
    tn_free(s->spare);
    tn_free(s->candidates);
    tn_free(s->weights);
    tn_free(s->row);
    tn_free(s->ids);
    tn_free(s->column_max);
}

void tn_sampler_scratch_destroy(tn_sampler_scratch *scratch)
{
    if (scratch == NULL) return;
    free_arrays(scratch);
    tn_free(scratch);
}

tn_status tn_sampler_scratch_reserve(tn_sampler_scratch *scratch, uint32_t n_vocab)
{
    if (n_vocab <= scratch->n_vocab_max) return TN_OK;
    tn_status status;
    tn_sampler_scratch s = {.n_vocab_max = n_vocab};
    TN_TRY_GOTO(tn_alloc(tn_sampler_n_columns(n_vocab), sizeof *s.column_max, &s.column_max));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *s.ids, &s.ids));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *s.row, &s.row));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *s.weights, &s.weights));
    TN_TRY_GOTO(tn_alloc(n_vocab, sizeof *s.candidates, &s.candidates));
    TN_TRY_GOTO(tn_alloc(2 * (size_t)n_vocab, sizeof *s.spare, &s.spare));
    free_arrays(scratch);
    *scratch = s;
    return TN_OK;

fail:
    free_arrays(&s);
    return status;
}
