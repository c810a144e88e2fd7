// Four rows of a panel as lanes, a panel as four vectors: the vocabulary of tmpl/matmul_q8_0.h for all levels of AArch64. TN_Q8_TOKENS is
// each level's own.
#ifndef TN_CPU_ARM_ROWS_NEON_H
#define TN_CPU_ARM_ROWS_NEON_H

#include "cpu/arm/matmul_neon.h"

enum { TN_Q8_ROWS = 4, TN_Q8_VECS = 4 };

typedef float32x4_t tn_rows_f;
typedef int32x4_t tn_rows_i;

TN_K_INLINE tn_rows_f tn_rows_zero(void) { return vdupq_n_f32(0.0f); }
TN_K_INLINE tn_rows_f tn_rows_set1(float x) { return vdupq_n_f32(x); }
TN_K_INLINE tn_rows_f tn_rows_load(const float *p) { return vld1q_f32(p); }
TN_K_INLINE tn_rows_f tn_rows_add(tn_rows_f x, tn_rows_f y) { return vaddq_f32(x, y); }
TN_K_INLINE tn_rows_f tn_rows_mul(tn_rows_f x, tn_rows_f y) { return vmulq_f32(x, y); }
TN_K_INLINE tn_rows_f tn_rows_to_f32(tn_rows_i x) { return vcvtq_f32_s32(x); }
TN_K_INLINE tn_rows_f tn_rows_fl(tn_rows_f x) { return tn_fl4(x); }
TN_K_INLINE void tn_rows_store(float *y, uint32_t n, tn_rows_f x, uint32_t *absmax) { tn_store4(y, n, x, absmax); }

// Codes of rows 4v .. 4v+3, columns 4j .. 4j+3, signed. In Q8_16 they are stored plus 128; in Q4_16 (TN_Q8_TILE_BLOCK is defined) plus 8,
// columns 16 on in the high halves of bytes.
TN_K_INLINE int8x16_t q8_codes(const uint8_t *codes, unsigned j, unsigned v)
{
#ifdef TN_Q8_TILE_BLOCK
    const uint8x16_t both = vld1q_u8(codes + 64 * (j % 4) + 16 * v);
    return vsubq_s8(vreinterpretq_s8_u8(j < 4 ? vandq_u8(both, vdupq_n_u8(15)) : vshrq_n_u8(both, 4)), vdupq_n_s8(8));
#else
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + 64 * j + 16 * v), vdupq_n_u8(0x80)));
#endif
}

#endif
