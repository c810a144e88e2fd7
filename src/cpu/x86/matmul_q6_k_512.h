// The part of tmpl/matmul_q6_k.h's vocabulary that the levels with AVX-512 share: lanes are the 16 rows of a panel, 16 tokens a tile. The
// including file defines before it, for sums as its dots have them, q6_times_32(x), q6_add(a, b) and q6_negative(a).
#ifndef TN_CPU_X86_MATMUL_Q6_K_512_H
#define TN_CPU_X86_MATMUL_Q6_K_512_H

#define TN_Q6_ROWS   16u
#define TN_Q6_TOKENS 16u

typedef __m512i tn_q6_codes;

TN_K_INLINE tn_q6_codes q6_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
TN_K_INLINE tn_q6_codes q6_low6(tn_q6_codes z) { return _mm512_and_si512(z, _mm512_set1_epi8(0x3f)); }
TN_K_INLINE tn_q6_codes q6_fourth(tn_q6_codes z0, tn_q6_codes z1, tn_q6_codes z2)
{
    // 0xca: bits of the second where the first has ones, else of the third.
    const __m512i two = _mm512_ternarylogic_epi32(_mm512_set1_epi8(3), _mm512_srli_epi16(z0, 6), _mm512_srli_epi16(z1, 4), 0xca);
    return q6_low6(_mm512_ternarylogic_epi32(_mm512_set1_epi8(15), two, _mm512_srli_epi16(z2, 2), 0xca));
}
TN_K_INLINE tn_rows_i q6_zero(void) { return _mm512_setzero_si512(); }

// -32 times the sum of each 16 activations: from what q6_times_32 makes of 64 of them, four lanes for each 16, added by q6_add.
TN_K_INLINE void q6_corrections(const int8_t *x, int32_t *out)
{
    __m512i fours[4]; // vector i has the lanes of sums 4i .. 4i+3, one sum in each 128 bits
    TN_K_UNROLL
    for (unsigned i = 0; i < 4; i++) fours[i] = q6_times_32(_mm512_loadu_si512(x + 64 * i));
    const __m512i ab = q6_add(_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[0], fours[1]));
    const __m512i cd = q6_add(_mm512_unpacklo_epi32(fours[2], fours[3]), _mm512_unpackhi_epi32(fours[2], fours[3]));
    const __m512i sums = q6_add(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd)); // sum 4i + g in lane 4g + i
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    _mm512_storeu_si512(out, _mm512_permutexvar_epi32(order, q6_negative(sums)));
}

#endif
