// Ternary matmul over T2_16 for AVX512-BW: tmpl/matmul_ternary_pairs.h, 8 tokens x 1 panel.
#include "cpu/x86/ternary_avx512.h"

#define TN_T_VECS   1u
#define TN_T_TOKENS 8u

typedef __m512i tn_packed, tn_pairs, tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_packed tn_codes_of(tn_packed x, const unsigned i) { return tn_fields512(x, i); }
TN_K_INLINE tn_packed tn_fields(tn_packed x, const unsigned mask) { return _mm512_and_si512(x, _mm512_set1_epi8((char)mask)); }
TN_K_INLINE tn_packed tn_upper(tn_packed x) { return _mm512_srli_epi16(x, 4); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_pairs tn_pairs_zero(void) { return _mm512_setzero_si512(); }
TN_K_INLINE tn_pairs tn_pairs_add(tn_pairs pairs, tn_packed codes, tn_x16 x, const unsigned i)
{
    return _mm512_add_epi16(pairs, _mm512_maddubs_epi16(codes, tn_x4_512(x + 4 * i)));
}
TN_K_INLINE tn_sums tn_pairs_widen(tn_sums acc, tn_pairs pairs, const short times)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(times)));
}
TN_K_INLINE tn_sums tn_sums_quarter(tn_sums acc) { return _mm512_srai_epi32(acc, 2); }

#include "cpu/tmpl/matmul_ternary_pairs.h"

void tn_k_matmul_t2_q8_8x16__avx512bw(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
