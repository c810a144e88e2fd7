// IQ1_BN, IQ2_BN and IQ2_BN_R4: rows of 64-element blocks, each row with a scale of its own.
//
// IQ1_BN: f16 scale, then 13 bytes a block: four groups of 16 elements, of which 15 lie five to a byte as a base-3 fraction, least
// significant digit first, and the last in a digit of the 13th byte. IQ2_BN: f32 scale, then 16 bytes a block, element 16f + j in bits 2f
// of byte j. IQ2_BN_R4: four rows interleaved: their f32 scales, then 64 bytes a block, byte 16l + 4k + i with elements 16l + 4f + i of row
// k in bits 2f.
#include "format/dense.h"
#include "format/ternary_internal.h"

enum { BLOCK = 64, IQ1_BYTES = 13, IQ2_BYTES = 16, R4_BYTES = 64, ROWS4 = 4 };

static const uint8_t DIGIT_FACTOR[5] = {81, 27, 9, 3, 1};

// Where a row's (for IQ2_BN_R4: its four rows') bytes begin.
static size_t row_at(const tn_ternary_tensor *t, uint32_t row)
{
    const size_t bytes = tn_dtype_row_bytes(t->dtype, t->n_cols);
    return t->dtype == TN_DTYPE_IQ2_BN_R4 ? bytes * (row / ROWS4 * ROWS4) : bytes * row;
}

float tn_bn_row_scale(const tn_ternary_tensor *t, uint32_t row)
{
    const uint8_t *at = t->data + row_at(t, row);
    if (t->dtype == TN_DTYPE_IQ1_BN) return tn_f16_to_f32(tn_ternary_load_u16(at));
    float scale;
    memcpy(&scale, at + (t->dtype == TN_DTYPE_IQ2_BN_R4 ? row % ROWS4 * sizeof(scale) : 0), sizeof(scale));
    return scale;
}

// Digit `k` of the fraction in `byte`. Every byte gives valid digits.
static int digit(uint8_t byte, size_t k)
{
    const unsigned shifted = (unsigned)byte * DIGIT_FACTOR[k] & 0xffu;
    return (int)(shifted * 3 >> 8);
}

static void iq1_read_row(const uint8_t *src, size_t n_cols, int sign, int8_t *codes)
{
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        const uint8_t *s = src + b * IQ1_BYTES;
        int8_t *c = codes + b * BLOCK;
        for (size_t g = 0; g < 4; g++) {
            for (size_t e = 0; e < 15; e++) c[16 * g + e] = (int8_t)(sign * (digit(s[3 * g + e / 5], e % 5) - 1));
            c[16 * g + 15] = (int8_t)(sign * (digit(s[12], g) - 1));
        }
    }
}

static unsigned iq2_read_row(const uint8_t *src, size_t n_cols, int sign, int8_t *codes)
{
    unsigned bad = 0;
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        const uint8_t *s = src + b * IQ2_BYTES;
        int8_t *c = codes + b * BLOCK;
        for (size_t j = 0; j < 16; j++) {
            const unsigned v = s[j];
            bad |= v & v >> 1 & 0x55u;
            for (size_t f = 0; f < 4; f++) c[16 * f + j] = (int8_t)(sign * ((int)(v >> 2 * f & 3) - 1));
        }
    }
    return bad;
}

static unsigned r4_read_row(const uint8_t *src, size_t k, size_t n_cols, int sign, int8_t *codes)
{
    unsigned bad = 0;
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        const uint8_t *s = src + b * R4_BYTES + 4 * k;
        int8_t *c = codes + b * BLOCK;
        for (size_t l = 0; l < 4; l++) {
            for (size_t i = 0; i < 4; i++) {
                const unsigned v = s[16 * l + i];
                bad |= v & v >> 1 & 0x55u;
                for (size_t f = 0; f < 4; f++) c[16 * l + 4 * f + i] = (int8_t)(sign * ((int)(v >> 2 * f & 3) - 1));
            }
        }
    }
    return bad;
}

unsigned tn_bn_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes)
{
    unsigned bad = 0;
    for (uint32_t r = row; r < row + n; r++, codes += t->n_cols) {
        const int sign = (tn_bn_row_scale(t, r) < 0) != t->negate ? -1 : 1;
        const uint8_t *src = t->data + row_at(t, r);
        switch (t->dtype) {
        case TN_DTYPE_IQ1_BN: iq1_read_row(src + 2, t->n_cols, sign, codes); break;
        case TN_DTYPE_IQ2_BN: bad |= iq2_read_row(src + 4, t->n_cols, sign, codes); break;
        default: bad |= r4_read_row(src + 16, r % ROWS4, t->n_cols, sign, codes); break;
        }
    }
    return bad;
}

// ---- writing ----

// n digits, the first the least significant, as the fraction that `digit` reads back; missing ones count as digit 0.
static uint8_t fraction(const int8_t *codes, size_t stride, size_t n)
{
    unsigned v = 0;
    for (size_t k = n; k-- > 0;) v = v * 3 + (unsigned)(codes[k * stride] + 1);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void iq1_write_row(const int8_t *codes, size_t n_cols, uint8_t *out)
{
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        const int8_t *c = codes + b * BLOCK;
        uint8_t *o = out + b * IQ1_BYTES;
        for (size_t i = 0; i < 12; i++) o[i] = fraction(c + i / 3 * 16 + i % 3 * 5, 1, 5);
        o[12] = fraction(c + 15, 16, 4);
    }
}

static uint8_t four_codes(const int8_t *codes, size_t stride)
{
    return (uint8_t)((codes[0] + 1) | (codes[stride] + 1) << 2 | (codes[2 * stride] + 1) << 4 | (codes[3 * stride] + 1) << 6);
}

static void iq2_write_row(const int8_t *codes, size_t n_cols, uint8_t *out)
{
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        for (size_t j = 0; j < 16; j++) out[b * IQ2_BYTES + j] = four_codes(codes + b * BLOCK + j, 16);
    }
}

static void r4_write_row(const int8_t *codes, size_t k, size_t n_cols, uint8_t *out)
{
    for (size_t b = 0; b < n_cols / BLOCK; b++) {
        for (size_t l = 0; l < 4; l++) {
            for (size_t i = 0; i < 4; i++) out[b * R4_BYTES + 16 * l + 4 * k + i] = four_codes(codes + b * BLOCK + 16 * l + i, 4);
        }
    }
}

void tn_bn_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out)
{
    const uint16_t half = tn_f32_to_f16(scale);
    for (uint32_t r = 0; r < t->n_rows; r++, codes += t->n_cols) {
        uint8_t *dst = out + row_at(t, r);
        switch (t->dtype) {
        case TN_DTYPE_IQ1_BN:
            dst[0] = (uint8_t)(half & 0xff);
            dst[1] = (uint8_t)(half >> 8);
            iq1_write_row(codes, t->n_cols, dst + 2);
            break;
        case TN_DTYPE_IQ2_BN:
            memcpy(dst, &scale, sizeof(scale));
            iq2_write_row(codes, t->n_cols, dst + 4);
            break;
        default:
            memcpy(dst + r % ROWS4 * sizeof(scale), &scale, sizeof(scale));
            r4_write_row(codes, r % ROWS4, t->n_cols, dst + 16);
            break;
        }
    }
}
