// Ternary matmul over T2_16 for AVX512-VNNI: tmpl/matmul_ternary_dot.h, 8 tokens x 2 panels; one token has a body of its own.
#include "cpu/x86/matmul_avx512vnni.h"

#define TN_T_ROWS   16u
#define TN_T_VECS   2u
#define TN_T_TOKENS 8u

typedef __m512i tn_codes;
typedef __m512i tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_codes tn_codes_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_codes tn_codes_low2(tn_codes x) { return _mm512_and_si512(x, _mm512_set1_epi8(3)); }
TN_K_INLINE tn_codes tn_codes_next(tn_codes x) { return _mm512_srli_epi16(x, 2); }
TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm512_setzero_si512(); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_sums tn_sums_dot(tn_sums acc, tn_codes codes, tn_x16 x, unsigned i)
{
    return _mm512_dpbusd_epi32(acc, codes, tn_x4_512(x + 4 * i));
}

// Sums of (code t+1) * q of one vector, minus the sum of q, scaled and stored. n0: first row; the tile's last panel may be partly real.
TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m512i acc)
{
    const __m512 w_scale = _mm512_loadu_ps(a->w_scale + n);
    const __m512 scale = tn_fl_ps512(_mm512_mul_ps(_mm512_set1_ps(a->x_scale[m]), w_scale));
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, _mm512_set1_epi32(a->x_sum[m])));
    tn_store_ps512(a->y + m * a->y_stride + n, tn_first16(a->N - n), _mm512_mul_ps(sum, scale), &a->y_absmax[m]);
}

// One token: the codes stay where they are in their bytes (times 1, 4, 16, 64), so no shifts; four sums a panel, undone at the end.
// 64*2*127*4 a lane and block: below 2^31 for n_blocks < 33000, four times what the range of ternary matmul allows.
// One panel at a time: a core reads one stream from memory nearly twice as fast as two that are a panel apart (30 and 16 GB/s on Zen 4).
TN_K_INLINE void ternary_one_panel(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n)
{
    const uint8_t *w = a->w + n / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m * a->x_stride;
    const __m512i mask[4] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30), _mm512_set1_epi8((char)0xc0)};
    __m512i acc[4];
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) acc[i] = _mm512_setzero_si512();
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        const __m512i packed = _mm512_loadu_si512(w);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) acc[i] = _mm512_dpbusd_epi32(acc[i], _mm512_and_si512(packed, mask[i]), tn_x4_512(x + 4 * i));
    }
    const __m512i low = _mm512_add_epi32(acc[0], _mm512_srai_epi32(acc[1], 2));
    const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[2], 4), _mm512_srai_epi32(acc[3], 6));
    ternary_finish(a, m, n, _mm512_add_epi32(low, high));
}

TN_K_INLINE void ternary_one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0, const unsigned NV)
{
    for (unsigned p = 0; p < NV; p++) ternary_one_panel(a, m, n0 + p * TN_T2_ROWS);
}

#include "cpu/tmpl/matmul_ternary_dot.h"

void tn_k_matmul_t2_q8_8x32__avx512vnni(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
