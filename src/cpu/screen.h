// The two-stage head: which rows of a float head can be among the n largest products with a row of activations, by an int8 copy and a
// bound of what it can be wrong by; those are then computed exactly. docs/design/0007-two-stage-head.md proves the bound.
#ifndef TN_CPU_SCREEN_H
#define TN_CPU_SCREEN_H

#include "cpu/pack.h"

// Rows of activations that are screened together, and the most candidates that are asked for. Steps beyond that compute the head whole.
#define TN_SCREEN_TOKENS_MAX 64u
#define TN_SCREEN_TOP_MAX    256u

// A row of activations as the screen sees it: at least the norm of its quantised form, and of what that is wrong by.
typedef struct tn_cpu_screen_input {
    double codes, error;
    uint32_t n_cols;
} tn_cpu_screen_input;

// |exact logit - approximation| <= residual * norm of the row's residual + codes * norm of the row's codes + flush. With room for the
// roundings of this sum and of its sum with the approximation in f64.
typedef struct tn_cpu_screen_bound {
    double residual, codes, flush;
} tn_cpu_screen_bound;
typedef tn_cpu_screen_bound tn_cpu_screen_bound_fn(const tn_cpu_screen_input *input);

// x: [n_cols], with its codes and scales as quant_group makes them for groups of 32.
tn_cpu_screen_input tn_cpu_screen_input_of(const float *x, const int8_t *codes, const float *scales, uint32_t n_cols);
tn_cpu_screen_bound tn_cpu_screen_bound_of(const tn_cpu_screen_input *input);

// The n largest of the values that it was given, the least of them at the root.
typedef struct tn_cpu_screen_heap {
    uint32_t n;
    double values[TN_SCREEN_TOP_MAX];
} tn_cpu_screen_heap;

// What one worker knows. The others read its heaps.
typedef struct tn_cpu_screen_state {
    tn_cpu_screen_bound bounds[TN_SCREEN_TOKENS_MAX];
    tn_cpu_screen_heap lower[TN_SCREEN_TOKENS_MAX]; // best lower bounds among the rows that it screened
    double thresholds[TN_SCREEN_TOKENS_MAX];
    tn_cpu_screen_heap merged; // scratch
} tn_cpu_screen_state;

typedef struct tn_cpu_screen_args {
    const tn_cpu_weight *w;
    tn_k_matmul_dense_fn *approximate, *exact; // matmul_q8_0, and that of the rows' type
    tn_cpu_screen_bound_fn *bound;
    const float *x; // [M][x_stride]
    size_t x_stride;
    const int8_t *xq; // [M][xq_stride], as quant_group makes them; not read by resolve
    size_t xq_stride;
    const float *xq_scale; // [M][n_cols / 32]
    const int32_t *xq_sum; // the same
    uint32_t M;            // at most TN_SCREEN_TOKENS_MAX
    const uint32_t *n_top; // [M], 1 .. TN_SCREEN_TOP_MAX
    uint32_t n_top_ids;    // rows of the head that are ranked: the first ones
    float *y;              // [M][y_stride]
    size_t y_stride;
    uint8_t *states; // one for each worker, state_stride bytes apart, 64-byte aligned
    size_t state_stride;
    uint32_t thread, n_threads;
} tn_cpu_screen_args;

// In this order, each worker: begin; panels, each panel of the head by one worker; all meet; merge; resolve, each row by one worker.
void tn_cpu_screen_begin(const tn_cpu_screen_args *args);
// Approximate logits of panels [first, end) to y.
void tn_cpu_screen_panels(const tn_cpu_screen_args *args, uint32_t first, uint32_t end);
void tn_cpu_screen_merge(const tn_cpu_screen_args *args);
// Turns approximations of rows [first, end) into exact logits, or into -INFINITY where the row is not among the n_top largest: then its
// logit is below 2^56. Raises absmax [M] by what is exact. Returns how many logits that is.
uint64_t tn_cpu_screen_resolve(const tn_cpu_screen_args *args, uint32_t first, uint32_t end, uint32_t *absmax);

#endif
