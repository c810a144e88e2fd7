// What all matmul kernels share: forced inlining and unrolling, unaligned loads, raising a token's largest absolute bits.
#ifndef TN_CPU_TMPL_MATMUL_COMMON_H
#define TN_CPU_TMPL_MATMUL_COMMON_H

#include "base/exact_math.h"
#include "cpu/kernel.h"

#include <string.h>

// A tile's body is inlined with constant sizes, so that its accumulators live in registers.
#define TN_K_INLINE static inline __attribute__((always_inline))
// Unrolls a loop of constant trip count completely: -O2 alone keeps arrays of vectors in memory.
#if defined(__clang__)
#define TN_K_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_K_UNROLL _Pragma("GCC unroll 32")
#endif

// Four activations as one 32-bit lane.
TN_K_INLINE int32_t tn_k_load_i32(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
TN_K_INLINE void tn_k_raise(uint32_t *absmax, uint32_t bits)
{
    if (bits > *absmax) *absmax = bits;
}
// Asks for the lines of n bytes (a constant) `ahead` of p; they need not exist.
TN_K_INLINE void tn_k_prefetch(const uint8_t *p, size_t ahead, const unsigned n)
{
    TN_K_UNROLL
    for (unsigned i = 0; i < n; i += 64) __builtin_prefetch((const void *)((uintptr_t)p + ahead + i));
}
// One result: FL'd, stored, counted.
TN_K_INLINE void tn_k_store(float *y, float z, uint32_t *absmax)
{
    z = tn_fl(z);
    *y = z;
    tn_k_raise(absmax, tn_abs_bits(z));
}

#endif
