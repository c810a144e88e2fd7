// Row kernels, written once over a strip vocabulary. The including file defines TN_K(op), the function's name for its ISA, and includes
// simd_<isa>.h before. Rows of any length: the last n % 32 elements are a strip padded with zeros, which change no sum and no maximum.
// Exact: every kernel equals its namesake in ref/ref.h bit for bit. Writes n elements, no more.
#include "cpu/kernel.h"
#include "cpu/tmpl/exact_strip.h"

#define STRIP 32u
#define BLOCK 256u

// Walks a row in strips: `i` is the offset, `count` 32 or what is left.
#define TN_FOR_STRIPS(i, count, n) for (uint32_t i = 0, count; i < (n) && (count = (n)-i < STRIP ? (n)-i : STRIP); i += STRIP)

TN_INLINE tn_f32s load_strip(const float *p, uint32_t count) { return count == STRIP ? tn_s_load(p) : tn_s_load_n(p, count); }

TN_INLINE void store_strip(float *p, tn_f32s x, uint32_t count)
{
    if (count == STRIP) {
        tn_s_store(p, x);
    } else {
        tn_s_store_n(p, x, count);
    }
}

TN_INLINE void store_codes(int8_t *p, tn_i32s x, uint32_t count)
{
    if (count == STRIP) {
        tn_i_store_i8(p, x);
    } else {
        tn_i_store_i8_n(p, x, count);
    }
}

TN_INLINE uint32_t absmax_bits(const float *x, uint32_t n)
{
    tn_i32s max = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n) { max = tn_i_max_u(max, tn_s_abs_bits(load_strip(x + i, count))); }
    return tn_i_max_all_u(max);
}

// QUANT with A = 127 and amin = 1e-5 of n elements.
TN_INLINE void quant_row(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum)
{
    uint32_t max = absmax_bits(x, n);
    float a = max > tn_bits(1e-5f) ? tn_float(max) : 1e-5f;
    tn_f32s to_codes = tn_s_set1(127.0f * tn_recip(a));
    tn_i32s total = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_i32s codes = tn_s_round(tn_s_mul(load_strip(x + i, count), to_codes));
        store_codes(q + i, codes, count);
        total = tn_i_add(total, codes);
    }
    *scale = a * (float)(1.0 / 127.0);
    *sum = tn_i_sum(total);
}

void TN_K(quant)(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum) { quant_row(x, n, q, scale, sum); }

void TN_K(quant_group)(const float *x, uint32_t n, uint32_t group, int8_t *q, float *scales, int32_t *sums)
{
    for (uint32_t g = 0; g < n / group; g++) quant_row(x + g * group, group, q + g * group, scales + g, sums + g);
}

// SUM of squares; the largest absolute bits of x * gamma beside it, so that a row is read once.
TN_INLINE float sum_squares(const float *x, const float *gamma, uint32_t n, tn_i32s *out_max)
{
    tn_i32s max = tn_i_set1(0);
    float sum = 0.0f;
    for (uint32_t start = 0; start < n; start += BLOCK) {
        uint32_t block = n - start < BLOCK ? n - start : BLOCK;
        tn_f32s lanes = tn_s_set1(0.0f);
        TN_FOR_STRIPS(i, count, block)
        {
            tn_f32s v = load_strip(x + start + i, count);
            lanes = tn_s_add(lanes, tn_s_mul(v, v));
            max = tn_i_max_u(max, tn_s_abs_bits(tn_s_mul(v, load_strip(gamma + start + i, count))));
        }
        sum = sum + tn_s_tree(lanes);
    }
    *out_max = max;
    return sum;
}

TN_INLINE float rms_recip(float sum, uint32_t n, float eps)
{
    float mean = (sum * (float)(1.0 / n)) + eps;
    return tn_rsqrt(mean > 0x1p-100f ? mean : 0x1p-100f);
}

void TN_K(norm_quant)(const float *x, const float *gamma, uint32_t n, float eps, int8_t *q, float *scale, int32_t *sum)
{
    tn_i32s max;
    float r = rms_recip(sum_squares(x, gamma, n, &max), n, eps);
    float a = tn_float(tn_i_max_all_u(max));
    float an = a * r;
    bool big = an >= 1e-5f;
    tn_f32s to_codes = tn_s_set1(big ? 127.0f * tn_recip(a) : r * 12700000.0f);
    tn_i32s total = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_f32s h = tn_s_mul(load_strip(x + i, count), load_strip(gamma + i, count));
        tn_i32s codes = tn_s_round(tn_s_mul(h, to_codes));
        store_codes(q + i, codes, count);
        total = tn_i_add(total, codes);
    }
    *scale = big ? an * (float)(1.0 / 127.0) : (float)(1e-5 / 127.0);
    *sum = tn_i_sum(total);
}

uint32_t TN_K(norm)(const float *x, const float *gamma, uint32_t n, float eps, float *y)
{
    tn_i32s max;
    tn_f32s r = tn_s_set1(rms_recip(sum_squares(x, gamma, n, &max), n, eps));
    max = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_f32s h = tn_s_mul(load_strip(x + i, count), load_strip(gamma + i, count));
        tn_f32s v = tn_s_fl(tn_s_mul(h, r));
        store_strip(y + i, v, count);
        max = tn_i_max_u(max, tn_s_abs_bits(v));
    }
    return tn_i_max_all_u(max);
}

