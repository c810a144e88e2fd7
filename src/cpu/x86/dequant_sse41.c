// Dense rows to f32, SSE4.1.
#include "cpu/x86/rows_sse41.h"

#define TN_DEQ_WIDTH 4

typedef __m128i tn_deq_codes;

TN_K_INLINE tn_deq_codes tn_deq_load(const uint8_t *p) { return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(tn_k_load_i32(p))); }
TN_K_INLINE tn_deq_codes tn_deq_low(const uint8_t *p) { return _mm_and_si128(tn_deq_load(p), _mm_set1_epi32(15)); }
TN_K_INLINE tn_deq_codes tn_deq_high(const uint8_t *p) { return _mm_srli_epi32(tn_deq_load(p), 4); }
TN_K_INLINE tn_deq_codes tn_deq_plane(const uint8_t *p, const unsigned j)
{
    const tn_deq_codes bits = _mm_srl_epi32(_mm_slli_epi32(tn_deq_load(p), 4), _mm_cvtsi32_si128((int)j));
    return _mm_and_si128(bits, _mm_set1_epi32(16));
}
// There is no shift by lanes: each compares its own bit.
TN_K_INLINE tn_deq_codes tn_deq_lanes(uint32_t bits)
{
    const __m128i own = _mm_setr_epi32(1, 2, 4, 8), is_set = _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32((int)bits), own), own);
    return _mm_and_si128(is_set, _mm_set1_epi32(16));
}
TN_K_INLINE tn_deq_codes tn_deq_join(tn_deq_codes a, tn_deq_codes b) { return _mm_or_si128(a, b); }
TN_K_INLINE void tn_deq_store(float *y, tn_deq_codes c, const int32_t middle, float scale, float offset)
{
    if (middle != 0) c = _mm_sub_epi32(c, _mm_set1_epi32(middle));
    const __m128 product = _mm_mul_ps(_mm_cvtepi32_ps(c), _mm_set1_ps(scale));
    _mm_storeu_ps(y, _mm_add_ps(_mm_add_ps(product, _mm_set1_ps(offset)), _mm_setzero_ps()));
}

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__sse41
#include "cpu/tmpl/dequant.h"
