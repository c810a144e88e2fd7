// Dense rows to f32, AVX512-BW.
#include "cpu/tmpl/matmul_common.h"

#include <immintrin.h>

#define TN_DEQ_WIDTH 16

typedef __m512i tn_deq_codes;

TN_K_INLINE tn_deq_codes tn_deq_load(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)); }
TN_K_INLINE tn_deq_codes tn_deq_low(const uint8_t *p) { return _mm512_and_si512(tn_deq_load(p), _mm512_set1_epi32(15)); }
TN_K_INLINE tn_deq_codes tn_deq_high(const uint8_t *p) { return _mm512_srli_epi32(tn_deq_load(p), 4); }
TN_K_INLINE tn_deq_codes tn_deq_plane(const uint8_t *p, const unsigned j)
{
    const tn_deq_codes bits = _mm512_srl_epi32(_mm512_slli_epi32(tn_deq_load(p), 4), _mm_cvtsi32_si128((int)j));
    return _mm512_and_si512(bits, _mm512_set1_epi32(16));
}
TN_K_INLINE tn_deq_codes tn_deq_lanes(uint32_t bits)
{
    const tn_deq_codes lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_and_si512(_mm512_slli_epi32(_mm512_srlv_epi32(_mm512_set1_epi32((int)bits), lanes), 4), _mm512_set1_epi32(16));
}
TN_K_INLINE tn_deq_codes tn_deq_join(tn_deq_codes a, tn_deq_codes b) { return _mm512_or_si512(a, b); }
TN_K_INLINE void tn_deq_store(float *y, tn_deq_codes c, const int32_t middle, float scale, float offset)
{
    if (middle != 0) c = _mm512_sub_epi32(c, _mm512_set1_epi32(middle));
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(c), _mm512_set1_ps(scale));
    _mm512_storeu_ps(y, _mm512_add_ps(_mm512_add_ps(product, _mm512_set1_ps(offset)), _mm512_setzero_ps()));
}

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__avx512bw
#include "cpu/tmpl/dequant.h"
