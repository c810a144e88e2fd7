// The part of tmpl/matmul_q6_k.h's vocabulary that AVX2 and AVX-VNNI share: eight rows a vector, 4 tokens a tile.
#ifndef TN_CPU_X86_MATMUL_Q6_K_256_H
#define TN_CPU_X86_MATMUL_Q6_K_256_H

#include "cpu/x86/rows_avx2.h"

#define TN_Q6_ROWS   8u
#define TN_Q6_TOKENS 4u

typedef __m256i tn_q6_codes;

TN_K_INLINE tn_q6_codes q6_load(const uint8_t *p) { return tn_load256(p); }
TN_K_INLINE tn_q6_codes q6_low6(tn_q6_codes z) { return _mm256_and_si256(z, _mm256_set1_epi8(0x3f)); }
TN_K_INLINE tn_q6_codes q6_fourth(tn_q6_codes z0, tn_q6_codes z1, tn_q6_codes z2)
{
    const __m256i first = _mm256_and_si256(_mm256_srli_epi16(z0, 6), _mm256_set1_epi8(0x03));
    const __m256i second = _mm256_and_si256(_mm256_srli_epi16(z1, 4), _mm256_set1_epi8(0x0c));
    const __m256i third = _mm256_and_si256(_mm256_srli_epi16(z2, 2), _mm256_set1_epi8(0x30));
    return _mm256_or_si256(_mm256_or_si256(first, second), third);
}
TN_K_INLINE tn_rows_i q6_zero(void) { return _mm256_setzero_si256(); }

#endif
