// The definition of every op in plain C: the oracle of every test, and the CPU's scalar fallback.
// All functions: borrow their pointers, never allocate, any thread on disjoint outputs. Those that store f32 return the largest
// bits & 0x7fffffff that they stored: at or above TN_ABS_BITS_2P56 the row is poisoned.   Source: docs/design/0001-numerics.md.
#ifndef TN_REF_REF_H
#define TN_REF_REF_H

#include "base/exact_math.h"
#include "format/dtype.h"
#include "graph/op.h"

// Code range of the KV cache: A for v, and for q and k the largest whose dot product fits int32.
#define TN_KV_A_V 4095
int32_t tn_kv_a_qk(uint32_t head_dim);

float tn_ref_sum(const float *x, uint32_t n);                            // SUM
float tn_ref_sum_squares(const float *x, uint32_t n);                    // SUM of x*x
float tn_ref_dot_row(const float *x, const float *w, uint32_t n);        // DOT_ROW
float tn_ref_gsum(const float *terms, uint32_t n_terms, uint32_t group); // GSUM of n_terms = ceil(K/group) terms
uint32_t tn_ref_absmax_bits(const float *x, uint32_t n);

// x [n] -> codes [n], scale, sum of codes.
void tn_ref_quant(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum);
void tn_ref_norm_quant(const float *x, const float *gamma, uint32_t n, float eps, int8_t *q, float *scale, int32_t *sum);
uint32_t tn_ref_norm(const float *x, const float *gamma, uint32_t n, float eps, float *y);
// QUANT with A = 127, amin = 1e-5 per group of `group` elements; n a multiple of it. codes [n], scales and sums [n/group].
void tn_ref_quant_group(const float *x, uint32_t n, uint32_t group, int8_t *q, float *scales, int32_t *sums);
// One row of activations q [K] times w [N][K] of -1, 0, +1: y [N].  scales: 1 (TENSOR) or N (ROW).
uint32_t tn_ref_matmul_ternary(const int8_t *q, float x_scale, const int8_t *w, tn_scale_kind scale_kind, const float *scales, uint32_t N,
                               uint32_t K, float *y);
// One row of activations x [K] times dense rows of `dtype` in file form [N]: y [N]. All dense types (Q8_0, Q4_0, Q6_K by QUANT + GSUM; the
// others, dequantised, by DOT_ROW).
uint32_t tn_ref_matmul_dense(const float *x, tn_dtype dtype, const void *w, uint32_t N, uint32_t K, float *y);
// A row of `dtype` in file form, dequantised, FL'd.
uint32_t tn_ref_embed(tn_dtype dtype, const void *row, uint32_t n, float *y);
// x, y [n_heads][head_dim]; table row: head_dim/2 cosines, then head_dim/2 sines. y may be x.
uint32_t tn_ref_rope(const float *x, const float *table_row, uint32_t n_heads, uint32_t head_dim, tn_rope_pairs pairs, float *y);
// One head of q, k or v: codes [n] with |code| <= A and scale a*RN(1/A); 0 and 0 where the absmax is below 2^-30.
void tn_ref_quant_head(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale);
// sq of a query head from quant_head's scale: scale * RN(log2 e / sqrt(head_dim)).
float tn_ref_query_scale(float scale, uint32_t head_dim);
// One query head over positions 0 .. n_pos-1 of one KV head: codes [n_pos][head_dim], scales [n_pos]. y [head_dim].
uint32_t tn_ref_attention(const int16_t *q, float sq, const int16_t *k, const float *k_scale, const int16_t *v, const float *v_scale,
                          uint32_t n_pos, uint32_t head_dim, float *y);
uint32_t tn_ref_glu(tn_glu_kind kind, const float *gate, const float *up, uint32_t n, float *y);
uint32_t tn_ref_add(const float *a, const float *b, uint32_t n, float *y);

#endif
