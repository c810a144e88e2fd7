// Screening a head's rows, and computing those that remain.
#include "cpu/screen.h"

#include "base/exact_math.h"

#include <string.h>

#define MINUS_INFINITY (-__builtin_inff())

static const double unit_roundoff = 0x1p-24; // of f32

// ---- the bound ----

tn_cpu_screen_input tn_cpu_screen_input_of(const float *x, const int8_t *codes, const float *scales, uint32_t n_cols)
{
    double sum_of_codes = 0, sum_of_errors = 0;
    for (uint32_t k = 0; k < n_cols; k++) {
        const double stored = (double)scales[k / TN_SCREEN_GROUP] * codes[k], error = (double)x[k] - stored;
        sum_of_codes += stored * stored;
        sum_of_errors += error * error;
    }
    const double slack = 1 + 0x1p-20; // of at most 2^32 additions
    return (tn_cpu_screen_input){
        .codes = tn_cpu_sqrt_up(sum_of_codes) * slack, .error = tn_cpu_sqrt_up(sum_of_errors) * slack, .n_cols = n_cols};
}

// What a sum of products is wrong by at most, as a multiple of the sum of their absolute values, where none passes more than n roundings.
static double gamma_of(uint32_t n) { return n * unit_roundoff / (1 - (n * unit_roundoff)); }

tn_cpu_screen_bound tn_cpu_screen_bound_of(const tn_cpu_screen_input *input)
{
    const uint32_t n_exact = ((input->n_cols + 31) / 32) + 6;    // DOT_ROW: the product, its lane, the tree of five
    const uint32_t n_screen = ((input->n_cols + 255) / 256) + 5; // GSUM: the scale, the product, the tree of three, the blocks
    const double input_norm = input->codes + input->error;
    const double exact = gamma_of(n_exact) * input_norm, screen = gamma_of(n_screen) * input->codes;
    const double slack = 1 + 1e-6; // roundings of f64, here and where the bound is used
    return (tn_cpu_screen_bound){
        .residual = (input_norm + exact) * slack, .codes = (input->error + exact + screen) * slack, .flush = 0x1p-49 * slack};
}

// ---- the n-th largest lower bound ----

static double heap_least(const tn_cpu_screen_heap *heap, uint32_t capacity)
{
    return heap->n < capacity ? (double)MINUS_INFINITY : heap->values[0];
}

static void heap_sift_down(tn_cpu_screen_heap *heap)
{
    const double value = heap->values[0];
    uint32_t at = 0;
    for (uint32_t child = 1; child < heap->n; child = 2 * at + 1) {
        if (child + 1 < heap->n && heap->values[child + 1] < heap->values[child]) child++;
        if (heap->values[child] >= value) break;
        heap->values[at] = heap->values[child];
        at = child;
    }
    heap->values[at] = value;
}

// Values above heap_least alone: so never NaN.
static void heap_add(tn_cpu_screen_heap *heap, uint32_t capacity, double value)
{
    if (heap->n == capacity) {
        heap->values[0] = value;
        heap_sift_down(heap);
        return;
    }
    uint32_t at = heap->n++;
    for (; at > 0 && heap->values[(at - 1) / 2] > value; at = (at - 1) / 2) heap->values[at] = heap->values[(at - 1) / 2];
    heap->values[at] = value;
}

// ---- stages ----

static tn_cpu_screen_state *state_of(const tn_cpu_screen_args *args, uint32_t thread)
{
    return (tn_cpu_screen_state *)(void *)(args->states + args->state_stride * thread);
}

static double bound_of_row(const tn_cpu_screen_args *args, const tn_cpu_screen_bound *bound, uint32_t row)
{
    const float *norms = args->w->screen.norms + (size_t)(row / 16) * 32 + row % 16;
    return bound->residual * (double)norms[0] + bound->codes * (double)norms[16] + bound->flush;
}

void tn_cpu_screen_begin(const tn_cpu_screen_args *args)
{
    tn_cpu_screen_state *state = state_of(args, args->thread);
    const uint32_t n_cols = args->w->n_cols;
    for (uint32_t m = 0; m < args->M; m++) {
        const tn_cpu_screen_input input = tn_cpu_screen_input_of(args->x + args->x_stride * m, args->xq + args->xq_stride * m,
                                                                 args->xq_scale + (size_t)(n_cols / TN_SCREEN_GROUP) * m, n_cols);
        state->bounds[m] = args->bound(&input);
        state->lower[m].n = 0;
    }
}

