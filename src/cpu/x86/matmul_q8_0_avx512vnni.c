// q8_0 matmul for AVX512-VNNI: tmpl/matmul_q8_0.h, lanes are the 16 rows of a panel.
#include "cpu/x86/rows_avx512.h"

enum { TN_Q8_ROWS = 16, TN_Q8_VECS = 1, TN_Q8_TOKENS = 4 };

TN_K_INLINE void q8_dots(const int8_t *x, size_t x_stride, const int32_t *x_sum, size_t x_groups, const uint8_t *codes,
                         tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    // Codes are stored plus 128: 128 times the sum of the activations comes off.
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) acc[m][0] = _mm512_set1_epi32(-128 * x_sum[m * x_groups]);
    TN_K_UNROLL
    for (unsigned j = 0; j < 8; j++) {
        const __m512i code = _mm512_loadu_si512(codes + 64 * j);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) acc[m][0] = _mm512_dpbusd_epi32(acc[m][0], code, tn_x4_512(x + m * x_stride + 4 * j));
    }
}

#include "cpu/tmpl/matmul_q8_0.h"

void tn_k_matmul_q8_0_q8_4x16__avx512vnni(const tn_k_matmul_dense_args *args) { q8_rows(args); }
