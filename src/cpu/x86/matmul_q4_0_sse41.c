// q4_0 matmul for SSE4.1: tmpl/matmul_q8_0.h over Q4_16, four rows a vector.
#include "cpu/x86/rows_sse41.h"

#define TN_Q8_TILE_BLOCK TN_Q4_BLOCK_BYTES

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const __m128i low4 = _mm_set1_epi8(15), ones = _mm_set1_epi16(1);
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        // Eight products of pairs, each at most 2 * 15 * 127 in size, fit 16 bits.
        __m128i dot2[TN_Q8_TOKENS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) dot2[m] = _mm_setzero_si128();
        TN_K_UNROLL
        for (unsigned j = 0; j < 4; j++) {
            const __m128i both = tn_load128(codes + 64 * j + 16 * v);
            const __m128i first = _mm_and_si128(both, low4), second = _mm_and_si128(_mm_srli_epi16(both, 4), low4);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const int8_t *x4 = x + m * x_stride + 4 * j;
                dot2[m] = tn_pin128(_mm_add_epi16(dot2[m], _mm_maddubs_epi16(first, tn_x4_128(x4))));
                dot2[m] = tn_pin128(_mm_add_epi16(dot2[m], _mm_maddubs_epi16(second, tn_x4_128(x4 + 16))));
            }
        }
        // Codes are stored plus 8: 8 times the sum of the activations comes off.
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][v] = _mm_sub_epi32(_mm_madd_epi16(dot2[m], ones), _mm_set1_epi32(8 * x_sum[m * x_groups]));
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q4_0_q8_4x16__sse41(const tn_k_matmul_dense_args *args) { q8_rows(args); }
