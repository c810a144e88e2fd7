// Ternary matmul over T2_16 for SSE4.1: tmpl/matmul_ternary_pairs.h, 2 tokens x 1 panel.
#include "cpu/x86/rows_sse41.h"

#define TN_T_ROWS   4u
#define TN_T_VECS   4u
#define TN_T_TOKENS 2u

typedef __m128i tn_packed, tn_pairs, tn_sums;
typedef __m128i tn_x16;

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return tn_load128(p); }
TN_K_INLINE tn_packed tn_codes_of(tn_packed x, const unsigned i)
{
    return _mm_and_si128(_mm_srli_epi16(x, (int)(2 * i)), _mm_set1_epi8(3));
}
TN_K_INLINE tn_packed tn_fields(tn_packed x, const unsigned mask) { return _mm_and_si128(x, _mm_set1_epi8((char)mask)); }
TN_K_INLINE tn_packed tn_upper(tn_packed x) { return _mm_srli_epi16(x, 4); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return _mm_loadu_si128((const __m128i *)(const void *)x); }
// Activations 4i .. 4i+3 in every 32-bit lane. Shuffles want constants.
TN_K_INLINE __m128i tn_x4_of(tn_x16 x, const unsigned i)
{
    switch (i) {
    case 0: return _mm_shuffle_epi32(x, 0x00);
    case 1: return _mm_shuffle_epi32(x, 0x55);
    case 2: return _mm_shuffle_epi32(x, 0xaa);
    default: return _mm_shuffle_epi32(x, 0xff);
    }
}
TN_K_INLINE tn_pairs tn_pairs_zero(void) { return _mm_setzero_si128(); }
TN_K_INLINE tn_pairs tn_pairs_add(tn_pairs pairs, tn_packed codes, tn_x16 x, const unsigned i)
{
    return tn_pin128(_mm_add_epi16(pairs, _mm_maddubs_epi16(codes, tn_x4_of(x, i))));
}
TN_K_INLINE tn_sums tn_pairs_widen(tn_sums acc, tn_pairs pairs, const short times)
{
    return _mm_add_epi32(acc, _mm_madd_epi16(pairs, _mm_set1_epi16(times)));
}
TN_K_INLINE tn_sums tn_sums_quarter(tn_sums acc) { return _mm_srai_epi32(acc, 2); }
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish128(a, m, n, acc);
}

#include "cpu/tmpl/matmul_ternary_pairs.h"

void tn_k_matmul_t2_q8_2x16__sse41(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
