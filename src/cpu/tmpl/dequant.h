// Rows of Q4_1, Q5_0, Q5_1, Q4_K and Q5_K to f32, in plain loops of 32 that compilers turn into vectors of any width. The including file
// defines TN_DEQUANT_NAME(type). FL is the identity here but for the sign of zero: every value is a multiple of 2^-24.
#ifndef TN_CPU_TMPL_DEQUANT_H
#define TN_CPU_TMPL_DEQUANT_H

#include "cpu/tmpl/matmul_common.h"
#include "cpu/tmpl/matmul_half.h"

enum { TN_DEQ_BLOCK = 32, TN_DEQ_K_BLOCK = 256, TN_DEQ_K_FIFTH = 16 };

TN_K_INLINE float tn_deq_half(const uint8_t *p) { return tn_widen_f16(tn_load_u16(p)); }

// Low nibbles, then high ones; `fifth`: bits 4, of element j in bit j, or NULL.
TN_K_INLINE void tn_deq_codes(const uint8_t *nibbles, const uint8_t *fifth, int32_t codes[TN_DEQ_BLOCK])
{
    for (unsigned j = 0; j < TN_DEQ_BLOCK / 2; j++) {
        codes[j] = nibbles[j] & 15;
        codes[j + TN_DEQ_BLOCK / 2] = nibbles[j] >> 4;
    }
    if (fifth == NULL) return;
    uint32_t bits;
    memcpy(&bits, fifth, sizeof bits);
    for (unsigned j = 0; j < TN_DEQ_BLOCK; j++) codes[j] |= (int32_t)(bits >> j & 1u) << 4;
}

void TN_DEQUANT_NAME(q4_1)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 20, y += TN_DEQ_BLOCK) {
        const float d = tn_deq_half(row), m = tn_deq_half(row + 2);
        int32_t codes[TN_DEQ_BLOCK];
        tn_deq_codes(row + 4, NULL, codes);
        for (unsigned j = 0; j < TN_DEQ_BLOCK; j++) y[j] = tn_fl((d * (float)codes[j]) + m);
    }
}

void TN_DEQUANT_NAME(q5_0)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 22, y += TN_DEQ_BLOCK) {
        const float d = tn_deq_half(row);
        int32_t codes[TN_DEQ_BLOCK];
        tn_deq_codes(row + 6, row + 2, codes);
        for (unsigned j = 0; j < TN_DEQ_BLOCK; j++) y[j] = tn_fl(d * (float)(codes[j] - 16));
    }
}

void TN_DEQUANT_NAME(q5_1)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 24, y += TN_DEQ_BLOCK) {
        const float d = tn_deq_half(row), m = tn_deq_half(row + 2);
        int32_t codes[TN_DEQ_BLOCK];
        tn_deq_codes(row + 8, row + 4, codes);
        for (unsigned j = 0; j < TN_DEQ_BLOCK; j++) y[j] = tn_fl((d * (float)codes[j]) + m);
    }
}

// The six-bit scale and offset of sub-block j: of 0-3 in bytes j and j + 4, of 4-7 in the nibbles of byte j + 4 and the tops of the others.
TN_K_INLINE void tn_deq_k_scales(const uint8_t *s, unsigned j, int32_t *sc, int32_t *mn)
{
    if (j < 4) {
        *sc = s[j] & 63;
        *mn = s[j + 4] & 63;
    } else {
        *sc = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *mn = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

// A pair of sub-blocks shares 32 bytes of nibbles: the even one has the low ones.
TN_K_INLINE void tn_deq_k_pair(const uint8_t *block, const uint8_t *nibbles, const bool fifth, unsigned j, float *y)
{
    const float d = tn_deq_half(block), dmin = tn_deq_half(block + 2);
    int32_t sc0, mn0, sc1, mn1;
    tn_deq_k_scales(block + 4, j, &sc0, &mn0);
    tn_deq_k_scales(block + 4, j + 1, &sc1, &mn1);
    const float scale0 = d * (float)sc0, offset0 = dmin * (float)mn0, scale1 = d * (float)sc1, offset1 = dmin * (float)mn1;
    for (unsigned l = 0; l < TN_DEQ_BLOCK; l++) {
        int32_t low = nibbles[l] & 15, high = nibbles[l] >> 4;
        if (fifth) {
            low |= (block[TN_DEQ_K_FIFTH + l] >> j & 1) << 4;
            high |= (block[TN_DEQ_K_FIFTH + l] >> (j + 1) & 1) << 4;
        }
        y[l] = tn_fl((scale0 * (float)low) - offset0);
        y[l + TN_DEQ_BLOCK] = tn_fl((scale1 * (float)high) - offset1);
    }
}

void TN_DEQUANT_NAME(q4_k)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_K_BLOCK, row += 144, y += TN_DEQ_K_BLOCK) {
        for (unsigned j = 0; j < 8; j += 2) tn_deq_k_pair(row, row + 16 + 16 * (size_t)j, false, j, y + 32 * (size_t)j);
    }
}

void TN_DEQUANT_NAME(q5_k)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_K_BLOCK, row += 176, y += TN_DEQ_K_BLOCK) {
        for (unsigned j = 0; j < 8; j += 2) tn_deq_k_pair(row, row + 48 + 16 * (size_t)j, true, j, y + 32 * (size_t)j);
    }
}

#endif
