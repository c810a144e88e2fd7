// Quantised rows to units, four codes at a time.
#include "backend/pack_units.h"

#include "base/exact_math.h"
#include "format/dense.h"

enum { SMALL_COLS = 32, Q8_0_BYTES = 34, Q4_0_BYTES = 18, Q6_K_BYTES = 210, Q6_K_HIGH = 128, Q6_K_FACTORS = 192, Q6_K_SCALE = 208 };
enum { LOW_UNITS = 8, HIGH_UNITS = 4 };

static uint32_t load_u32(const void *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

static const uint32_t zero_unit[4];

// Units [first, end) that the columns of a last, short block do not fill.
static void store_zeros(const tn_unit_row *row, size_t first, size_t end)
{
    for (size_t u = first; u < end; u++) tn_unit_store(row, u, zero_unit);
}

// Blocks of 32 columns a row has, from block of 256 number `b` on: 8, or what is left.
static size_t n_small(uint32_t n_cols, size_t b)
{
    const size_t left = n_cols / SMALL_COLS - 8 * b;
    return left < 8 ? left : 8;
}

void tn_pack_units_q8_0(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row)
{
    const size_t n_blocks = ((size_t)n_cols + TN_UNIT_BLOCK_COLS - 1) / TN_UNIT_BLOCK_COLS;
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t first = b * TN_Q8_0_UNITS, n = n_small(n_cols, b);
        uint16_t scales[8] = {0};
        for (size_t i = 0; i < n; i++, src += Q8_0_BYTES) {
            memcpy(&scales[i], src, sizeof scales[i]);
            tn_unit_store(row, first + 2 * i, src + 2);
            tn_unit_store(row, first + 2 * i + 1, src + 2 + 16);
        }
        store_zeros(row, first + 2 * n, first + 16);
        tn_unit_store(row, first + 16, scales);
    }
}

// A file's block holds column i and column i + 16 in byte i.
static void q4_0_unit(const uint8_t *codes, uint32_t unit[4])
{
    const uint32_t nibbles = 0x0f0f0f0fu;
    for (size_t s = 0; s < 2; s++) {
        const uint32_t a = load_u32(codes + 8 * s), b = load_u32(codes + 8 * s + 4);
        unit[s] = (a & nibbles) | (b & nibbles) << 4;
        unit[s + 2] = (a >> 4 & nibbles) | (b & ~nibbles);
    }
}

void tn_pack_units_q4_0(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row)
{
    const size_t n_blocks = ((size_t)n_cols + TN_UNIT_BLOCK_COLS - 1) / TN_UNIT_BLOCK_COLS;
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t first = b * TN_Q4_0_UNITS, n = n_small(n_cols, b);
        uint16_t scales[8] = {0};
        for (size_t i = 0; i < n; i++, src += Q4_0_BYTES) {
            uint32_t unit[4];
            memcpy(&scales[i], src, sizeof scales[i]);
            q4_0_unit(src + 2, unit);
            tn_unit_store(row, first + i, unit);
        }
        store_zeros(row, first + n, first + 8);
        tn_unit_store(row, first + 8, scales);
    }
}

// Low 4 and high 2 bits of 128 columns, four in a word. Two quarters of 32 share the file's bytes of low bits, all four those of high ones.
static void q6_k_half(const uint8_t *low, const uint8_t *high, uint32_t words_low[32], uint32_t words_high[32])
{
    for (size_t quarter = 0; quarter < 4; quarter++) {
        for (size_t i = 0; i < 8; i++) {
            words_low[8 * quarter + i] = load_u32(low + 32 * (quarter % 2) + 4 * i) >> (quarter < 2 ? 0 : 4) & 0x0f0f0f0fu;
            words_high[8 * quarter + i] = load_u32(high + 4 * i) >> (2 * quarter) & 0x03030303u;
        }
    }
}

static void q6_k_block(const uint8_t *src, size_t first, const tn_unit_row *row)
{
    uint32_t low[64], high[64], unit[4];
    for (size_t half = 0; half < 2; half++) q6_k_half(src + 64 * half, src + Q6_K_HIGH + 32 * half, low + 32 * half, high + 32 * half);
    for (size_t u = 0; u < LOW_UNITS; u++) {
        for (size_t s = 0; s < 4; s++) unit[s] = low[8 * u + 2 * s] | low[8 * u + 2 * s + 1] << 4;
        tn_unit_store(row, first + u, unit);
    }
    for (size_t u = 0; u < HIGH_UNITS; u++) {
        for (size_t s = 0; s < 4; s++) {
            const uint32_t *w = high + 16 * u + 4 * s;
            unit[s] = w[0] | w[1] << 2 | w[2] << 4 | w[3] << 6;
        }
        tn_unit_store(row, first + LOW_UNITS + u, unit);
    }
    tn_unit_store(row, first + LOW_UNITS + HIGH_UNITS, src + Q6_K_FACTORS);
}

void tn_pack_units_q6_k(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row, uint32_t *scales, size_t scale_step)
{
    for (size_t b = 0; b < n_cols / TN_UNIT_BLOCK_COLS; b++, src += Q6_K_BYTES) {
        q6_k_block(src, b * TN_Q6_K_UNITS, row);
        uint16_t d;
        memcpy(&d, src + Q6_K_SCALE, sizeof d);
        scales[b * scale_step] = tn_bits(tn_fl(tn_f16_to_f32(d)));
    }
}

// f16 needs no FL: its smallest subnormal is 2^-24.
void tn_pack_floats(tn_dtype from, const void *src, tn_dtype to, uint32_t n_cols, uint32_t n_padded, void *dst)
{
    const size_t element_bytes = to == TN_DTYPE_F32 ? 4 : 2;
    if (to == TN_DTYPE_F32) {
        float *v = dst;
        tn_dense_to_f32(from, src, n_cols, v);
        for (uint32_t i = 0; i < n_cols; i++) v[i] = tn_fl(v[i]);
    } else {
        memcpy(dst, src, n_cols * element_bytes);
    }
    if (to == TN_DTYPE_BF16) {
        uint16_t *v = dst;
        for (uint32_t i = 0; i < n_cols; i++) v[i] = (v[i] & 0x7fffu) < (TN_ABS_BITS_2M50 >> 16) ? 0 : v[i];
    }
    memset((uint8_t *)dst + n_cols * element_bytes, 0, (n_padded - n_cols) * element_bytes);
}
