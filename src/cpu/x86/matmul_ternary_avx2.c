// Ternary matmul over T2_16 for AVX2: tmpl/matmul_ternary_pairs.h, 4 tokens x 1 panel.
#include "cpu/x86/matmul_avx2.h"

#define TN_T_ROWS   8u
#define TN_T_VECS   2u
#define TN_T_TOKENS 4u

typedef __m256i tn_packed, tn_pairs, tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return tn_load256(p); }
TN_K_INLINE tn_packed tn_codes_of(tn_packed x, const unsigned i)
{
    return _mm256_and_si256(_mm256_srli_epi16(x, (int)(2 * i)), _mm256_set1_epi8(3));
}
TN_K_INLINE tn_packed tn_fields(tn_packed x, const unsigned mask) { return _mm256_and_si256(x, _mm256_set1_epi8((char)mask)); }
TN_K_INLINE tn_packed tn_upper(tn_packed x) { return _mm256_srli_epi16(x, 4); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_pairs tn_pairs_zero(void) { return _mm256_setzero_si256(); }
TN_K_INLINE tn_pairs tn_pairs_add(tn_pairs pairs, tn_packed codes, tn_x16 x, const unsigned i)
{
    return tn_pin256(_mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes, tn_x4_256(x + 4 * i))));
}
TN_K_INLINE tn_sums tn_pairs_widen(tn_sums acc, tn_pairs pairs, const short times)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(times)));
}
TN_K_INLINE tn_sums tn_sums_quarter(tn_sums acc) { return _mm256_srai_epi32(acc, 2); }
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish256(a, m, n, acc);
}

#include "cpu/tmpl/matmul_ternary_pairs.h"

void tn_k_matmul_t2_q8_4x16__avx2(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
