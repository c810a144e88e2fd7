// Ternary matmul over T2_16 for AVX512-BW: tmpl/matmul_ternary_pairs.h, 8 tokens x 1 panel.
#include "cpu/x86/ternary_avx512.h"

#define TN_T_VECS   1u
#define TN_T_TOKENS 8u

typedef __m512i tn_packed, tn_pairs, tn_sums;

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_packed tn_codes_of(tn_packed x, const unsigned i) { return tn_fields512(x, i); }
TN_K_INLINE tn_pairs tn_pairs_zero(void) { return _mm512_setzero_si512(); }
TN_K_INLINE tn_pairs tn_pairs_add(tn_pairs pairs, tn_packed codes, const int8_t *x)
{
    return _mm512_add_epi16(pairs, _mm512_maddubs_epi16(codes, tn_x4_512(x)));
}
TN_K_INLINE tn_sums tn_pairs_widen(tn_sums acc, tn_pairs pairs)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#include "cpu/tmpl/matmul_ternary_pairs.h"

void tn_k_matmul_t2_q8_8x16__avx512bw(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
