// Probes of the machine's limits for SSE4.1: reading memory, and products of bytes in 16-bit sums as the ternary kernel makes them.
#include "cpu/x86/rows_sse41.h"

typedef __m128i rs_vec;
TN_K_INLINE rs_vec rs_zero(void) { return _mm_setzero_si128(); }
TN_K_INLINE rs_vec rs_load(const uint8_t *p) { return tn_load128(p); }
TN_K_INLINE rs_vec rs_xor(rs_vec a, rs_vec b) { return _mm_xor_si128(a, b); }
TN_K_INLINE uint64_t rs_fold(rs_vec v) { return (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(v, _mm_unpackhi_epi64(v, v))); }
#include "cpu/tmpl/read_stream.h"

uint64_t tn_k_read_stream__sse41(const uint8_t *data, size_t n_bytes) { return rs_run(data, n_bytes); }

// A 16-bit lane gains at most 2 codes * 2 * 127 = 508: 64 rounds reach 32512 < 2^15.
typedef __m128i pd_codes, pd_x, pd_acc, pd_wide;
#define PD_PRODUCTS 16u
#define PD_ROUNDS   64u
#define PD_REG      "+x"
TN_K_INLINE pd_codes pd_codes_set(uint8_t code) { return _mm_set1_epi8((char)code); }
TN_K_INLINE pd_x pd_x_set(int8_t q) { return _mm_set1_epi8(q); }
TN_K_INLINE pd_acc pd_acc_zero(void) { return _mm_setzero_si128(); }
TN_K_INLINE pd_wide pd_wide_zero(void) { return _mm_setzero_si128(); }
TN_K_INLINE pd_acc pd_dot(pd_acc acc, pd_codes codes, pd_x x) { return _mm_add_epi16(acc, _mm_maddubs_epi16(codes, x)); }
TN_K_INLINE pd_wide pd_widen(pd_wide wide, pd_acc acc) { return _mm_add_epi32(wide, _mm_madd_epi16(acc, _mm_set1_epi16(1))); }
TN_K_INLINE uint32_t pd_total(pd_wide wide)
{
    const __m128i sum = _mm_add_epi32(wide, _mm_shuffle_epi32(wide, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}
#include "cpu/tmpl/peak_dot.h"

uint64_t tn_k_peak_dot_u8_i8_12x8__sse41(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    return pd_run(code, q, n_groups, out_sum);
}
