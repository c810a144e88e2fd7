// Probe of the machine's limits for AVX-VNNI: vpdpbusd of 256-bit vectors. Memory is read as AVX2 does.
#include "cpu/x86/dot_avxvnni.h"
#include "cpu/x86/matmul_avx2.h"

typedef __m256i pd_codes, pd_x, pd_acc, pd_wide;
#define PD_PRODUCTS 32u
#define PD_ROUNDS   64u
#define PD_REG      "+x"
TN_K_INLINE pd_codes pd_codes_set(uint8_t code) { return _mm256_set1_epi8((char)code); }
TN_K_INLINE pd_x pd_x_set(int8_t q) { return _mm256_set1_epi8(q); }
TN_K_INLINE pd_acc pd_acc_zero(void) { return _mm256_setzero_si256(); }
TN_K_INLINE pd_wide pd_wide_zero(void) { return _mm256_setzero_si256(); }
TN_K_INLINE pd_acc pd_dot(pd_acc acc, pd_codes codes, pd_x x) { return tn_dot_bytes256(acc, codes, x); }
TN_K_INLINE pd_wide pd_widen(pd_wide wide, pd_acc acc) { return _mm256_add_epi32(wide, acc); }
TN_K_INLINE uint32_t pd_total(pd_wide wide)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}
#include "cpu/tmpl/peak_dot.h"

uint64_t tn_k_peak_dot_u8_i8_12x8__avxvnni(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    return pd_run(code, q, n_groups, out_sum);
}
