// How ternary_few*_mma is cut for a product: a pure function of its shape and the device.
#ifndef TN_CUDA_CUDA_FEW_H
#define TN_CUDA_CUDA_FEW_H

#include "cuda/cuda_device.h"

typedef struct tn_cuda_few_shape {
    uint32_t n_tokens; // of a step at most
    uint32_t n_groups; // of row tiles (tn_cuda_ternary_few_groups), of all matrices
    uint32_t n_blocks; // of columns
    uint32_t n_rows;   // of the output
    bool is_joined;    // rows of codes are made of the output, so that parts of the columns can meet there
} tn_cuda_few_shape;

typedef struct tn_cuda_few_plan {
    tn_cuda_kernel kernel;
    uint32_t log2_split, n_parts, n_ahead; // tn_cuda_ternary_params
    uint32_t shared_bytes;
    uint64_t partials_bytes; // of all parts' sums, where they are joined
} tn_cuda_few_plan;

// Whether the device has them for steps of so many tokens.
bool tn_cuda_has_few_mma(const tn_cuda_device *device, uint32_t n_tokens);
// Only where it has.
tn_cuda_few_plan tn_cuda_plan_few(const tn_cuda_device *device, const tn_cuda_few_shape *shape);

#endif
