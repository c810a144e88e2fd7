// Dense tensor types to f32 and back: integer conversions of 16-bit floats, Q8_0 and Q6_K with their quantisers, and which file has the
// rest.
#include "format/dense_internal.h"

enum {
    Q8_BLOCK = 32,
    Q8_BYTES = 34, // f16 d, 32 i8
    Q6_BLOCK = 256,
    Q6_BYTES = 210, // ql[128], qh[64], scales i8[16], f16 d
    Q6_SUB = 16,    // elements that share an i8 scale
};

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof(f));
    return f;
}

// ---- 16-bit floats ----

float tn_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u;
    uint32_t m = h & 0x3ffu;
    if (e == 31) return float_of(sign | 0x7f800000u | m << 13);
    if (e != 0) return float_of(sign | (e + 112) << 23 | m << 13);
    if (m == 0) return float_of(sign);
    // Subnormal: shift the leading bit up to where a normal number hides it.
    const uint32_t up = (uint32_t)__builtin_clz(m) - 21;
    m = m << up & 0x3ffu;
    return float_of(sign | (113 - up) << 23 | m << 13);
}

uint16_t tn_f32_to_f16(float f)
{
    const uint32_t u = tn_dense_bits(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x1ffu)); // NaN stays NaN
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);                     // 65520 and above round to infinity
    if (a >= 0x38800000u) {                                                      // normal: a carry may move into the exponent, rightly
        return (uint16_t)(sign | (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13);
    }
    if (a <= 0x33000000u) return (uint16_t)sign; // at most 2^-25: the tie goes to zero
    // Subnormal: the mantissa with its hidden bit in units of 2^-24.
    const uint32_t m = (a & 0x7fffffu) | 0x800000u, shift = 126 - (a >> 23);
    const uint32_t half = 1u << (shift - 1), rest = m & ((1u << shift) - 1);
    uint32_t q = m >> shift;
    q += rest > half || (rest == half && (q & 1u));
    return (uint16_t)(sign | q);
}

float tn_bf16_to_f32(uint16_t b) { return float_of((uint32_t)b << 16); }

