// What cutting work into blocks counts with.
#ifndef TN_CUDA_CUDA_CUT_H
#define TN_CUDA_CUDA_CUT_H

#include <stdint.h>

static inline uint32_t tn_cuda_ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }
static inline uint32_t tn_cuda_at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

#endif
