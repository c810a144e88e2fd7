// Products with listed rows or columns for AVX512-VNNI: tmpl/sparse.h, codes in place.
#include "cpu/x86/ternary_avx512vnni.h"

#define TN_S_BYTES 64u
#define TN_S_ROWS  4u

typedef __m512i tn_bytes;

TN_K_INLINE tn_bytes tn_bytes_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_bytes tn_bytes_four(const int8_t *p) { return tn_x4_512(p); }
TN_K_INLINE tn_bytes tn_bytes_pairs_low(tn_bytes a, tn_bytes b) { return _mm512_unpacklo_epi8(a, b); }
TN_K_INLINE tn_bytes tn_bytes_pairs_high(tn_bytes a, tn_bytes b) { return _mm512_unpackhi_epi8(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_low(tn_bytes a, tn_bytes b) { return _mm512_unpacklo_epi16(a, b); }
TN_K_INLINE tn_bytes tn_words_pairs_high(tn_bytes a, tn_bytes b) { return _mm512_unpackhi_epi16(a, b); }
TN_K_INLINE tn_sums tn_sums_load(const int32_t *p) { return _mm512_load_si512(p); }
TN_K_INLINE void tn_sums_store(int32_t *p, tn_sums sums) { _mm512_store_si512(p, sums); }
TN_K_INLINE tn_sums tn_sums_field(tn_sums acc, tn_bytes packed, tn_bytes x, const unsigned p)
{
    return _mm512_dpbusd_epi32(acc, tn_fields_in_place512(packed, p), x);
}
TN_K_INLINE tn_sums tn_sums_undo(tn_sums acc, const unsigned p) { return _mm512_srai_epi32(acc, 2 * p); }
TN_K_INLINE tn_sums tn_sums_add(tn_sums a, tn_sums b) { return _mm512_add_epi32(a, b); }
TN_K_INLINE int32_t tn_sums_total(tn_sums a) { return _mm512_reduce_add_epi32(a); }

#include "cpu/tmpl/sparse.h"

void tn_k_sparse_rows_r2_q8_1x4__avx512vnni(const tn_k_sparse_args *args) { sparse_rows(args); }
void tn_k_sparse_columns_c2_q8_1x256__avx512vnni(const tn_k_sparse_args *args) { sparse_columns(args); }
