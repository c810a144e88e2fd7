// The code of layout T5_16: five ternary codes c0..c4 (t + 1, so 0..2) in a byte.
//
// The first four are a state s = c0 + 3 c1 + 9 c2 + 27 c3 (0..80); mirroring them (2 - c) gives 80 - s. A byte v has c4 = v / 85, and s by
// its low seven bits alone, so that one look-up among 128 finds it: 0-40 and 42-81 are states 0-40 and 41-80, 85-125 states 40-80; bytes
// from 213 on have the mirrored state. Each c4 meets all 81 states so:
//   c4 = 0: v = s (s <= 40), s + 1        c4 = 1: v = s + 128 (s < 40), s + 45        c4 = 2: v = 253 - s (s <= 40), s + 129
// Bytes that none of these gives are no error: they read as some codes.
#ifndef TN_CPU_T5_H
#define TN_CPU_T5_H

#include <stdint.h>

enum { TN_T5_FIFTH = 85, TN_T5_MIRRORED = 213, TN_T5_STATE_MAX = 80 };

// Fields of two bits, c0 lowest, of each low-seven-bits value.
#define TN_T5_STATE(s) (uint8_t)((s) % 3 | (s) / 3 % 3 << 2 | (s) / 9 % 3 << 4 | (s) / 27 << 6)
#define TN_T5_5(s)     TN_T5_STATE(s), TN_T5_STATE((s) + 1), TN_T5_STATE((s) + 2), TN_T5_STATE((s) + 3), TN_T5_STATE((s) + 4)
#define TN_T5_40(s)                                                                                                                        \
    TN_T5_5(s), TN_T5_5((s) + 5), TN_T5_5((s) + 10), TN_T5_5((s) + 15), TN_T5_5((s) + 20), TN_T5_5((s) + 25), TN_T5_5((s) + 30),           \
        TN_T5_5((s) + 35)
// clang-format off
#define TN_T5_FIELDS {TN_T5_40(0), TN_T5_STATE(40), TN_T5_STATE(40), \
                      TN_T5_40(41), TN_T5_STATE(80), TN_T5_STATE(80), TN_T5_STATE(80), \
                      TN_T5_STATE(40), TN_T5_40(41), TN_T5_STATE(80), TN_T5_STATE(80)}
// clang-format on

// Eight bytes at a time: states and fifth codes, a byte each, to the layout's bytes.
static inline uint64_t tn_t5_bytes(uint64_t states, uint64_t fifths)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t above = ((states + 87 * ones) >> 7) & ones, from = ((states + 88 * ones) >> 7) & ones; // > 40, >= 40
    const uint64_t first = states + above, second = states + 128 * ones - 83 * from;
    const uint64_t is_above = above * 255u, third = (is_above & (states + 129 * ones)) | (~is_above & (253 * ones - states));
    const uint64_t is_second = (fifths & ones) * 255u, is_third = ((fifths >> 1) & ones) * 255u;
    return (~(is_second | is_third) & first) | (is_second & second) | (is_third & third);
}

// The five codes of a byte.
static inline void tn_t5_codes(uint8_t v, uint8_t codes[5])
{
    const unsigned low = v & 127u;
    unsigned s = low <= 40 ? low : low < TN_T5_FIFTH ? low - 1 : low - 45;
    if (v >= TN_T5_MIRRORED) s = TN_T5_STATE_MAX - s;
    for (unsigned i = 0; i < 4; i++, s /= 3) codes[i] = (uint8_t)(s % 3);
    codes[4] = (uint8_t)(v / TN_T5_FIFTH);
}

#endif
