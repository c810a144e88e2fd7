// Matmul over f32, f16 and bf16 rows by DOT_ROW for AVX512-BW.
#include "cpu/x86/matmul_avx512.h"

// The vocabulary of the template: thirty-two f32 lanes.
typedef struct tn_v32 {
    __m512 a, b; // lanes 0-15, 16-31
} tn_v32;

// Tiles of the template: 4 tokens x 2 rows hold 16 accumulators, 4 weights and a token's 2 vectors.
enum { TN_DOT_MR = 4, TN_DOT_NR_MANY = 2 };

TN_K_INLINE tn_v32 tn_v32_zero(void) { return (tn_v32){_mm512_setzero_ps(), _mm512_setzero_ps()}; }
TN_K_INLINE tn_v32 tn_v32_load(const float *p) { return (tn_v32){_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16)}; }
// The first n elements (n < 32), zeros after them; reads nothing past them.
TN_K_INLINE tn_v32 tn_v32_load_n(const float *p, uint32_t n)
{
    return (tn_v32){_mm512_maskz_loadu_ps(tn_first16(n), p),
                    n > 16 ? _mm512_maskz_loadu_ps(tn_first16(n - 16), p + 16) : _mm512_setzero_ps()};
}
TN_K_INLINE tn_v32 tn_v32_load_f16(const uint8_t *p)
{
    return (tn_v32){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)),
                    _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 32)))};
}
// Sixteen of 32 words from word `first` on as the high halves of lanes: one permutation in place of widening and a shift.
TN_K_INLINE __m512 tn_bf16_ps512(__m512i words, int first)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i word = _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(first)), 16);
    return _mm512_castsi512_ps(_mm512_maskz_permutexvar_epi16(0xaaaaaaaau, word, words));
}
TN_K_INLINE tn_v32 tn_v32_load_bf16(const uint8_t *p)
{
    const __m512i words = _mm512_loadu_si512(p);
    return (tn_v32){tn_bf16_ps512(words, 0), tn_bf16_ps512(words, 16)};
}
// acc + x*w, two roundings.
TN_K_INLINE tn_v32 tn_v32_mul_add(tn_v32 acc, tn_v32 x, tn_v32 w)
{
    return (tn_v32){_mm512_add_ps(acc.a, _mm512_mul_ps(x.a, w.a)), _mm512_add_ps(acc.b, _mm512_mul_ps(x.b, w.b))};
}
// l+16, l+8, l+4, l+2, l+1.
TN_K_INLINE float tn_v32_tree(tn_v32 v)
{
    const __m512 s16 = _mm512_add_ps(v.a, v.b);
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(s16), _mm512_extractf32x8_ps(s16, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#include "cpu/tmpl/matmul_dot_row.h"

void tn_k_matmul_f32_f32_4x2__avx512bw(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F32); }
void tn_k_matmul_f16_f32_4x2__avx512bw(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F16); }
void tn_k_matmul_bf16_f32_4x2__avx512bw(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_BF16); }