static uint16_t f32_to_bf16(float f)
{
    const uint32_t u = tn_dense_bits(f);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

// ---- to f32 ----

static void q8_0_to_f32(const uint8_t *src, size_t n, float *dst)
{
    for (size_t b = 0; b < n / Q8_BLOCK; b++) {
        const uint8_t *s = src + b * Q8_BYTES;
        const float d = tn_f16_to_f32(tn_dense_load_u16(s));
        for (size_t j = 0; j < Q8_BLOCK; j++) dst[b * Q8_BLOCK + j] = d * (float)(int8_t)s[2 + j];
    }
}

// Where element e of a Q6_K block lies: its low four bits in ql, its high two in qh.
typedef struct q6_place {
    size_t ql, qh;
    unsigned ql_shift, qh_shift;
} q6_place;

static q6_place q6_at(size_t e)
{
    const size_t h = e / 128, part = e % 128 / 32, l = e % 32;
    const q6_place at = {64 * h + 32 * (part % 2) + l, 32 * h + l, part < 2 ? 0 : 4, 2 * (unsigned)part};
    return at;
}

static void q6_k_to_f32(const uint8_t *src, size_t n, float *dst)
{
    for (size_t b = 0; b < n / Q6_BLOCK; b++) {
        const uint8_t *ql = src + b * Q6_BYTES, *qh = ql + 128, *scales = ql + 192;
        const float d = tn_f16_to_f32(tn_dense_load_u16(ql + 208));
        for (size_t e = 0; e < Q6_BLOCK; e++) {
            const q6_place at = q6_at(e);
            const int q = (int)((ql[at.ql] >> at.ql_shift & 15u) | (qh[at.qh] >> at.qh_shift & 3u) << 4) - 32;
            dst[b * Q6_BLOCK + e] = (d * (float)(int8_t)scales[e / Q6_SUB]) * (float)q;
        }
    }
}

void tn_dense_to_f32(tn_dtype dtype, const void *src, size_t n, float *dst)
{
    const uint8_t *s = src;
    switch (dtype) {
    case TN_DTYPE_F32: memcpy(dst, s, n * 4); break;
    case TN_DTYPE_F16:
        for (size_t i = 0; i < n; i++) dst[i] = tn_f16_to_f32(tn_dense_load_u16(s + 2 * i));
        break;
    case TN_DTYPE_BF16:
        for (size_t i = 0; i < n; i++) dst[i] = tn_bf16_to_f32(tn_dense_load_u16(s + 2 * i));
        break;
    case TN_DTYPE_Q8_0: q8_0_to_f32(s, n, dst); break;
    case TN_DTYPE_Q6_K: q6_k_to_f32(s, n, dst); break;
    case TN_DTYPE_Q4_0:
    case TN_DTYPE_Q4_1:
    case TN_DTYPE_Q5_0:
    case TN_DTYPE_Q5_1: tn_dense_small_to_f32(dtype, s, n, dst); break;
    case TN_DTYPE_Q4_K:
    case TN_DTYPE_Q5_K: tn_dense_k_to_f32(dtype, s, n, dst); break;
    default: memset(dst, 0xff, n * 4); break; // NaN: a caller's bug shows as poison, never as plausible numbers
    }
}

// ---- from f32 ----

tn_status tn_dense_fail_too_large(size_t i, float v, const char *type)
{
    return tn_fail(TN_INVALID_ARGUMENT, "value %zu is %g, too large for %s; choose a type with more range", i, (double)v, type);
}

static tn_status to_16_bits(tn_dtype dtype, const float *src, size_t n, uint8_t *dst)
{
    const bool bf16 = dtype == TN_DTYPE_BF16;
    for (size_t i = 0; i < n; i++) {
        const uint16_t v = bf16 ? f32_to_bf16(src[i]) : tn_f32_to_f16(src[i]);
        if ((v & 0x7fff) >= (bf16 ? 0x7f80 : 0x7c00)) return tn_dense_fail_too_large(i, src[i], tn_dtype_get(dtype)->name);
        tn_dense_store_u16(dst + 2 * i, v);
    }
    return TN_OK;
}

// Divides any value that a block with scale 0 can have to code 0.
#define HUGE_DIVISOR 0x1p127f

// The nearest codes to x / divisor, as numbers: conversions and clamps of integers would keep the loop from becoming vectors.
static void block_codes(const float *x, const size_t n, float divisor, float low, float high, float *codes)
{
    for (size_t j = 0; j < n; j++) codes[j] = tn_dense_clamp_f32(tn_dense_round_even_f32(x[j] / divisor), low, high);
}

// d = absmax / 127 rounded to f16, and codes against that rounded d, so that its rounding costs nothing but the clamp at the ends.
static tn_status to_q8_0(const float *src, size_t n, uint8_t *dst)
{
    for (size_t b = 0; b < n / Q8_BLOCK; b++) {
        const float *x = src + b * Q8_BLOCK;
        uint8_t *o = dst + b * Q8_BYTES;
        float amax, codes[Q8_BLOCK];
        uint32_t largest = 0; // as bits: the order of magnitudes without a branch
        for (size_t j = 0; j < Q8_BLOCK; j++) {
            const uint32_t bits = tn_dense_bits(x[j]) & 0x7fffffffu;
            largest = bits > largest ? bits : largest;
        }
        memcpy(&amax, &largest, sizeof(amax));
        const uint16_t d16 = tn_f32_to_f16(amax / 127.0f);
        if (d16 >= 0x7c00) return tn_dense_fail_too_large(b * Q8_BLOCK, amax, "Q8_0");
        const float d = tn_f16_to_f32(d16);
        tn_dense_store_u16(o, d16);
        block_codes(x, Q8_BLOCK, d16 == 0 ? HUGE_DIVISOR : d, -127, 127, codes);
        for (size_t j = 0; j < Q8_BLOCK; j++) o[2 + j] = (uint8_t)(int)codes[j];
    }
    return TN_OK;
}

static float q6_error(const float *x, float scale)
{
    float codes[Q6_SUB], errors[Q6_SUB], error = 0;
    block_codes(x, Q6_SUB, scale == 0 ? HUGE_DIVISOR : scale, -32, 31, codes);
    for (size_t j = 0; j < Q6_SUB; j++) errors[j] = (x[j] - scale * codes[j]) * (x[j] - scale * codes[j]);
    for (size_t j = 0; j < Q6_SUB; j++) error += errors[j];
    return error;
}

// The i8 scale of a sub-block: the rounded one or a neighbour, whichever is best once d is fixed.
static int q6_scale_code(const float *x, float d, float wanted)
{
    const int centre = tn_dense_round_even(wanted / d);
    int best = tn_dense_clamp(centre, -128, 127);
    float error = q6_error(x, d * (float)best);
    for (int delta = -1; delta <= 1; delta += 2) {
        const int code = tn_dense_clamp(centre + delta, -128, 127);
        const float e = q6_error(x, d * (float)code);
        if (e < error) {
            error = e;
            best = code;
        }
    }
    return best;
}

static tn_status to_q6_k_block(const float *x, size_t place, uint8_t *o)
{
    float scales[Q6_BLOCK / Q6_SUB], widest = 0;
    for (size_t s = 0; s < Q6_BLOCK / Q6_SUB; s++) {
        scales[s] = tn_dense_fit_symmetric(x + s * Q6_SUB, Q6_SUB, 32, 0.3f);
        if ((scales[s] < 0 ? -scales[s] : scales[s]) > (widest < 0 ? -widest : widest)) widest = scales[s];
    }
    const uint16_t d16 = tn_f32_to_f16(widest / -128.0f); // the widest scale becomes code -128
    if ((d16 & 0x7fff) >= 0x7c00) return tn_dense_fail_too_large(place, widest, "Q6_K");
    const float d = tn_f16_to_f32(d16);
    memset(o, 0, Q6_BYTES);
    tn_dense_store_u16(o + 208, d16);
    for (size_t s = 0; s < Q6_BLOCK / Q6_SUB; s++) {
        const int code = d == 0 ? 0 : q6_scale_code(x + s * Q6_SUB, d, scales[s]);
        const float scale = d * (float)code;
        float codes[Q6_SUB];
        o[192 + s] = (uint8_t)code;
        block_codes(x + s * Q6_SUB, Q6_SUB, scale == 0 ? HUGE_DIVISOR : scale, -32, 31, codes);
        for (size_t j = 0; j < Q6_SUB; j++) {
            const q6_place at = q6_at(s * Q6_SUB + j);
            const unsigned q = (unsigned)((int)codes[j] + 32);
            o[at.ql] = (uint8_t)(o[at.ql] | (q & 15u) << at.ql_shift);
            o[128 + at.qh] = (uint8_t)(o[128 + at.qh] | q >> 4 << at.qh_shift);
        }
    }
    return TN_OK;
}

static tn_status to_q6_k(const float *src, size_t n, uint8_t *dst)
{
    for (size_t b = 0; b < n / Q6_BLOCK; b++) TN_TRY(to_q6_k_block(src + b * Q6_BLOCK, b * Q6_BLOCK, dst + b * Q6_BYTES));
    return TN_OK;
}

tn_status tn_dense_from_f32(tn_dtype dtype, const float *src, size_t n, void *dst)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    char names[TN_DTYPE_NAMES_BYTES];
    if (info->class_ != TN_CLASS_DENSE)
        return tn_fail(TN_UNSUPPORTED, "type %s is not a dense type; use one of %s", info->name, tn_dtype_names(TN_CLASS_DENSE, names));
    if (n % info->block_elements != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s needs a multiple of %u values; there are %zu", info->name, (unsigned)info->block_elements,
                       n);
    }
    for (size_t i = 0; i < n; i++) {
        if (!tn_dense_is_finite(src[i]))
            return tn_fail(TN_INVALID_ARGUMENT, "value %zu is %g; only finite values can be stored", i, (double)src[i]);
    }
    switch (dtype) {
    case TN_DTYPE_F32: memcpy(dst, src, n * 4); return TN_OK;
    case TN_DTYPE_F16:
    case TN_DTYPE_BF16: return to_16_bits(dtype, src, n, dst);
    case TN_DTYPE_Q8_0: return to_q8_0(src, n, dst);
    case TN_DTYPE_Q6_K: return to_q6_k(src, n, dst);
    case TN_DTYPE_Q4_K:
    case TN_DTYPE_Q5_K: return tn_dense_k_from_f32(dtype, src, n, dst);
    default: return tn_dense_small_from_f32(dtype, src, n, dst);
    }
}
