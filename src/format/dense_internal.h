// What the files of dense types share: bytes and bits, and the two searches for block scales of their quantisers.
#ifndef TN_FORMAT_DENSE_INTERNAL_H
#define TN_FORMAT_DENSE_INTERNAL_H

#include "format/dense.h"

#include <string.h>

static inline uint32_t tn_dense_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof(u));
    return u;
}
static inline uint16_t tn_dense_load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline void tn_dense_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v & 0xff);
    p[1] = (uint8_t)(v >> 8);
}
static inline bool tn_dense_is_finite(float f) { return (tn_dense_bits(f) & 0x7fffffffu) < 0x7f800000u; }

// Nearest integer, ties to even, of |x| < 2^21, by the place of the f32 mantissa's last bit.
static inline int tn_dense_round_even(float x) { return (int)((x + 0x1.8p23f) - 0x1.8p23f); }
// The same as numbers: loops over them become vectors.
static inline float tn_dense_round_even_f32(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
static inline float tn_dense_clamp_f32(float v, float low, float high)
{
    v = v < low ? low : v;
    return v > high ? high : v;
}
static inline int tn_dense_clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }
// The nearest code 0..max of any number.
static inline int tn_dense_code(float x, int max) { return x > (float)max ? max : x > 0 ? tn_dense_round_even(x) : 0; }

tn_status tn_dense_fail_too_large(size_t i, float v, const char *type);

// The scale of n <= 32 values for codes -limit .. limit-1 with the least squared error among those that put the largest value near code
// -limit (whose range is one longer than that of +limit): 19 divisors, `step` apart, on both sides of -limit, each followed by the
// least-squares scale for the codes it gives. 0 where all values are 0; negative where the largest value is positive.
float tn_dense_fit_symmetric(const float *x, size_t n, int limit, float step);

typedef struct tn_dense_affine {
    float scale, min; // x is near scale*code + min; scale >= 0
} tn_dense_affine;

// The scale and offset of n <= 32 values for codes 0 .. max with the least squared error among those that a search over divisors, each
// followed by least squares, comes by. `min_at_most_0`: the offset may not be positive.
tn_dense_affine tn_dense_fit_affine(const float *x, size_t n, int max, bool min_at_most_0);

// What a block becomes whose scale is too small to be stored.
float tn_dense_mean(const float *x, size_t n);

// n elements of Q4_0, Q4_1, Q5_0 or Q5_1 (dense_small.c), and of Q4_K or Q5_K (dense_k.c).
void tn_dense_small_to_f32(tn_dtype dtype, const uint8_t *src, size_t n, float *dst);
void tn_dense_k_to_f32(tn_dtype dtype, const uint8_t *src, size_t n, float *dst);
// The same back. Values are finite.  Errors: INVALID_ARGUMENT (a scale beyond f16).
tn_status tn_dense_small_from_f32(tn_dtype dtype, const float *src, size_t n, uint8_t *dst);
tn_status tn_dense_k_from_f32(tn_dtype dtype, const float *src, size_t n, uint8_t *dst);

#endif
