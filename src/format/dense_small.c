// Q4_0, Q4_1, Q5_0, Q5_1: blocks of 32 codes of 4 or 5 bits with an f16 scale and, in the _1 types, an f16 offset.
// Q4_0: d, 16 bytes. Q4_1: d, m, 16 bytes. Q5_0: d, u32 of fifth bits, 16 bytes. Q5_1: d, m, fifth bits, 16 bytes. The low nibble of byte
// j is element j, the high one element j + 16.
#include "format/dense_internal.h"

enum { ELEMENTS = 32, HALF = 16 };

typedef struct small_type {
    bool offset;              // x = d*q + m instead of d*(q - middle)
    bool fifth;               // has fifth bits
    size_t bits_at, codes_at; // bytes from the block's start
    size_t bytes;
    int middle, max; // of the codes
} small_type;

static small_type type_of(tn_dtype dtype)
{
    switch (dtype) {
    case TN_DTYPE_Q4_0: return (small_type){.codes_at = 2, .bytes = 18, .middle = 8, .max = 15};
    case TN_DTYPE_Q4_1: return (small_type){.offset = true, .codes_at = 4, .bytes = 20, .max = 15};
    case TN_DTYPE_Q5_0: return (small_type){.fifth = true, .bits_at = 2, .codes_at = 6, .bytes = 22, .middle = 16, .max = 31};
    default: return (small_type){.offset = true, .fifth = true, .bits_at = 4, .codes_at = 8, .bytes = 24, .max = 31};
    }
}

static uint32_t load_u32(const uint8_t *p) { return (uint32_t)tn_dense_load_u16(p) | (uint32_t)tn_dense_load_u16(p + 2) << 16; }

static void read_codes(const small_type *type, const uint8_t *block, int codes[ELEMENTS])
{
    const uint32_t fifth = type->fifth ? load_u32(block + type->bits_at) : 0;
    for (size_t j = 0; j < HALF; j++) {
        const unsigned byte = block[type->codes_at + j];
        codes[j] = (int)((byte & 15u) | (fifth >> j & 1u) << 4);
        codes[j + HALF] = (int)(byte >> 4 | (fifth >> (j + HALF) & 1u) << 4);
    }
}

void tn_dense_small_to_f32(tn_dtype dtype, const uint8_t *src, size_t n, float *dst)
{
    const small_type type = type_of(dtype);
    for (size_t b = 0; b < n / ELEMENTS; b++) {
        const uint8_t *block = src + b * type.bytes;
        const float d = tn_f16_to_f32(tn_dense_load_u16(block));
        const float m = type.offset ? tn_f16_to_f32(tn_dense_load_u16(block + 2)) : 0;
        int codes[ELEMENTS];
        read_codes(&type, block, codes);
        for (size_t j = 0; j < ELEMENTS; j++) {
            const float product = d * (float)(codes[j] - type.middle);
            dst[b * ELEMENTS + j] = type.offset ? product + m : product;
        }
    }
}

static void write_codes(const small_type *type, const int codes[ELEMENTS], uint8_t *block)
{
    uint32_t fifth = 0;
    for (size_t j = 0; j < HALF; j++) {
        const unsigned low = (unsigned)codes[j], high = (unsigned)codes[j + HALF];
        block[type->codes_at + j] = (uint8_t)((low & 15u) | (high & 15u) << 4);
        fifth |= (low >> 4) << j | (high >> 4) << (j + HALF);
    }
    if (!type->fifth) return;
    tn_dense_store_u16(block + type->bits_at, (uint16_t)(fifth & 0xffffu));
    tn_dense_store_u16(block + type->bits_at + 2, (uint16_t)(fifth >> 16));
}

tn_status tn_dense_small_from_f32(tn_dtype dtype, const float *src, size_t n, uint8_t *dst)
{
    const small_type type = type_of(dtype);
    for (size_t b = 0; b < n / ELEMENTS; b++) {
        const float *x = src + b * ELEMENTS;
        uint8_t *block = dst + b * type.bytes;
        tn_dense_affine fit = {0, 0};
        if (type.offset) {
            fit = tn_dense_fit_affine(x, ELEMENTS, type.max, false);
        } else {
            fit.scale = tn_dense_fit_symmetric(x, ELEMENTS, type.middle, 0.1f);
        }
        const uint16_t d16 = tn_f32_to_f16(fit.scale);
        const uint16_t m16 = tn_f32_to_f16((d16 & 0x7fff) == 0 && type.offset ? tn_dense_mean(x, ELEMENTS) : fit.min);
        const float d = tn_f16_to_f32(d16), m = tn_f16_to_f32(m16);
        if (!tn_dense_is_finite(d) || !tn_dense_is_finite(m))
            return tn_dense_fail_too_large(b * ELEMENTS, fit.scale, tn_dtype_get(dtype)->name);
        tn_dense_store_u16(block, d16);
        if (type.offset) tn_dense_store_u16(block + 2, m16);
        int codes[ELEMENTS];
        // Codes against the rounded scale and offset, so that their rounding costs nothing but the clamp at the ends.
        for (size_t j = 0; j < ELEMENTS; j++)
            codes[j] = d == 0 ? type.middle : tn_dense_code((x[j] - m) / d + (float)type.middle, type.max);
        write_codes(&type, codes, block);
    }
    return TN_OK;
}
