// q6_k matmul for SSE4.1: tmpl/matmul_q6_k.h with products of bytes in 16 bits, four rows a vector, 4 tokens a tile.
#include "cpu/x86/rows_sse41.h"

#define TN_Q6_ROWS   4u
#define TN_Q6_TOKENS 4u

typedef __m128i tn_q6_codes;

TN_K_INLINE tn_q6_codes q6_load(const uint8_t *p) { return tn_load128(p); }
TN_K_INLINE tn_q6_codes q6_low6(tn_q6_codes z) { return _mm_and_si128(z, _mm_set1_epi8(0x3f)); }
TN_K_INLINE tn_q6_codes q6_fourth(tn_q6_codes z0, tn_q6_codes z1, tn_q6_codes z2)
{
    const __m128i first = _mm_and_si128(_mm_srli_epi16(z0, 6), _mm_set1_epi8(0x03));
    const __m128i second = _mm_and_si128(_mm_srli_epi16(z1, 4), _mm_set1_epi8(0x0c));
    const __m128i third = _mm_and_si128(_mm_srli_epi16(z2, 2), _mm_set1_epi8(0x30));
    return _mm_or_si128(_mm_or_si128(first, second), third);
}
TN_K_INLINE tn_rows_i q6_zero(void) { return _mm_setzero_si128(); }

// 32 times the sums of each 16 activations, as q6_add_16 has its products: columns 0, 1 modulo 4 in the low 16 bits, 2, 3 in the high ones.
// 32 * 127 * 8 fits.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    for (unsigned s = 0; s < 16; s++) {
        __m128i sum = _mm_maddubs_epi16(_mm_set1_epi8(32), _mm_loadu_si128((const __m128i *)(x + 16 * (size_t)s)));
        sum = _mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0x4e));
        out[s] = _mm_cvtsi128_si32(_mm_add_epi16(sum, _mm_shuffle_epi32(sum, 0xb1)));
    }
}

// The sums wrap in 16 bits on their way and come back, as in matmul_q6_k_avx2.c.
TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const __m128i bytes = _mm_cvtepi8_epi32(_mm_cvtsi32_si128(tn_k_load_i32(scales)));
    const __m128i scale = _mm_blend_epi16(bytes, _mm_slli_epi32(bytes, 16), 0xaa);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        __m128i dot2 = _mm_sub_epi16(_mm_setzero_si128(), _mm_set1_epi32(corrections[16 * m]));
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++)
            dot2 = tn_pin128(_mm_add_epi16(dot2, _mm_maddubs_epi16(codes[i], tn_x4_128(x + m * x_stride + 4 * i))));
        sum[m] = tn_pin128(_mm_add_epi32(sum[m], _mm_madd_epi16(dot2, scale)));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_4x16__sse41(const tn_k_matmul_dense_args *args) { q6_rows(args); }
