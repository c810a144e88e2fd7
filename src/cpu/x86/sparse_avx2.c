// Products with listed rows or columns for AVX2: tmpl/sparse.h, codes in place. A pair of the highest field's products is at most
// 2*127*128 = 32512, so 16 bits hold it.
#include "cpu/x86/matmul_avx2.h"

#define TN_S_BYTES 32u
#define TN_S_ROWS  2u

typedef __m256i tn_bytes, tn_sums;

TN_K_INLINE tn_bytes tn_bytes_load(const uint8_t *p) { return tn_load256(p); }
TN_K_INLINE tn_bytes tn_bytes_four(const int8_t *p) { return tn_x4_256(p); }
TN_K_INLINE tn_bytes tn_bytes_pairs_low(tn_bytes a, tn_bytes b) { return _mm256_unpacklo_epi8(a, b); }
TN_K_INLINE tn_bytes tn_bytes_pairs_high(tn_bytes a, tn_bytes b) { return _mm256_unpackhi_epi8(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_low(tn_bytes a, tn_bytes b) { return _mm256_unpacklo_epi16(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_high(tn_bytes a, tn_bytes b) { return _mm256_unpackhi_epi16(a, b); }
TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm256_setzero_si256(); }
TN_K_INLINE tn_sums tn_sums_load(const int32_t *p) { return _mm256_load_si256((const __m256i *)p); }
TN_K_INLINE void tn_sums_store(int32_t *p, tn_sums sums) { _mm256_store_si256((__m256i *)p, sums); }
TN_K_INLINE tn_sums tn_sums_field(tn_sums acc, tn_bytes packed, tn_bytes x, const unsigned p)
{
    const __m256i codes = _mm256_and_si256(packed, _mm256_set1_epi8((char)(3u << 2 * p)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), _mm256_set1_epi16(1)));
}
TN_K_INLINE tn_sums tn_sums_undo(tn_sums acc, const unsigned p) { return _mm256_srai_epi32(acc, (int)(2 * p)); }
TN_K_INLINE tn_sums tn_sums_add(tn_sums a, tn_sums b) { return _mm256_add_epi32(a, b); }
TN_K_INLINE int32_t tn_sums_total(tn_sums a)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish256(a, m, n, acc);
}

#include "cpu/tmpl/sparse.h"

void tn_k_sparse_rows_r2_q8_1x2__avx2(const tn_k_sparse_args *args) { sparse_rows(args); }
void tn_k_sparse_columns_c2_q8_1x256__avx2(const tn_k_sparse_args *args) { sparse_columns(args); }
