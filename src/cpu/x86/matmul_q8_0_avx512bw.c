// q8_0 matmul for AVX512-BW: tmpl/matmul_q8_0.h, lanes are the 16 rows of a panel.
#include "cpu/x86/rows_avx512.h"

enum { TN_Q8_ROWS = 16, TN_Q8_VECS = 1, TN_Q8_TOKENS = 4 };

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const __m512i sign_bit = _mm512_set1_epi8((char)0x80), ones = _mm512_set1_epi16(1), zero = _mm512_setzero_si512();
    (void)x_sum; // codes become signed here
    (void)x_groups;
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m][0] = zero;
    TN_K_UNROLL
    for (unsigned j = 0; j < 8; j++) {
        // As for AVX2, |code| unsigned times activation with the code's sign: 2*128*127 fits vpmaddubsw's 16 bits.
        const __m512i code = _mm512_xor_si512(_mm512_loadu_si512(codes + 64 * j), sign_bit), size = _mm512_abs_epi8(code);
        const __mmask64 negative = _mm512_movepi8_mask(code);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const __m512i x4 = tn_x4_512(x + m * x_stride + 4 * j), signed_x4 = _mm512_mask_sub_epi8(x4, negative, zero, x4);
            acc[m][0] = _mm512_add_epi32(acc[m][0], _mm512_madd_epi16(_mm512_maddubs_epi16(size, signed_x4), ones));
        }
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_4x16__avx512bw(const tn_k_matmul_dense_args *args) { q8_rows(args); }
