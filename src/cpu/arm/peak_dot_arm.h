// Products of bytes at peak by instructions that add into 4 words of 32 bits: types of tmpl/peak_dot.h. The includer defines PD_PRODUCTS,
// products of an instruction, and PD_DOT, the intrinsic.
#ifndef TN_CPU_ARM_PEAK_DOT_ARM_H
#define TN_CPU_ARM_PEAK_DOT_ARM_H

#include "cpu/arm/matmul_neon.h"

typedef int8x16_t pd_codes, pd_x;
typedef int32x4_t pd_acc, pd_wide;
#define PD_ROUNDS 64u
#define PD_REG    "+w"
TN_K_INLINE pd_codes pd_codes_set(uint8_t code) { return vdupq_n_s8((int8_t)code); }
TN_K_INLINE pd_x pd_x_set(int8_t q) { return vdupq_n_s8(q); }
TN_K_INLINE pd_acc pd_acc_zero(void) { return vdupq_n_s32(0); }
TN_K_INLINE pd_wide pd_wide_zero(void) { return vdupq_n_s32(0); }
TN_K_INLINE pd_acc pd_dot(pd_acc acc, pd_codes codes, pd_x x) { return PD_DOT(acc, codes, x); }
TN_K_INLINE pd_wide pd_widen(pd_wide wide, pd_acc acc) { return vaddq_s32(wide, acc); }
TN_K_INLINE uint32_t pd_total(pd_wide wide) { return (uint32_t)vaddvq_s32(wide); }
#include "cpu/tmpl/peak_dot.h"

#endif
