// Dense tensor types: to f32 and from f32, bit by bit as the formats define it.
#ifndef TN_FORMAT_DENSE_H
#define TN_FORMAT_DENSE_H

#include "format/dtype.h"

float tn_f16_to_f32(uint16_t h); // exact, subnormals kept
uint16_t tn_f32_to_f16(float f); // round to nearest even; overflow to infinity
float tn_bf16_to_f32(uint16_t b);
// Dequantises n elements (a multiple of the block) of a dense type; the format's plain formula, no FL.
void tn_dense_to_f32(tn_dtype dtype, const void *src, size_t n, float *dst);
// Quantises n elements to any dense type. Deterministic on every machine (no libm, no FMA).
// Errors: INVALID_ARGUMENT (value not finite or too large, n not a multiple of the block), UNSUPPORTED (not a dense type).
tn_status tn_dense_from_f32(tn_dtype dtype, const float *src, size_t n, void *dst);

#endif
