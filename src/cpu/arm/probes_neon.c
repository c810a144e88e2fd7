// Probes of the machine's limits for NEON: reading memory, and products of bytes in 16-bit sums as the ternary kernel makes them.
#include "cpu/arm/matmul_neon.h"

typedef uint8x16_t rs_vec;
TN_K_INLINE rs_vec rs_zero(void) { return vdupq_n_u8(0); }
TN_K_INLINE rs_vec rs_load(const uint8_t *p) { return vld1q_u8(p); }
TN_K_INLINE rs_vec rs_xor(rs_vec a, rs_vec b) { return veorq_u8(a, b); }
TN_K_INLINE uint64_t rs_fold(rs_vec v)
{
    const uint64x2_t words = vreinterpretq_u64_u8(v);
    return vgetq_lane_u64(words, 0) ^ vgetq_lane_u64(words, 1);
}
#include "cpu/tmpl/read_stream.h"

uint64_t tn_k_read_stream__neon(const uint8_t *data, size_t n_bytes) { return rs_run(data, n_bytes); }

// A 16-bit lane gains at most 2 * 127 = 254 from each of the two products: 64 rounds reach 32512 < 2^15.
typedef int8x16_t pd_codes, pd_x;
typedef int16x8_t pd_acc;
typedef int32x4_t pd_wide;
#define PD_PRODUCTS 16u
#define PD_ROUNDS   64u
#define PD_REG      "+w"
TN_K_INLINE pd_codes pd_codes_set(uint8_t code) { return vdupq_n_s8((int8_t)code); }
TN_K_INLINE pd_x pd_x_set(int8_t q) { return vdupq_n_s8(q); }
TN_K_INLINE pd_acc pd_acc_zero(void) { return vdupq_n_s16(0); }
TN_K_INLINE pd_wide pd_wide_zero(void) { return vdupq_n_s32(0); }
TN_K_INLINE pd_acc pd_dot(pd_acc acc, pd_codes codes, pd_x x)
{
    return vmlal_high_s8(vmlal_s8(acc, vget_low_s8(codes), vget_low_s8(x)), codes, x);
}
TN_K_INLINE pd_wide pd_widen(pd_wide wide, pd_acc acc) { return vpadalq_s16(wide, acc); }
TN_K_INLINE uint32_t pd_total(pd_wide wide) { return (uint32_t)vaddvq_s32(wide); }
#include "cpu/tmpl/peak_dot.h"

uint64_t tn_k_peak_dot_i8_i8_12x8__neon(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    return pd_run(code, q, n_groups, out_sum);
}
