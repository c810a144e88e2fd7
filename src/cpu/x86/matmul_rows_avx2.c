// Matmul over f32, f16 and bf16 rows by DOT_ROW for AVX2.
#include "cpu/x86/matmul_avx2.h"

// The vocabulary of the template: thirty-two f32 lanes.
typedef struct tn_v32 {
    __m256 a, b, c, d; // lanes 0-7, 8-15, 16-23, 24-31
} tn_v32;

// Tiles of the template: 16 registers hold 8 accumulators and 4 weights.
enum { TN_DOT_MR = 2, TN_DOT_NR_MANY = 1 };

TN_K_INLINE tn_v32 tn_v32_zero(void)
{
    return (tn_v32){_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
}
TN_K_INLINE tn_v32 tn_v32_load(const float *p)
{
    return (tn_v32){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8), _mm256_loadu_ps(p + 16), _mm256_loadu_ps(p + 24)};
}
// The first n elements (n < 32), zeros after them; reads nothing past them.
TN_K_INLINE tn_v32 tn_v32_load_n(const float *p, uint32_t n)
{
    float v[32] = {0};
    memcpy(v, p, 4 * (size_t)n);
    return tn_v32_load(v);
}
TN_K_INLINE __m256 tn_f16_ps256(const uint8_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
TN_K_INLINE tn_v32 tn_v32_load_f16(const uint8_t *p)
{
    return (tn_v32){tn_f16_ps256(p), tn_f16_ps256(p + 16), tn_f16_ps256(p + 32), tn_f16_ps256(p + 48)};
}
TN_K_INLINE __m256 tn_bf16_ps256(const uint8_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
TN_K_INLINE tn_v32 tn_v32_load_bf16(const uint8_t *p)
{
    return (tn_v32){tn_bf16_ps256(p), tn_bf16_ps256(p + 16), tn_bf16_ps256(p + 32), tn_bf16_ps256(p + 48)};
}
// acc + x*w, two roundings.
TN_K_INLINE tn_v32 tn_v32_mul_add(tn_v32 acc, tn_v32 x, tn_v32 w)
{
    return (tn_v32){_mm256_add_ps(acc.a, _mm256_mul_ps(x.a, w.a)), _mm256_add_ps(acc.b, _mm256_mul_ps(x.b, w.b)),
                    _mm256_add_ps(acc.c, _mm256_mul_ps(x.c, w.c)), _mm256_add_ps(acc.d, _mm256_mul_ps(x.d, w.d))};
}
// l+16, l+8, l+4, l+2, l+1.
TN_K_INLINE float tn_v32_tree(tn_v32 v)
{
    const __m256 s8 = _mm256_add_ps(_mm256_add_ps(v.a, v.c), _mm256_add_ps(v.b, v.d));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#include "cpu/tmpl/matmul_dot_row.h"

void tn_k_matmul_f32_f32_2x1__avx2(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F32); }
void tn_k_matmul_f16_f32_2x1__avx2(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F16); }
void tn_k_matmul_bf16_f32_2x1__avx2(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_BF16); }
