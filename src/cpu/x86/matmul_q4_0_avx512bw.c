// q4_0 matmul for AVX512-BW: tmpl/matmul_q8_0.h over Q4_16, lanes are the 16 rows of a panel.
#include "cpu/x86/rows_avx512.h"

#define TN_Q8_TILE_BLOCK TN_Q4_BLOCK_BYTES
enum { TN_Q8_ROWS = 16, TN_Q8_VECS = 1, TN_Q8_TOKENS = 4 };

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const __m512i low4 = _mm512_set1_epi8(15), ones = _mm512_set1_epi16(1);
    // Eight products of pairs, each at most 2 * 15 * 127 in size, fit 16 bits.
    __m512i dot2[TN_Q8_TOKENS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) dot2[m] = _mm512_setzero_si512();
    TN_K_UNROLL
    for (unsigned j = 0; j < 4; j++) {
        const __m512i both = _mm512_loadu_si512(codes + 64 * j);
        const __m512i first = _mm512_and_si512(both, low4), second = _mm512_and_si512(_mm512_srli_epi16(both, 4), low4);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            const int8_t *x4 = x + m * x_stride + 4 * j;
            dot2[m] = _mm512_add_epi16(dot2[m], _mm512_maddubs_epi16(first, tn_x4_512(x4)));
            dot2[m] = _mm512_add_epi16(dot2[m], _mm512_maddubs_epi16(second, tn_x4_512(x4 + 16)));
        }
    }
    // Codes are stored plus 8: 8 times the sum of the activations comes off.
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++)
        acc[m][0] = _mm512_sub_epi32(_mm512_madd_epi16(dot2[m], ones), _mm512_set1_epi32(8 * x_sum[m * x_groups]));
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q4_0_q8_4x16__avx512bw(const tn_k_matmul_dense_args *args) { q8_rows(args); }
