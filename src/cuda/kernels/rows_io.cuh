// Where rows of values lie, whose rows they are, and what is done with stored values that are poison.
#ifndef TN_CUDA_ROWS_IO_CUH
#define TN_CUDA_ROWS_IO_CUH

#include "cuda/kernels/gpu.cuh"

// A number is an address in global memory, which the compiler must be told, or all rows are reached by instructions for any memory.
#ifdef __CUDACC__
TN_FN float *tn_global_floats(uint64_t address) { return static_cast<float *>(__cvta_global_to_generic(address)); }
#else
TN_FN float *tn_global_floats(uint64_t address) { return reinterpret_cast<float *>((uintptr_t)address); }
#endif

// The submit's input (which = 0) or output (2): its address lies in the step.
TN_FN float *tn_submit_rows(const tn_cuda_step &step, uint32_t which)
{
    const uint32_t *address = step.words + step.addresses + which;
    return tn_global_floats((uint64_t)address[0] | (uint64_t)address[1] << 32);
}
TN_FN const float *tn_x_row(const tn_cuda_step &step, const tn_cuda_rows &x, uint32_t row)
{
    return (x.at ? x.at : tn_submit_rows(step, 0)) + (size_t)row * x.stride;
}
TN_FN float *tn_y_row(const tn_cuda_step &step, const tn_cuda_rows &y, uint32_t row)
{
    return (y.at ? y.at : tn_submit_rows(step, 2)) + (size_t)row * y.stride;
}

// Rows that the step has.
TN_FN uint32_t tn_n_rows(const tn_cuda_step &step, uint32_t is_logits) { return step.words[is_logits ? 1 : 0]; }
TN_FN uint32_t tn_row_token(const tn_cuda_step &step, uint32_t is_logits, uint32_t row)
{
    return is_logits ? step.words[step.logit_rows + row] : row;
}

// To be called with every value that `node` stores in a row. The token is looked up only where there is poison.
TN_FN void tn_mark_poison(const tn_cuda_step &step, const tn_cuda_poison &poison, uint32_t row, uint32_t node, float stored)
{
    if (tn_abs_bits(stored) >= TN_ABS_BITS_2P56) tn_atomic_min(poison.of_tokens + tn_row_token(step, poison.is_logits, row), node);
}

#endif
