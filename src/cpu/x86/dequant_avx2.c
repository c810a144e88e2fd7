// Dense rows to f32, AVX2.
#include "cpu/tmpl/matmul_common.h"

#include <immintrin.h>

#define TN_DEQ_WIDTH 8

typedef __m256i tn_deq_codes;

TN_K_INLINE tn_deq_codes tn_deq_load(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)); }
TN_K_INLINE tn_deq_codes tn_deq_low(const uint8_t *p) { return _mm256_and_si256(tn_deq_load(p), _mm256_set1_epi32(15)); }
TN_K_INLINE tn_deq_codes tn_deq_high(const uint8_t *p) { return _mm256_srli_epi32(tn_deq_load(p), 4); }
TN_K_INLINE tn_deq_codes tn_deq_plane(const uint8_t *p, const unsigned j)
{
    const tn_deq_codes bits = _mm256_srl_epi32(_mm256_slli_epi32(tn_deq_load(p), 4), _mm_cvtsi32_si128((int)j));
    return _mm256_and_si256(bits, _mm256_set1_epi32(16));
}
TN_K_INLINE tn_deq_codes tn_deq_lanes(uint32_t bits)
{
    const tn_deq_codes lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_and_si256(_mm256_slli_epi32(_mm256_srlv_epi32(_mm256_set1_epi32((int)bits), lanes), 4), _mm256_set1_epi32(16));
}
TN_K_INLINE tn_deq_codes tn_deq_join(tn_deq_codes a, tn_deq_codes b) { return _mm256_or_si256(a, b); }
TN_K_INLINE void tn_deq_store(float *y, tn_deq_codes c, const int32_t middle, float scale, float offset)
{
    if (middle != 0) c = _mm256_sub_epi32(c, _mm256_set1_epi32(middle));
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(c), _mm256_set1_ps(scale));
    _mm256_storeu_ps(y, _mm256_add_ps(_mm256_add_ps(product, _mm256_set1_ps(offset)), _mm256_setzero_ps()));
}

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__avx2
#include "cpu/tmpl/dequant.h"
