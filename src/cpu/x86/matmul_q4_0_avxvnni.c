// q4_0 matmul for AVX-VNNI: tmpl/matmul_q8_0.h over Q4_16, eight rows a vector.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/rows_avx2.h"

#define TN_Q8_TILE_BLOCK TN_Q4_BLOCK_BYTES

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const __m256i low4 = _mm256_set1_epi8(15);
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        // Codes are stored plus 8: 8 times the sum of the activations comes off.
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][v] = _mm256_set1_epi32(-8 * x_sum[m * x_groups]);
        TN_K_UNROLL
        for (unsigned j = 0; j < 4; j++) {
            const __m256i both = tn_load256(codes + 64 * j + 32 * v);
            const __m256i first = _mm256_and_si256(both, low4), second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low4);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const int8_t *x4 = x + m * x_stride + 4 * j;
                acc[m][v] = tn_dot_bytes256(tn_dot_bytes256(acc[m][v], first, tn_x4_256(x4)), second, tn_x4_256(x4 + 16));
            }
        }
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q4_0_q8_4x16__avxvnni(const tn_k_matmul_dense_args *args) { q8_rows(args); }
