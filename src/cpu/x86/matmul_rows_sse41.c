// Matmul over f32, f16 and bf16 rows by DOT_ROW for SSE4.1.
#include "cpu/x86/rows_sse41.h"

// The vocabulary of the template: thirty-two f32 lanes.
typedef struct tn_v32 {
    __m128 v[8]; // lanes 4i .. 4i+3
} tn_v32;

// Tiles of the template: two tokens' accumulators fill the 16 registers, so weights pass through memory, which costs less than widening
// them twice.
enum { TN_DOT_MR = 2, TN_DOT_NR_MANY = 1 };

TN_K_INLINE tn_v32 tn_v32_zero(void)
{
    const __m128 z = _mm_setzero_ps();
    return (tn_v32){{z, z, z, z, z, z, z, z}};
}
TN_K_INLINE tn_v32 tn_v32_load(const float *p)
{
    return (tn_v32){{_mm_loadu_ps(p), _mm_loadu_ps(p + 4), _mm_loadu_ps(p + 8), _mm_loadu_ps(p + 12), _mm_loadu_ps(p + 16),
                     _mm_loadu_ps(p + 20), _mm_loadu_ps(p + 24), _mm_loadu_ps(p + 28)}};
}
// The first n elements (n < 32), zeros after them; reads nothing past them.
TN_K_INLINE tn_v32 tn_v32_load_n(const float *p, uint32_t n)
{
    float v[32] = {0};
    memcpy(v, p, 4 * (size_t)n);
    return tn_v32_load(v);
}
// Four halves as words, 4i the first.
TN_K_INLINE __m128i tn_half4(const uint8_t *p, const unsigned i)
{
    return _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8 * (size_t)i)));
}
// Any four, as tn_widen_f16: exponents gain 112, and 112 more where they mean infinity or NaN. A subnormal m is m/1024 of 2^-14: with that
// exponent put before its mantissa and the leading one taken off again, which is exact and meets no subnormal of f32.
TN_K_INLINE __m128 tn_f16_4(const uint8_t *p, const unsigned i)
{
    const __m128i half = tn_half4(p, i), size = _mm_slli_epi32(_mm_and_si128(half, _mm_set1_epi32(0x7fff)), 13);
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(half, _mm_set1_epi32(0x8000)), 16);
    const __m128i rebias = _mm_set1_epi32(112 << 23), one = _mm_set1_epi32(113 << 23);
    const __m128i is_last = _mm_cmpgt_epi32(size, _mm_set1_epi32((0x7c00 << 13) - 1));
    const __m128i is_subnormal = _mm_cmpgt_epi32(_mm_set1_epi32(0x400 << 13), size);
    const __m128i normal = _mm_add_epi32(_mm_add_epi32(size, rebias), _mm_and_si128(is_last, rebias));
    const __m128 subnormal = _mm_sub_ps(_mm_castsi128_ps(_mm_add_epi32(size, one)), _mm_castsi128_ps(one));
    const __m128 widened = _mm_blendv_ps(_mm_castsi128_ps(normal), subnormal, _mm_castsi128_ps(is_subnormal));
    return _mm_or_ps(widened, _mm_castsi128_ps(sign));
}
TN_K_INLINE tn_v32 tn_v32_any_f16(const uint8_t *p)
{
    return (tn_v32){
        {tn_f16_4(p, 0), tn_f16_4(p, 1), tn_f16_4(p, 2), tn_f16_4(p, 3), tn_f16_4(p, 4), tn_f16_4(p, 5), tn_f16_4(p, 6), tn_f16_4(p, 7)}};
}
// Nearly all weights are normal numbers: these are widened eight at a time, upper and lower halves of the words apart (one token on a Zen
// 4: 6.4 G products/s, by fours 2.8). Twice a half plus 0x800 drops the sign, and is below 0x1000 for zeros and subnormals; infinities and
// NaN wrap around to less.
TN_K_INLINE tn_v32 tn_v32_load_f16(const uint8_t *p)
{
    __m128i half[4], least = _mm_set1_epi16(-1);
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        half[i] = tn_load128(p + 16 * (size_t)i);
        least = _mm_min_epu16(least, _mm_add_epi16(_mm_add_epi16(half[i], half[i]), _mm_set1_epi16(0x800)));
    }
    if ((_mm_cvtsi128_si32(_mm_minpos_epu16(least)) & 0xffff) < 0x1000) return tn_v32_any_f16(p);
    tn_v32 wide;
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        const __m128i sign_and_size = _mm_and_si128(_mm_srai_epi16(half[i], 3), _mm_set1_epi16((short)0x8fff));
        const __m128i upper = _mm_add_epi16(sign_and_size, _mm_set1_epi16(112 << 7)), lower = _mm_slli_epi16(half[i], 13);
        wide.v[2 * i] = _mm_castsi128_ps(_mm_unpacklo_epi16(lower, upper));
        wide.v[2 * i + 1] = _mm_castsi128_ps(_mm_unpackhi_epi16(lower, upper));
    }
    return wide;
}
TN_K_INLINE __m128 tn_bf16_4(const uint8_t *p, const unsigned i) { return _mm_castsi128_ps(_mm_slli_epi32(tn_half4(p, i), 16)); }
TN_K_INLINE tn_v32 tn_v32_load_bf16(const uint8_t *p)
{
    return (tn_v32){{tn_bf16_4(p, 0), tn_bf16_4(p, 1), tn_bf16_4(p, 2), tn_bf16_4(p, 3), tn_bf16_4(p, 4), tn_bf16_4(p, 5), tn_bf16_4(p, 6),
                     tn_bf16_4(p, 7)}};
}
// acc + x*w, two roundings.
TN_K_INLINE tn_v32 tn_v32_mul_add(tn_v32 acc, tn_v32 x, tn_v32 w)
{
    TN_K_UNROLL
    for (unsigned i = 0; i < 8; i++) acc.v[i] = _mm_add_ps(acc.v[i], _mm_mul_ps(x.v[i], w.v[i]));
    return acc;
}
// l+16, l+8, l+4, l+2, l+1.
TN_K_INLINE float tn_v32_tree(tn_v32 x)
{
    const __m128 even = _mm_add_ps(_mm_add_ps(x.v[0], x.v[4]), _mm_add_ps(x.v[2], x.v[6]));
    const __m128 odd = _mm_add_ps(_mm_add_ps(x.v[1], x.v[5]), _mm_add_ps(x.v[3], x.v[7]));
    const __m128 s4 = _mm_add_ps(even, odd), s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

#include "cpu/tmpl/matmul_dot_row.h"

void tn_k_matmul_f32_f32_2x1__sse41(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F32); }
void tn_k_matmul_f16_f32_2x1__sse41(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F16); }
void tn_k_matmul_bf16_f32_2x1__sse41(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_BF16); }
