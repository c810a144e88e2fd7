// q6_k matmul for AVX512-VNNI: tmpl/matmul_q6_k.h with dots of four bytes in 32 bits.
#include "cpu/x86/rows_avx512.h"

TN_K_INLINE __m512i q6_times_32(__m512i x) { return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(32), x); }
TN_K_INLINE __m512i q6_add(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
TN_K_INLINE __m512i q6_negative(__m512i a) { return _mm512_sub_epi32(_mm512_setzero_si512(), a); }

#include "cpu/x86/matmul_q6_k_512.h"

TN_K_INLINE void q6_add_16(const tn_q6_codes codes[4], const int8_t *x, size_t x_stride, const int32_t *corrections, const int8_t *scales,
                           tn_rows_i *sum, const unsigned MR)
{
    const __m512i scale = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)scales));
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        __m512i dot = _mm512_set1_epi32(corrections[16 * m]);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) dot = _mm512_dpbusd_epi32(dot, codes[i], tn_x4_512(x + m * x_stride + 4 * i));
        sum[m] = _mm512_add_epi32(sum[m], _mm512_mullo_epi32(dot, scale));
    }
}

#include "cpu/tmpl/matmul_q6_k.h"

void tn_k_matmul_q6_k_q8_16x16__avx512vnni(const tn_k_matmul_dense_args *args) { q6_rows(args); }
