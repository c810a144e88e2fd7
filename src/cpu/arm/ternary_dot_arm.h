// The vocabulary of tmpl/matmul_ternary_dot.h by the dot product instruction of bytes (FEAT_DotProd): 4 tokens x 1 panel.
#ifndef TN_CPU_ARM_TERNARY_DOT_ARM_H
#define TN_CPU_ARM_TERNARY_DOT_ARM_H

#include "cpu/arm/matmul_neon.h"

#define TN_T_COLS   TN_T2_COLS
#define TN_T_ROWS   4u
#define TN_T_VECS   4u
#define TN_T_TOKENS 4u

typedef uint8x16_t tn_packed;
typedef uint8x16_t tn_codes;
typedef int32x4_t tn_sums;
typedef int8x16_t tn_x16;

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return vld1q_u8(p); }
// Shifts want constants.
TN_K_INLINE tn_codes tn_codes_of(tn_packed x, const unsigned i)
{
    const uint8x16_t low2 = vdupq_n_u8(3);
    switch (i) {
    case 0: return vandq_u8(x, low2);
    case 1: return vandq_u8(vshrq_n_u8(x, 2), low2);
    case 2: return vandq_u8(vshrq_n_u8(x, 4), low2);
    default: return vshrq_n_u8(x, 6);
    }
}
TN_K_INLINE tn_sums tn_sums_zero(void) { return vdupq_n_s32(0); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return vld1q_s8(x); }
// Codes are 0..2, so they are the same as signed bytes. The instruction holds the place of its four activations: it must be a constant.
TN_K_INLINE tn_sums tn_sums_dot(tn_sums acc, tn_codes codes, tn_x16 x, unsigned i)
{
    const int8x16_t signed_codes = vreinterpretq_s8_u8(codes);
    switch (i) {
    case 0: return vdotq_laneq_s32(acc, signed_codes, x, 0);
    case 1: return vdotq_laneq_s32(acc, signed_codes, x, 1);
    case 2: return vdotq_laneq_s32(acc, signed_codes, x, 2);
    default: return vdotq_laneq_s32(acc, signed_codes, x, 3);
    }
}
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish4(a, m, n, acc);
}

#define ternary_one_token(a, m, n, NV) ternary_tile(a, m, n, 1, NV)
#include "cpu/tmpl/matmul_ternary_dot.h"

#endif
