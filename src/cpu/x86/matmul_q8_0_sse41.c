// q8_0 matmul for SSE4.1: tmpl/matmul_q8_0.h over four rows a vector.
#include "cpu/x86/rows_sse41.h"

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const __m128i sign_bit = _mm_set1_epi8((char)0x80), ones = _mm_set1_epi16(1);
    (void)x_sum; // codes become signed here
    (void)x_groups;
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][v] = _mm_setzero_si128();
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j++) {
            // |code| unsigned times activation with the code's sign: 2*128*127 fits pmaddubsw's 16 bits, where code+128 would saturate.
            const __m128i code = _mm_xor_si128(tn_load128(codes + 64 * j + 16 * v), sign_bit), size = _mm_abs_epi8(code);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const __m128i x4 = _mm_sign_epi8(tn_x4_128(x + m * x_stride + 4 * j), code);
                acc[m][v] = tn_pin128(_mm_add_epi32(acc[m][v], _mm_madd_epi16(_mm_maddubs_epi16(size, x4), ones)));
            }
        }
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_4x16__sse41(const tn_k_matmul_dense_args *args) { q8_rows(args); }
