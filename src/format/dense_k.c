// Q4_K, Q5_K: blocks of 256 codes of 4 or 5 bits in eight sub-blocks of 32, each with a 6-bit scale and a 6-bit offset.
// Q4_K: f16 d, f16 dmin, 12 bytes of scales and offsets, 128 bytes of codes. Q5_K has 32 bytes of fifth bits before the codes.
// x = ((d*sc)*q) - (dmin*mn); both products are exact in f32, so the value is rounded once.
#include "format/dense_internal.h"

enum { ELEMENTS = 256, SUB = 32, SUBS = ELEMENTS / SUB, SCALES_AT = 4, FIFTH_AT = 16, SIX_BITS = 63 };

typedef struct k_type {
    bool fifth;
    size_t codes_at, bytes;
    int max;
} k_type;

static k_type type_of(tn_dtype dtype)
{
    if (dtype == TN_DTYPE_Q4_K) return (k_type){.codes_at = 16, .bytes = 144, .max = 15};
    return (k_type){.fifth = true, .codes_at = 48, .bytes = 176, .max = 31};
}

// Sub-blocks 0-3 have bytes of their own for the low six bits; 4-7 share four bits a byte and take two from the tops of the others.
static void read_scales(const uint8_t *s, int sc[SUBS], int mn[SUBS])
{
    for (size_t j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        mn[j] = s[j + 4] & 63;
        sc[j + 4] = (s[j + 8] & 15) | s[j] >> 6 << 4;
        mn[j + 4] = s[j + 8] >> 4 | s[j + 4] >> 6 << 4;
    }
}

static void write_scales(const int sc[SUBS], const int mn[SUBS], uint8_t *s)
{
    for (size_t j = 0; j < 4; j++) {
        s[j] = (uint8_t)(sc[j] | sc[j + 4] >> 4 << 6);
        s[j + 4] = (uint8_t)(mn[j] | mn[j + 4] >> 4 << 6);
        s[j + 8] = (uint8_t)((sc[j + 4] & 15) | (mn[j + 4] & 15) << 4);
    }
}

void tn_dense_k_to_f32(tn_dtype dtype, const uint8_t *src, size_t n, float *dst)
{
    const k_type type = type_of(dtype);
    for (size_t b = 0; b < n / ELEMENTS; b++) {
        const uint8_t *block = src + b * type.bytes;
        const float d = tn_f16_to_f32(tn_dense_load_u16(block)), dmin = tn_f16_to_f32(tn_dense_load_u16(block + 2));
        int sc[SUBS], mn[SUBS];
        read_scales(block + SCALES_AT, sc, mn);
        for (size_t j = 0; j < SUBS; j++) {
            const float scale = d * (float)sc[j], offset = dmin * (float)mn[j];
            const uint8_t *codes = block + type.codes_at + SUB * (j / 2);
            float *y = dst + b * ELEMENTS + j * SUB;
            for (size_t l = 0; l < SUB; l++) {
                unsigned q = j % 2 == 0 ? codes[l] & 15u : (unsigned)codes[l] >> 4;
                if (type.fifth) q |= ((unsigned)block[FIFTH_AT + l] >> j & 1u) << 4;
                y[l] = (scale * (float)q) - offset;
            }
        }
    }
}

// The f16 of the largest of eight numbers, where it is positive, divided by 63, so that it becomes code 63.
static uint16_t step_of(const float wanted[SUBS])
{
    float widest = 0;
    for (size_t j = 0; j < SUBS; j++) {
        if (wanted[j] > widest) widest = wanted[j];
    }
    return tn_f32_to_f16(widest / (float)SIX_BITS);
}

static void write_codes(const k_type *type, const float *x, float d, float dmin, const int sc[SUBS], const int mn[SUBS], uint8_t *block)
{
    for (size_t j = 0; j < SUBS; j++) {
        const float scale = d * (float)sc[j], offset = dmin * (float)mn[j];
        uint8_t *codes = block + type->codes_at + SUB * (j / 2);
        for (size_t l = 0; l < SUB; l++) {
            const unsigned q = scale == 0 ? 0 : (unsigned)tn_dense_code((x[j * SUB + l] + offset) / scale, type->max);
            codes[l] = (uint8_t)(codes[l] | (q & 15u) << (j % 2 == 0 ? 0 : 4));
            if (type->fifth) block[FIFTH_AT + l] = (uint8_t)(block[FIFTH_AT + l] | q >> 4 << j);
        }
    }
}

tn_status tn_dense_k_from_f32(tn_dtype dtype, const float *src, size_t n, uint8_t *dst)
{
    const k_type type = type_of(dtype);
    for (size_t b = 0; b < n / ELEMENTS; b++) {
        const float *x = src + b * ELEMENTS;
        uint8_t *block = dst + b * type.bytes;
        float scales[SUBS], offsets[SUBS];
        for (size_t j = 0; j < SUBS; j++) {
            const tn_dense_affine fit = tn_dense_fit_affine(x + j * SUB, SUB, type.max, true);
            scales[j] = fit.scale;
            offsets[j] = -fit.min;
        }
        const uint16_t d16 = step_of(scales);
        const float d = tn_f16_to_f32(d16);
        int sc[SUBS], mn[SUBS];
        for (size_t j = 0; j < SUBS; j++) {
            sc[j] = d == 0 ? 0 : tn_dense_code(scales[j] / d, SIX_BITS);
            if (sc[j] == 0) offsets[j] = -tn_dense_mean(x + j * SUB, SUB);
        }
        const uint16_t dmin16 = step_of(offsets);
        const float dmin = tn_f16_to_f32(dmin16);
        if (!tn_dense_is_finite(d) || !tn_dense_is_finite(dmin))
            return tn_dense_fail_too_large(b * ELEMENTS, x[0], tn_dtype_get(dtype)->name);
        for (size_t j = 0; j < SUBS; j++) mn[j] = dmin == 0 ? 0 : tn_dense_code(offsets[j] / dmin, SIX_BITS);
        memset(block, 0, type.bytes);
        tn_dense_store_u16(block, d16);
        tn_dense_store_u16(block + 2, dmin16);
        write_scales(sc, mn, block + SCALES_AT);
        write_codes(&type, x, d, dmin, sc, mn, block);
    }
    return TN_OK;
}
