// I2_S in its byte orders, TQ1_0 and TQ2_0: codes of a file to -1, 0, +1 and back.
#include "format/dense.h"
#include "format/ternary_internal.h"

enum {
    I2S_TAIL = 32, // bytes after the codes: the scale as f32, then zeros
    TQ_BLOCK = 256,
    TQ1_BYTES = 54, // 48 bytes of five digits, 4 of four, f16 scale
    TQ2_BYTES = 66, // 64 bytes of four codes, f16 scale
};

static const uint8_t POW3[5] = {1, 3, 9, 27, 81};

// ---- I2_S ----

// Eight bytes at a time, so that packing a model is bound by memory and not by this file on any processor. Loads and stores are memcpy: the
// order of the bytes in a word does not matter, each goes back to where it came from.
#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

static uint64_t load8(const uint8_t *src)
{
    uint64_t v;
    memcpy(&v, src, sizeof v);
    return v;
}

// Codes 0, 1, 2 (and 3) of eight bytes as values -1, 0, 1 (and 2), or their negatives. Bit 7 keeps each byte's borrow to itself.
static void store_values(uint64_t v, bool negate, int8_t *dst)
{
    v = (negate ? BYTES(0x81) - v : (v | BYTES(0x80)) - BYTES(0x01)) ^ BYTES(0x80);
    memcpy(dst, &v, sizeof v);
}

// The four codes of each of `n` bytes, a multiple of 8; those at bits 6, 4, 2, 0 go to codes[0], codes[step], codes[2 step], codes[3 step]
// and what follows them. Returns set bits where a code is 3.
static uint64_t split_bytes(const uint8_t *restrict src, size_t n, bool negate, int8_t *restrict codes, ptrdiff_t step)
{
    uint64_t bad = 0;
    for (size_t m = 0; m < n; m += 8, codes += 8) {
        const uint64_t v = load8(src + m);
        bad |= v & v >> 1 & BYTES(0x55);
        store_values(v >> 6 & BYTES(3), negate, codes);
        store_values(v >> 4 & BYTES(3), negate, codes + step);
        store_values(v >> 2 & BYTES(3), negate, codes + 2 * step);
        store_values(v & BYTES(3), negate, codes + 3 * step);
    }
    return bad;
}

// Four neighbours in a byte, the first in the top bits.
static unsigned split_byte(unsigned v, int sign, int8_t *codes)
{
    for (unsigned k = 0; k < 4; k++) codes[k] = (int8_t)(sign * ((int)(v >> (6 - 2 * k) & 3) - 1));
    return v & v >> 1 & 0x55u;
}
static uint8_t join_byte(const int8_t *codes, size_t stride)
{
    return (uint8_t)((codes[0] + 1) << 6 | (codes[stride] + 1) << 4 | (codes[2 * stride] + 1) << 2 | (codes[3 * stride] + 1));
}

// One row out of four that share their bytes.
static uint64_t rows4_read(const tn_ternary_tensor *t, uint32_t row, int8_t *codes)
{
    const uint8_t *src = t->data + (size_t)(row / 4) * t->n_cols;
    const unsigned shift = 6 - 2 * (row % 4);
    const size_t whole = t->n_cols & ~(size_t)7;
    uint64_t bad = 0;
    for (size_t k = 0; k < whole; k += 8) {
        const uint64_t v = load8(src + k) >> shift & BYTES(3);
        bad |= v & v >> 1 & BYTES(1);
        store_values(v, t->negate, codes + k);
    }
    for (size_t k = whole; k < t->n_cols; k++) {
        const unsigned code = src[k] >> shift & 3u;
        bad |= code & code >> 1;
        codes[k] = (int8_t)((t->negate ? -1 : 1) * ((int)code - 1));
    }
    return bad;
}

unsigned tn_i2s_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes)
{
    uint64_t bad = 0;
    if (t->i2s_layout == TN_I2S_ROWS4) {
        for (uint32_t r = row; r < row + n; r++, codes += t->n_cols) bad |= rows4_read(t, r, codes);
        return bad != 0;
    }
    const size_t stride = tn_i2s_block(t->i2s_layout) / 4, bytes = (size_t)n * t->n_cols / 4;
    const uint8_t *src = t->data + (size_t)row * t->n_cols / 4;
    if (stride == 1) {
        for (size_t b = 0; b < bytes; b++) bad |= split_byte(src[b], t->negate ? -1 : 1, codes + 4 * b);
    } else {
        for (size_t b = 0; b < bytes; b += stride) bad |= split_bytes(src + b, stride, t->negate, codes + 4 * b, (ptrdiff_t)stride);
    }
    return bad != 0;
}

void tn_i2s_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out)
{
    const size_t n = (size_t)t->n_rows * t->n_cols, stride = tn_i2s_block(t->i2s_layout) / 4;
    if (t->i2s_layout == TN_I2S_ROWS4) {
        for (size_t at = 0; at < n / 4; at++) out[at] = join_byte(codes + at / t->n_cols * 4 * t->n_cols + at % t->n_cols, t->n_cols);
    } else {
        for (size_t at = 0; at < n / 4; at++) out[at] = join_byte(codes + at / stride * 4 * stride + at % stride, stride);
    }
    memset(out + n / 4, 0, I2S_TAIL);
    memcpy(out + n / 4, &scale, sizeof(scale));
}

// ---- TQ1_0, TQ2_0 ----

