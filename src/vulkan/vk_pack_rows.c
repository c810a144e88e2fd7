// Ternary and quantised rows to units, four codes at a time.
#include "vulkan/vk_pack_rows.h"

#include "base/exact_math.h"
#include "format/dense.h"

enum { SMALL_COLS = 32, Q8_0_BYTES = 34, Q4_0_BYTES = 18, Q6_K_BYTES = 210, Q6_K_HIGH = 128, Q6_K_FACTORS = 192, Q6_K_SCALE = 208 };
enum { CHUNK_COLS = 64, LOW_UNITS = 8, HIGH_UNITS = 4 };

static uint32_t load_u32(const void *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

// 64 values as codes 0, 1, 2.
static void pack_chunk(const int8_t values[CHUNK_COLS], uint32_t unit[4])
{
    const uint32_t ones = 0x01010101u;
    for (size_t s = 0; s < 4; s++) {
        uint32_t word = 0;
        // -1 is 0xff: of v + 1 without carries between bytes the low two bits are right.
        for (size_t i = 0; i < 4; i++) word |= (((load_u32(values + 16 * s + 4 * i) & 3 * ones) + ones) & 3 * ones) << (2 * i);
        unit[s] = word;
    }
}

void tn_vk_pack_ternary(const int8_t *values, uint32_t n_cols, const tn_vk_unit_row *row)
{
    const size_t whole = n_cols / CHUNK_COLS, rest = n_cols % CHUNK_COLS;
    uint32_t unit[4];
    for (size_t c = 0; c < whole; c++) {
        pack_chunk(values + c * CHUNK_COLS, unit);
        tn_vk_unit_store(row, c, unit);
    }
    if (rest == 0) return;
    int8_t last[CHUNK_COLS] = {0};
    memcpy(last, values + whole * CHUNK_COLS, rest);
    pack_chunk(last, unit);
    tn_vk_unit_store(row, whole, unit);
}

static const uint32_t zero_unit[4];

// Units [first, end) that the columns of a last, short block do not fill.
static void store_zeros(const tn_vk_unit_row *row, size_t first, size_t end)
{
    for (size_t u = first; u < end; u++) tn_vk_unit_store(row, u, zero_unit);
}

// Blocks of 32 columns a row has, from block of 256 number `b` on: 8, or what is left.
static size_t n_small(uint32_t n_cols, size_t b)
{
    const size_t left = n_cols / SMALL_COLS - 8 * b;
    return left < 8 ? left : 8;
}

void tn_vk_pack_q8_0(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row)
{
    const size_t n_blocks = ((size_t)n_cols + TN_VK_BLOCK_COLS - 1) / TN_VK_BLOCK_COLS;
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t first = b * TN_VK_Q8_0_UNITS, n = n_small(n_cols, b);
        uint16_t scales[8] = {0};
        for (size_t i = 0; i < n; i++, src += Q8_0_BYTES) {
            memcpy(&scales[i], src, sizeof scales[i]);
            tn_vk_unit_store(row, first + 2 * i, src + 2);
            tn_vk_unit_store(row, first + 2 * i + 1, src + 2 + 16);
        }
        store_zeros(row, first + 2 * n, first + 16);
        tn_vk_unit_store(row, first + 16, scales);
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

void tn_vk_pack_q4_0(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row)
{
    const size_t n_blocks = ((size_t)n_cols + TN_VK_BLOCK_COLS - 1) / TN_VK_BLOCK_COLS;
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t first = b * TN_VK_Q4_0_UNITS, n = n_small(n_cols, b);
        uint16_t scales[8] = {0};
        for (size_t i = 0; i < n; i++, src += Q4_0_BYTES) {
            uint32_t unit[4];
            memcpy(&scales[i], src, sizeof scales[i]);
            q4_0_unit(src + 2, unit);
            tn_vk_unit_store(row, first + i, unit);
        }
        store_zeros(row, first + n, first + 8);
        tn_vk_unit_store(row, first + 8, scales);
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

static void q6_k_block(const uint8_t *src, size_t first, const tn_vk_unit_row *row)
{
    uint32_t low[64], high[64], unit[4];
    for (size_t half = 0; half < 2; half++) q6_k_half(src + 64 * half, src + Q6_K_HIGH + 32 * half, low + 32 * half, high + 32 * half);
    for (size_t u = 0; u < LOW_UNITS; u++) {
        for (size_t s = 0; s < 4; s++) unit[s] = low[8 * u + 2 * s] | low[8 * u + 2 * s + 1] << 4;
        tn_vk_unit_store(row, first + u, unit);
    }
    for (size_t u = 0; u < HIGH_UNITS; u++) {
        for (size_t s = 0; s < 4; s++) {
            const uint32_t *w = high + 16 * u + 4 * s;
            unit[s] = w[0] | w[1] << 2 | w[2] << 4 | w[3] << 6;
        }
        tn_vk_unit_store(row, first + LOW_UNITS + u, unit);
    }
    tn_vk_unit_store(row, first + LOW_UNITS + HIGH_UNITS, src + Q6_K_FACTORS);
}

void tn_vk_pack_q6_k(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row, uint32_t *scales, size_t scale_step)
{
    for (size_t b = 0; b < n_cols / TN_VK_BLOCK_COLS; b++, src += Q6_K_BYTES) {
        q6_k_block(src, b * TN_VK_Q6_K_UNITS, row);
        uint16_t d;
        memcpy(&d, src + Q6_K_SCALE, sizeof d);
        scales[b * scale_step] = tn_bits(tn_fl(tn_f16_to_f32(d)));
    }
}
