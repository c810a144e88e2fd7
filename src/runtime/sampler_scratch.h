// Memory that samplers work in, shared by many of them.
#ifndef TN_RUNTIME_SAMPLER_SCRATCH_H
#define TN_RUNTIME_SAMPLER_SCRATCH_H

#include "ternion/sampler.h"

// One thread at a time.
typedef struct tn_sampler_scratch tn_sampler_scratch;

// Errors: OUT_OF_MEMORY.
tn_status tn_sampler_scratch_create(uint32_t n_vocab, tn_sampler_scratch **out_scratch);
void tn_sampler_scratch_destroy(tn_sampler_scratch *scratch);
// As tn_sampler_create, for samplers that work in `scratch`, of the same n_vocab and borrowed until they are destroyed. NULL: its own.
tn_status tn_sampler_create_with(const tn_sampler_params *params, uint32_t n_vocab, tn_sampler_scratch *scratch, tn_sampler **out_sampler);
// What tn_sampler_create refuses.   Threads: any.  Errors: INVALID_ARGUMENT.
tn_status tn_sampler_check(const tn_sampler_params *params, uint32_t n_vocab);

#endif
