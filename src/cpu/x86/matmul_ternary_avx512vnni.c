// Ternary matmul over T2_16 for AVX512-VNNI: tmpl/matmul_ternary_dot.h, 8 tokens x 2 panels; one token has a body of its own.
#include "cpu/x86/ternary_avx512vnni.h"

#define TN_T_COLS   TN_T2_COLS
#define TN_T_VECS   2u
#define TN_T_TOKENS 8u

typedef __m512i tn_packed;

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_codes tn_codes_of(tn_packed x, const unsigned i) { return tn_fields512(x, i); }

// One token: the codes stay where they are in their bytes (times 1, 4, 16, 64), so no shifts; four sums a panel, undone at the end.
// 64*2*127*4 a lane and block: below 2^31 for n_blocks < 33000, four times what the range of ternary matmul allows.
// One panel at a time: a core reads one stream from memory nearly twice as fast as two that are a panel apart (30 and 16 GB/s on Zen 4).
TN_K_INLINE void ternary_one_panel(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n)
{
    const uint8_t *w = a->w + n / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m * a->x_stride;
    __m512i acc[4];
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) acc[i] = _mm512_setzero_si512();
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        const __m512i packed = _mm512_loadu_si512(w);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) acc[i] = tn_sums_dot(acc[i], tn_fields_in_place512(packed, i), x, i);
    }
    ternary_finish(a, m, n, tn_sum_of_fields512(acc));
}

TN_K_INLINE void ternary_one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0, const unsigned NV)
{
    for (unsigned p = 0; p < NV; p++) ternary_one_panel(a, m, n0 + p * TN_T2_ROWS);
}

#include "cpu/tmpl/matmul_ternary_dot.h"

void tn_k_matmul_t2_q8_8x32__avx512vnni(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
