// q8_0 matmul for AVX-VNNI: tmpl/matmul_q8_0.h over eight rows a vector.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/rows_avx2.h"

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    // Codes are stored plus 128: 128 times the sum of the activations comes off.
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_Q8_VECS; v++) {
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][v] = _mm256_set1_epi32(-128 * x_sum[m * x_groups]);
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j++) {
            const __m256i code = tn_load256(codes + 64 * j + 32 * v);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) acc[m][v] = tn_dot_bytes256(acc[m][v], code, tn_x4_256(x + m * x_stride + 4 * j));
        }
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_4x16__avxvnni(const tn_k_matmul_dense_args *args) { q8_rows(args); }