// The first code is in the low bits: the parts are written from the last to the first.
static uint64_t tq2_unpack(const uint8_t *src, size_t n, bool negate, int8_t *codes)
{
    uint64_t bad = 0;
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        for (size_t h = 0; h < 2; h++)
            bad |= split_bytes(src + b * TQ2_BYTES + h * 32, 32, negate, codes + b * TQ_BLOCK + h * 128 + 96, -32);
    }
    return bad;
}

// Digit `k` of the base-3 fraction in `byte`, most significant first. Every byte gives valid digits.
static int tq1_digit(uint8_t byte, size_t k)
{
    const unsigned shifted = (unsigned)byte * POW3[k] & 0xffu;
    return (int)(shifted * 3 >> 8);
}

// The same of four bytes, each in 16 bits: 255 * 81 needs no more.
static uint64_t tq1_digit4(uint64_t bytes, size_t k)
{
    const uint64_t low = UINT64_C(0x00ff00ff00ff00ff);
    return (bytes * POW3[k] & low) * 3 >> 8 & low;
}

// Digit k of src[0..n) goes to codes[k n ..), n a multiple of 8.
static void tq1_digits(const uint8_t *restrict src, size_t n, bool negate, int8_t *restrict codes)
{
    const uint64_t low = UINT64_C(0x00ff00ff00ff00ff);
    for (size_t m = 0; m < n; m += 8) {
        const uint64_t v = load8(src + m), even = v & low, odd = v >> 8 & low;
        for (size_t k = 0; k < 5; k++) store_values(tq1_digit4(even, k) | tq1_digit4(odd, k) << 8, negate, codes + k * n + m);
    }
}

static void tq1_unpack(const uint8_t *src, size_t n, bool negate, int8_t *codes)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        const uint8_t *s = src + b * TQ1_BYTES;
        int8_t *c = codes + b * TQ_BLOCK;
        tq1_digits(s, 32, negate, c);
        tq1_digits(s + 32, 16, negate, c + 160);
        for (size_t k = 0; k < 4; k++) {
            for (size_t m = 0; m < 4; m++) c[240 + k * 4 + m] = (int8_t)((negate ? -1 : 1) * (tq1_digit(s[48 + m], k) - 1));
        }
    }
}

unsigned tn_tq_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes)
{
    const size_t count = (size_t)n * t->n_cols, first = (size_t)row * t->n_cols / TQ_BLOCK;
    if (t->dtype == TN_DTYPE_TQ2_0) return tq2_unpack(t->data + first * TQ2_BYTES, count, t->negate, codes) != 0;
    tq1_unpack(t->data + first * TQ1_BYTES, count, t->negate, codes);
    return 0;
}

bool tn_tq_block_is_zero(tn_dtype dtype, const uint8_t *block)
{
    if (dtype == TN_DTYPE_TQ2_0) {
        for (size_t i = 0; i < 64; i++) {
            if (block[i] != 0x55) return false;
        }
        return true;
    }
    // 0x80 is the one byte whose five digits are all 1; of the last four bytes only four digits count.
    for (size_t i = 0; i < 48; i++) {
        if (block[i] != 0x80) return false;
    }
    for (size_t i = 48; i < 52; i++) {
        for (size_t k = 0; k < 4; k++) {
            if (tq1_digit(block[i], k) != 1) return false;
        }
    }
    return true;
}

static void tq2_pack(const int8_t *codes, size_t n, uint16_t d, uint8_t *out)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        uint8_t *o = out + b * TQ2_BYTES;
        for (size_t h = 0; h < 2; h++) {
            const int8_t *c = codes + b * TQ_BLOCK + h * 128;
            for (size_t m = 0; m < 32; m++) {
                o[h * 32 + m] = (uint8_t)((c[m] + 1) | (c[m + 32] + 1) << 2 | (c[m + 64] + 1) << 4 | (c[m + 96] + 1) << 6);
            }
        }
        o[64] = (uint8_t)(d & 0xff);
        o[65] = (uint8_t)(d >> 8);
    }
}

// Up to five digits, `stride` apart, as the fraction that tq1_digit reads back; missing ones count as digit 0.
static uint8_t tq1_byte(const int8_t *codes, size_t stride, size_t n_digits)
{
    unsigned v = 0;
    for (size_t k = 0; k < 5; k++) v = v * 3 + (k < n_digits ? (unsigned)(codes[k * stride] + 1) : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void tq1_pack(const int8_t *codes, size_t n, uint16_t d, uint8_t *out)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        const int8_t *c = codes + b * TQ_BLOCK;
        uint8_t *o = out + b * TQ1_BYTES;
        for (size_t m = 0; m < 32; m++) o[m] = tq1_byte(c + m, 32, 5);
        for (size_t m = 0; m < 16; m++) o[32 + m] = tq1_byte(c + 160 + m, 16, 5);
        for (size_t m = 0; m < 4; m++) o[48 + m] = tq1_byte(c + 240 + m, 4, 4);
        o[52] = (uint8_t)(d & 0xff);
        o[53] = (uint8_t)(d >> 8);
    }
}

void tn_tq_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out)
{
    const size_t n = (size_t)t->n_rows * t->n_cols;
    if (t->dtype == TN_DTYPE_TQ2_0) {
        tq2_pack(codes, n, tn_f32_to_f16(scale), out);
    } else {
        tq1_pack(codes, n, tn_f32_to_f16(scale), out);
    }
}
