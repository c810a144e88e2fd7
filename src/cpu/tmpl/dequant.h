// Rows of Q4_1, Q5_0, Q5_1, Q4_K and Q5_K to f32, written once over a small vocabulary that the including file defines before it:
// TN_DEQ_WIDTH elements are a tn_deq_codes; tn_deq_low and tn_deq_high make codes of the nibbles of that many bytes, tn_deq_plane takes bit
// j of each byte as their bit 4, tn_deq_lanes bit i of a word for element i; tn_deq_join ors two, tn_deq_store writes ((codes-middle)*scale
// + offset) + 0. TN_DEQUANT_NAME(type) names the functions. FL is the identity here but for the sign of zero, as every value is a multiple
// of 2^-24; adding +0 drops it.
#ifndef TN_CPU_TMPL_DEQUANT_H
#define TN_CPU_TMPL_DEQUANT_H

#include "cpu/tmpl/matmul_half.h"

enum { TN_DEQ_BLOCK = 32, TN_DEQ_HALF = 16, TN_DEQ_K_BLOCK = 256, TN_DEQ_K_FIFTH = 16 };

TN_K_INLINE float tn_deq_half(const uint8_t *p) { return tn_widen_f16(tn_load_u16(p)); }
TN_K_INLINE uint32_t tn_deq_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// A block of 32: 16 bytes of nibbles, low ones first. `fifth`: bits 4 of the codes, element j in bit j, where has_fifth.
TN_K_INLINE void tn_deq_block(const uint8_t *nibbles, const bool has_fifth, uint32_t fifth, const int32_t middle, float scale, float offset,
                              float *y)
{
    for (unsigned j = 0; j < TN_DEQ_HALF; j += TN_DEQ_WIDTH) {
        tn_deq_codes low = tn_deq_low(nibbles + j), high = tn_deq_high(nibbles + j);
        if (has_fifth) {
            low = tn_deq_join(low, tn_deq_lanes(fifth >> j));
            high = tn_deq_join(high, tn_deq_lanes(fifth >> (j + TN_DEQ_HALF)));
        }
        tn_deq_store(y + j, low, middle, scale, offset);
        tn_deq_store(y + j + TN_DEQ_HALF, high, middle, scale, offset);
    }
}

void TN_DEQUANT_NAME(q4_1)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 20, y += TN_DEQ_BLOCK)
        tn_deq_block(row + 4, false, 0, 0, tn_deq_half(row), tn_deq_half(row + 2), y);
}

void TN_DEQUANT_NAME(q5_0)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 22, y += TN_DEQ_BLOCK)
        tn_deq_block(row + 6, true, tn_deq_u32(row + 2), 16, tn_deq_half(row), 0, y);
}

void TN_DEQUANT_NAME(q5_1)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_BLOCK, row += 24, y += TN_DEQ_BLOCK)
        tn_deq_block(row + 8, true, tn_deq_u32(row + 4), 0, tn_deq_half(row), tn_deq_half(row + 2), y);
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

// A pair of sub-blocks shares 32 bytes of nibbles: the even one, j, has the low ones.
TN_K_INLINE void tn_deq_k_pair(const uint8_t *block, const uint8_t *nibbles, const bool fifth, const unsigned j, float *y)
{
    const float d = tn_deq_half(block), dmin = tn_deq_half(block + 2);
    int32_t sc0, mn0, sc1, mn1;
    tn_deq_k_scales(block + 4, j, &sc0, &mn0);
    tn_deq_k_scales(block + 4, j + 1, &sc1, &mn1);
    const float scale0 = d * (float)sc0, offset0 = dmin * (float)mn0, scale1 = d * (float)sc1, offset1 = dmin * (float)mn1;
    for (unsigned l = 0; l < TN_DEQ_BLOCK; l += TN_DEQ_WIDTH) {
        tn_deq_codes low = tn_deq_low(nibbles + l), high = tn_deq_high(nibbles + l);
        if (fifth) {
            low = tn_deq_join(low, tn_deq_plane(block + TN_DEQ_K_FIFTH + l, j));
            high = tn_deq_join(high, tn_deq_plane(block + TN_DEQ_K_FIFTH + l, j + 1));
        }
        tn_deq_store(y + l, low, 0, scale0, -offset0); // a - b is a + (-b)
        tn_deq_store(y + l + TN_DEQ_BLOCK, high, 0, scale1, -offset1);
    }
}

void TN_DEQUANT_NAME(q4_k)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_K_BLOCK, row += 144, y += TN_DEQ_K_BLOCK) {
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j += 2) tn_deq_k_pair(row, row + 16 + 16 * (size_t)j, false, j, y + 32 * (size_t)j);
    }
}

void TN_DEQUANT_NAME(q5_k)(const uint8_t *row, uint32_t n, float *y)
{
    for (; n > 0; n -= TN_DEQ_K_BLOCK, row += 176, y += TN_DEQ_K_BLOCK) {
        TN_K_UNROLL
        for (unsigned j = 0; j < 8; j += 2) tn_deq_k_pair(row, row + 48 + 16 * (size_t)j, true, j, y + 32 * (size_t)j);
    }
}

#endif
