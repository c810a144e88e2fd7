// Ternary matmul over T2_16 for AVX512-VNNI: 8 tokens x 2 panels, every weight block unpacked once for all tokens of the tile.
#include "cpu/x86/matmul_avx512vnni.h"

enum { TOKENS = 8, PANELS = 2 };

// Sums of (code t+1) * q of one tile, minus the sum of q, scaled and stored. n0: first row; the tile's last panel may be partly real.
TN_K_INLINE void finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, __m512i acc)
{
    const __m512 w_scale = _mm512_loadu_ps(a->w_scale + n);
    const __m512 scale = tn_fl_ps512(_mm512_mul_ps(_mm512_set1_ps(a->x_scale[m]), w_scale));
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(acc, _mm512_set1_epi32(a->x_sum[m])));
    tn_store_ps512(a->y + m * a->y_stride + n, tn_first16(a->N - n), _mm512_mul_ps(sum, scale), &a->y_absmax[m]);
}

// MR tokens from m0 times NP panels from row n0.
TN_K_INLINE void tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned MR, const unsigned NP)
{
    const size_t panel_bytes = (size_t)a->n_blocks * TN_T2_BLOCK_BYTES;
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * panel_bytes;
    const int8_t *x = a->x + m0 * a->x_stride;
    const size_t x_stride = a->x_stride;
    const __m512i three = _mm512_set1_epi8(3);
    __m512i acc[TOKENS][PANELS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned p = 0; p < NP; p++) acc[m][p] = _mm512_setzero_si512();
    }
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        __m512i packed[PANELS];
        TN_K_UNROLL
        for (unsigned p = 0; p < NP; p++) packed[p] = _mm512_loadu_si512(w + p * panel_bytes);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            __m512i codes[PANELS];
            TN_K_UNROLL
            for (unsigned p = 0; p < NP; p++) {
                codes[p] = _mm512_and_si512(packed[p], three);
                packed[p] = _mm512_srli_epi16(packed[p], 2);
            }
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const __m512i x4 = tn_x4_512(x + m * x_stride + 4 * i);
                TN_K_UNROLL
                for (unsigned p = 0; p < NP; p++) acc[m][p] = _mm512_dpbusd_epi32(acc[m][p], codes[p], x4);
            }
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned p = 0; p < NP; p++) finish(a, m0 + m, n0 + p * TN_T2_ROWS, acc[m][p]);
    }
}

// One token: the codes stay where they are in their bytes (times 1, 4, 16, 64), so no shifts; four sums a panel, undone at the end.
// 64*2*127*4 a lane and block: below 2^31 for n_blocks < 33000, twice what the range of ternary matmul allows.
TN_K_INLINE void one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0, const unsigned NP)
{
    const size_t panel_bytes = (size_t)a->n_blocks * TN_T2_BLOCK_BYTES;
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * panel_bytes;
    const int8_t *x = a->x + m * a->x_stride;
    const __m512i mask[4] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30), _mm512_set1_epi8((char)0xc0)};
    __m512i acc[PANELS][4];
    TN_K_UNROLL
    for (unsigned p = 0; p < NP; p++) {
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) acc[p][i] = _mm512_setzero_si512();
    }
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        TN_K_UNROLL
        for (unsigned p = 0; p < NP; p++) {
            const __m512i packed = _mm512_loadu_si512(w + p * panel_bytes);
            TN_K_UNROLL
            for (unsigned i = 0; i < 4; i++)
                acc[p][i] = _mm512_dpbusd_epi32(acc[p][i], _mm512_and_si512(packed, mask[i]), tn_x4_512(x + 4 * i));
        }
    }
    TN_K_UNROLL
    for (unsigned p = 0; p < NP; p++) {
        const __m512i low = _mm512_add_epi32(acc[p][0], _mm512_srai_epi32(acc[p][1], 2));
        const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(acc[p][2], 4), _mm512_srai_epi32(acc[p][3], 6));
        finish(a, m, n0 + p * TN_T2_ROWS, _mm512_add_epi32(low, high));
    }
}

// `tokens` (1 to TOKENS) from m0.
TN_K_INLINE void tokens_times_panels(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t tokens, uint32_t n0, const unsigned NP)
{
    switch (tokens) {
    case 1: one_token(a, m0, n0, NP); break;
    case 2: tile(a, m0, n0, 2, NP); break;
    case 3: tile(a, m0, n0, 3, NP); break;
    case 4: tile(a, m0, n0, 4, NP); break;
    case 5: tile(a, m0, n0, 5, NP); break;
    case 6: tile(a, m0, n0, 6, NP); break;
    case 7: tile(a, m0, n0, 7, NP); break;
    default: tile(a, m0, n0, TOKENS, NP); break;
    }
}

void tn_k_matmul_t2_q8_8x32__avx512vnni(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += PANELS * TN_T2_ROWS) {
        const bool one_panel = args->N - n <= TN_T2_ROWS;
        for (uint32_t m = 0; m < args->M; m += TOKENS) {
            const uint32_t tokens = args->M - m < TOKENS ? args->M - m : TOKENS;
            if (one_panel) {
                tokens_times_panels(args, m, tokens, n, 1);
            } else {
                tokens_times_panels(args, m, tokens, n, PANELS);
            }
        }
    }
}
