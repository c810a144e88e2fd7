// Ternary matmul over T2_16 for AVX-VNNI: tmpl/matmul_ternary_dot.h, 4 tokens x 1 panel; one token has a body of its own.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/matmul_avx2.h"

#define TN_T_COLS   TN_T2_COLS
#define TN_T_ROWS   8u
#define TN_T_VECS   2u
#define TN_T_TOKENS 4u

typedef __m256i tn_packed;
typedef __m256i tn_codes;
typedef __m256i tn_sums;
typedef const int8_t *tn_x16; // each four are broadcast from memory where they are used

TN_K_INLINE tn_packed tn_packed_load(const uint8_t *p) { return tn_load256(p); }
// Shifts want constants.
TN_K_INLINE tn_codes tn_codes_of(tn_packed x, const unsigned i)
{
    const __m256i low2 = _mm256_set1_epi8(3);
    switch (i) {
    case 0: return _mm256_and_si256(x, low2);
    case 1: return _mm256_and_si256(_mm256_srli_epi16(x, 2), low2);
    case 2: return _mm256_and_si256(_mm256_srli_epi16(x, 4), low2);
    default: return _mm256_and_si256(_mm256_srli_epi16(x, 6), low2);
    }
}
TN_K_INLINE tn_sums tn_sums_zero(void) { return _mm256_setzero_si256(); }
TN_K_INLINE tn_x16 tn_x16_load(const int8_t *x) { return x; }
TN_K_INLINE tn_sums tn_sums_dot(tn_sums acc, tn_codes codes, tn_x16 x, unsigned i)
{
    return tn_dot_bytes256(acc, codes, tn_x4_256(x + 4 * i));
}

TN_K_INLINE void ternary_finish(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n, tn_sums acc)
{
    tn_ternary_finish256(a, m, n, acc);
}

// One token: the codes stay where they are in their bytes (times 1, 4, 16, 64), so no shifts; four sums a vector, undone at the end.
// 64*2*127*4 a lane and block: below 2^31 for n_blocks < 33000, four times what the range of ternary matmul allows.
TN_K_INLINE void ternary_one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0, const unsigned NV)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m * a->x_stride;
    const __m256i mask[4] = {_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0c), _mm256_set1_epi8(0x30), _mm256_set1_epi8((char)0xc0)};
    __m256i acc[TN_T_VECS][4];
    TN_K_UNROLL
    for (unsigned v = 0; v < NV; v++) {
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) acc[v][i] = _mm256_setzero_si256();
    }
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        TN_K_UNROLL
        for (unsigned v = 0; v < NV; v++) {
            const __m256i packed = tn_load256(w + 32 * v);
            TN_K_UNROLL
            for (unsigned i = 0; i < 4; i++)
                acc[v][i] = tn_dot_bytes256(acc[v][i], _mm256_and_si256(packed, mask[i]), tn_x4_256(x + 4 * i));
        }
    }
    TN_K_UNROLL
    for (unsigned v = 0; v < NV; v++) {
        const __m256i low = _mm256_add_epi32(acc[v][0], _mm256_srai_epi32(acc[v][1], 2));
        const __m256i high = _mm256_add_epi32(_mm256_srai_epi32(acc[v][2], 4), _mm256_srai_epi32(acc[v][3], 6));
        ternary_finish(a, m, n0 + v * TN_T_ROWS, _mm256_add_epi32(low, high));
    }
}

#include "cpu/tmpl/matmul_ternary_dot.h"

void tn_k_matmul_t2_q8_4x16__avxvnni(const tn_k_matmul_ternary_args *args) { ternary_rows(args); }