void tn_cpu_screen_panels(const tn_cpu_screen_args *args, uint32_t first, uint32_t end)
{
    const tn_cpu_weight *w = args->w;
    const uint32_t row = first * 16, row_end = end * 16 < w->n_rows ? end * 16 : w->n_rows;
    uint32_t absmax[TN_SCREEN_TOKENS_MAX] = {0}; // of approximations: says nothing
    const tn_k_matmul_dense_args matmul = {
        .xq = args->xq,
        .xq_stride = args->xq_stride,
        .xq_scale = args->xq_scale,
        .xq_sum = args->xq_sum,
        .xq_groups = w->n_cols / TN_SCREEN_GROUP,
        .w = w->screen.panels + w->screen.panel_bytes * first,
        .w_stride = w->screen.panel_bytes,
        .M = args->M,
        .N = row_end - row,
        .K = w->n_cols,
        .y = args->y + row,
        .y_stride = args->y_stride,
        .y_absmax = absmax,
    };
    args->approximate(&matmul);
    tn_cpu_screen_state *state = state_of(args, args->thread);
    const uint32_t ranked_end = row_end < args->n_top_ids ? row_end : args->n_top_ids;
    for (uint32_t m = 0; m < args->M; m++) {
        const float *y = args->y + args->y_stride * m;
        tn_cpu_screen_heap *heap = &state->lower[m];
        double least = heap_least(heap, args->n_top[m]);
        for (uint32_t i = row; i < ranked_end; i++) {
            if (!((double)y[i] > least)) continue; // nor is its lower bound
            const double lower = (double)y[i] - bound_of_row(args, &state->bounds[m], i);
            if (!(lower > least)) continue;
            heap_add(heap, args->n_top[m], lower);
            least = heap_least(heap, args->n_top[m]);
        }
    }
}

void tn_cpu_screen_merge(const tn_cpu_screen_args *args)
{
    tn_cpu_screen_state *state = state_of(args, args->thread);
    tn_cpu_screen_heap *merged = &state->merged;
    for (uint32_t m = 0; m < args->M; m++) {
        merged->n = 0;
        for (uint32_t t = 0; t < args->n_threads; t++) {
            const tn_cpu_screen_heap *heap = &state_of(args, t)->lower[m];
            for (uint32_t i = 0; i < heap->n; i++) {
                if (heap->values[i] > heap_least(merged, args->n_top[m])) heap_add(merged, args->n_top[m], heap->values[i]);
            }
        }
        const double least = heap_least(merged, args->n_top[m]);
        state->thresholds[m] = least < 0x1p56 ? least : 0x1p56; // what might not be below 2^56 is always kept
    }
}

uint64_t tn_cpu_screen_resolve(const tn_cpu_screen_args *args, uint32_t first, uint32_t end, uint32_t *absmax)
{
    const tn_cpu_screen_state *state = state_of(args, args->thread);
    const tn_cpu_weight *w = args->w;
    uint64_t n_kept = 0;
    for (uint32_t m = 0; m < args->M; m++) {
        const double threshold = state->thresholds[m];
        float *y = args->y + args->y_stride * m;
        for (uint32_t i = first; i < end; i++) {
            const double bound = bound_of_row(args, &state->bounds[m], i), upper = (double)y[i] + bound;
            if (upper < threshold && (double)y[i] - bound > -0x1p56) { // NaN is kept
                y[i] = MINUS_INFINITY;
                continue;
            }
            const tn_k_matmul_dense_args matmul = {
                .x = args->x + args->x_stride * m,
                .x_stride = args->x_stride,
                .w = w->data + w->stride_bytes * i,
                .w_stride = w->stride_bytes,
                .M = 1,
                .N = 1,
                .K = w->n_cols,
                .y = y + i,
                .y_stride = args->y_stride,
                .y_absmax = absmax + m,
            };
            args->exact(&matmul);
            n_kept++;
        }
    }
    return n_kept;
}
