// Products with listed rows or columns for NEON with dot products: tmpl/sparse.h. The instruction takes signed bytes, so codes are shifted.
#include "cpu/arm/matmul_neon.h"

#define TN_S_BYTES 16u
#define TN_S_ROWS  2u

typedef uint8x16_t tn_bytes;
typedef int32x4_t tn_sums;

TN_K_INLINE tn_bytes tn_bytes_load(const uint8_t *p) { return vld1q_u8(p); }
TN_K_INLINE tn_bytes tn_bytes_four(const int8_t *p) { return vreinterpretq_u8_s8(tn_x4(p)); }
TN_K_INLINE tn_bytes tn_bytes_pairs_low(tn_bytes a, tn_bytes b) { return vzip1q_u8(a, b); }
TN_K_INLINE tn_bytes tn_bytes_pairs_high(tn_bytes a, tn_bytes b) { return vzip2q_u8(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_low(tn_bytes a, tn_bytes b)
{
    return vreinterpretq_u8_u16(vzip1q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
}
TN_K_INLINE tn_bytes tn_words_pairs_high(tn_bytes a, tn_bytes b)
{
    return vreinterpretq_u8_u16(vzip2q_u16(vreinterpretq_u16_u8(a), vreinterpretq_u16_u8(b)));
}
TN_K_INLINE tn_sums tn_sums_zero(void) { return vdupq_n_s32(0); }
TN_K_INLINE tn_sums tn_sums_load(const int32_t *p) { return vld1q_s32(p); }
TN_K_INLINE void tn_sums_store(int32_t *p, tn_sums sums) { vst1q_s32(p, sums); }
// Shifts want constants.
TN_K_INLINE tn_sums tn_sums_field(tn_sums acc, tn_bytes packed, tn_bytes x, const unsigned p)
{
    const uint8x16_t low2 = vdupq_n_u8(3);
    uint8x16_t codes;
    switch (p) {
    case 0: codes = vandq_u8(packed, low2); break;
    case 1: codes = vandq_u8(vshrq_n_u8(packed, 2), low2); break;
    case 2: codes = vandq_u8(vshrq_n_u8(packed, 4), low2); break;
    default: codes = vshrq_n_u8(packed, 6); break;
    }
    return vdotq_s32(acc, vreinterpretq_s8_u8(codes), vreinterpretq_s8_u8(x));
}
TN_K_INLINE tn_sums tn_sums_undo(tn_sums acc, const unsigned p)
{
    (void)p;
    return acc;
}
TN_K_INLINE tn_sums tn_sums_add(tn_sums a, tn_sums b) { return vaddq_s32(a, b); }
TN_K_INLINE int32_t tn_sums_total(tn_sums a) { return vaddvq_s32(a); }
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish4(a, m, n, acc);
}

#include "cpu/tmpl/sparse.h"

void tn_k_sparse_rows_r2_q8_1x2__dotprod(const tn_k_sparse_args *args) { sparse_rows(args); }
void tn_k_sparse_columns_c2_q8_1x256__dotprod(const tn_k_sparse_args *args) { sparse_columns(args); }