// Rotates the pairs (x[i], x[half + i]) of one head.
TN_INLINE tn_i32s rope_halves(const float *x, const float *cosines, const float *sines, uint32_t half, float *y, tn_i32s max)
{
    TN_FOR_STRIPS(i, count, half)
    {
        tn_f32s a = load_strip(x + i, count), b = load_strip(x + half + i, count);
        tn_f32s c = load_strip(cosines + i, count), s = load_strip(sines + i, count);
        tn_f32s ya = tn_s_fl(tn_s_sub(tn_s_mul(a, c), tn_s_mul(b, s)));
        tn_f32s yb = tn_s_fl(tn_s_add(tn_s_mul(a, s), tn_s_mul(b, c)));
        store_strip(y + i, ya, count);
        store_strip(y + half + i, yb, count);
        max = tn_i_max_u(max, tn_i_max_u(tn_s_abs_bits(ya), tn_s_abs_bits(yb)));
    }
    return max;
}

// Rotates the pairs (x[2i], x[2i + 1]) of one head: even lanes a*c + -(b*s), odd lanes b*c + a*s.
TN_INLINE tn_i32s rope_adjacent(const float *x, const float *cosines, const float *sines, uint32_t half, float *y, tn_i32s max)
{
    TN_FOR_STRIPS(i, count, 2 * half)
    {
        float tail[STRIP] = {0};
        const float *c16 = cosines + i / 2, *s16 = sines + i / 2;
        if (count < STRIP) {
            memcpy(tail, c16, count / 2 * sizeof *tail);
            memcpy(tail + STRIP / 2, s16, count / 2 * sizeof *tail);
            c16 = tail;
            s16 = tail + STRIP / 2;
        }
        tn_f32s v = load_strip(x + i, count);
        tn_f32s straight = tn_s_mul(v, tn_s_load_twice(c16));
        tn_f32s crossed = tn_s_mul(tn_s_swap_pairs(v), tn_s_load_twice(s16));
        tn_f32s rotated = tn_s_fl(tn_s_add(straight, tn_s_negate_even(crossed)));
        store_strip(y + i, rotated, count);
        max = tn_i_max_u(max, tn_s_abs_bits(rotated));
    }
    return max;
}

uint32_t TN_K(rope)(const float *x, const float *table_row, uint32_t n_heads, uint32_t head_dim, tn_rope_pairs pairs, float *y)
{
    uint32_t half = head_dim / 2;
    tn_i32s max = tn_i_set1(0);
    for (uint32_t h = 0; h < n_heads; h++) {
        size_t at = (size_t)h * head_dim;
        max = pairs == TN_ROPE_HALVES ? rope_halves(x + at, table_row, table_row + half, half, y + at, max)
                                      : rope_adjacent(x + at, table_row, table_row + half, half, y + at, max);
    }
    return tn_i_max_all_u(max);
}

void TN_K(quant_head)(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale)
{
    uint32_t max = absmax_bits(x, n);
    if (max < tn_bits(0x1p-30f)) {
        memset(codes, 0, n * sizeof *codes);
        *scale = 0.0f;
        return;
    }
    float a = tn_float(max);
    tn_f32s to_codes = tn_s_set1((float)A * tn_recip(a));
    TN_FOR_STRIPS(i, count, n)
    {
        tn_i32s q = tn_s_round(tn_s_mul(load_strip(x + i, count), to_codes));
        if (count == STRIP) {
            tn_i_store_i16(codes + i, q);
        } else {
            tn_i_store_i16_n(codes + i, q, count);
        }
    }
    *scale = a * (float)(1.0 / A);
}

uint32_t TN_K(glu_relu2)(const float *gate, const float *up, uint32_t n, float *y)
{
    tn_i32s max = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_f32s g = tn_s_max(load_strip(gate + i, count), tn_s_set1(0.0f));
        tn_f32s v = tn_s_fl(tn_s_mul(tn_s_fl(tn_s_mul(g, g)), load_strip(up + i, count)));
        store_strip(y + i, v, count);
        max = tn_i_max_u(max, tn_s_abs_bits(v));
    }
    return tn_i_max_all_u(max);
}

uint32_t TN_K(glu_silu)(const float *gate, const float *up, uint32_t n, float *y)
{
    tn_i32s max = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_f32s g = tn_s_fl(tn_s_silu(load_strip(gate + i, count)));
        tn_f32s v = tn_s_fl(tn_s_mul(g, load_strip(up + i, count)));
        store_strip(y + i, v, count);
        max = tn_i_max_u(max, tn_s_abs_bits(v));
    }
    return tn_i_max_all_u(max);
}

uint32_t TN_K(add)(const float *a, const float *b, uint32_t n, float *y)
{
    tn_i32s max = tn_i_set1(0);
    TN_FOR_STRIPS(i, count, n)
    {
        tn_f32s v = tn_s_fl(tn_s_add(load_strip(a + i, count), load_strip(b + i, count)));
        store_strip(y + i, v, count);
        max = tn_i_max_u(max, tn_s_abs_bits(v));
    }
    return tn_i_max_all_u(max);
}
