// Products with listed rows or columns for SSE4.1: tmpl/sparse.h, codes in place as in sparse_avx2.c.
#include "cpu/x86/rows_sse41.h"

#define TN_S_BYTES 16u
#define TN_S_ROWS  2u

typedef __m128i tn_bytes, tn_sums;

TN_K_INLINE tn_bytes tn_bytes_load(const uint8_t *p) { return tn_load128(p); }
TN_K_INLINE tn_bytes tn_bytes_four(const int8_t *p) { return tn_x4_128(p); }
TN_K_INLINE tn_bytes tn_bytes_pairs_low(tn_bytes a, tn_bytes b) { return _mm_unpacklo_epi8(a, b); }
TN_K_INLINE tn_bytes tn_bytes_pairs_high(tn_bytes a, tn_bytes b) { return _mm_unpackhi_epi8(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_low(tn_bytes a, tn_bytes b) { return _mm_unpacklo_epi16(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_high(tn_bytes a, tn_bytes b) { return _mm_unpackhi_epi16(a, b); }
TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm_setzero_si128(); }
TN_K_INLINE tn_sums tn_sums_load(const int32_t *p) { return _mm_load_si128((const __m128i *)p); }
TN_K_INLINE void tn_sums_store(int32_t *p, tn_sums sums) { _mm_store_si128((__m128i *)p, sums); }
TN_K_INLINE tn_sums tn_sums_field(tn_sums acc, tn_bytes packed, tn_bytes x, const unsigned p)
{
    const __m128i codes = _mm_and_si128(packed, _mm_set1_epi8((char)(3u << 2 * p)));
    return _mm_add_epi32(acc, _mm_madd_epi16(_mm_maddubs_epi16(codes, x), _mm_set1_epi16(1)));
}
TN_K_INLINE tn_sums tn_sums_undo(tn_sums acc, const unsigned p) { return _mm_srai_epi32(acc, (int)(2 * p)); }
TN_K_INLINE tn_sums tn_sums_add(tn_sums a, tn_sums b) { return _mm_add_epi32(a, b); }
TN_K_INLINE int32_t tn_sums_total(tn_sums a)
{
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish128(a, m, n, acc);
}

#include "cpu/tmpl/sparse.h"

void tn_k_sparse_rows_r2_q8_1x2__sse41(const tn_k_sparse_args *args) { sparse_rows(args); }
void tn_k_sparse_columns_c2_q8_1x256__sse41(const tn_k_sparse_args *args) { sparse_columns(args); }
