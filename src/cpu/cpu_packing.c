// Which layout ternary weights get: two bits a code, or five codes a byte. The second has a fifth less to read and more to compute; which
// one wins depends on how many cores share how fast a memory, so it is measured.
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpu_backend.h"

#include <string.h>
#include <sys/mman.h>

enum { MEASURE_COLS = 2560, PASSES = 2 };
// As much as the model has, within this bound: processors keep more from pass to pass than the caches that they report.
static const uint64_t measure_bytes_max = (uint64_t)256 << 20;
// A denser layout is not worth a difference that the next start may measure the other way round.
static const double gain_min = 1.03;

typedef struct reading {
    tn_k_matmul_ternary_fn *kernel;
    uint32_t block_cols;
    uint32_t n_panels; // over all workers
    const uint8_t *w;
    size_t panel_bytes;
    const int8_t *x;      // codes of one token
    const float *w_scale; // of one panel
} reading;

// One token's products with the worker's part of the panels, which nobody looks at.
static tn_status read_panels(void *ctx, uint32_t thread, uint32_t n_threads)
{
    const reading *r = ctx;
    const float x_scale = 0;
    const int32_t x_sum = 0;
    float y[TN_T2_ROWS];
    uint32_t absmax = 0;
    const uint32_t end = (uint32_t)((uint64_t)r->n_panels * (thread + 1) / n_threads);
    for (uint32_t i = (uint32_t)((uint64_t)r->n_panels * thread / n_threads); i < end; i++) {
        const tn_k_matmul_ternary_args args = {
            .x = r->x,
            .x_scale = &x_scale,
            .x_sum = &x_sum,
            .w = r->w + r->panel_bytes * i,
            .w_scale = r->w_scale,
            .M = 1,
            .N = TN_T2_ROWS,
            .n_blocks = (uint32_t)(r->panel_bytes / TN_T2_BLOCK_BYTES),
            .y = y,
            .y_absmax = &absmax,
        };
        r->kernel(&args);
    }
    return TN_OK;
}

typedef struct touch {
    uint8_t *bytes;
    size_t n;
} touch;

// Each worker fills what it will read, near to itself. Every byte is some five codes and, with these bits, some four.
static tn_status touch_bytes(void *ctx, uint32_t thread, uint32_t n_threads)
{
    const touch *t = ctx;
    const size_t begin = t->n / n_threads * thread, end = thread + 1 == n_threads ? t->n : t->n / n_threads * (thread + 1);
    memset(t->bytes + begin, 0x21, end - begin);
    return TN_OK;
}

// Weights a nanosecond, the best of some passes.
static tn_status measure(tn_cpu_device *device, reading *r, size_t n_bytes, double *rate)
{
    const uint32_t n_blocks = (MEASURE_COLS + r->block_cols - 1) / r->block_cols;
    r->panel_bytes = (size_t)n_blocks * TN_T2_BLOCK_BYTES;
    r->n_panels = (uint32_t)(n_bytes / r->panel_bytes);
    const double n_weights = (double)r->n_panels * TN_T2_ROWS * MEASURE_COLS;
    for (int i = 0; i < PASSES; i++) {
        const uint64_t begun_ns = tn_clock_ns();
        TN_TRY(tn_cpu_pool_run(device->pool, read_panels, r));
        const uint64_t ns = tn_clock_ns() - begun_ns;
        const double this_rate = n_weights / (double)(ns ? ns : 1);
        if (this_rate > *rate) *rate = this_rate;
    }
    return TN_OK;
}

static tn_status measure_both(tn_cpu_device *device, uint64_t n_bytes, tn_cpu_layout *out_layout)
{
    tn_status status;
    tn_buffer *buffer = NULL;
    if (n_bytes > measure_bytes_max) n_bytes = measure_bytes_max;
    int8_t x[TN_Q8_STRIDE(MEASURE_COLS)] = {0};
    const float w_scale[TN_T2_ROWS] = {0};
    TN_TRY(device->base.backend->buffer_create(&device->base, n_bytes, &buffer));
    touch t = {tn_cpu_buffer_data(buffer), (size_t)n_bytes};
    reading two = {.kernel = device->kernels.matmul_ternary, .block_cols = TN_T2_COLS, .w = t.bytes, .x = x, .w_scale = w_scale};
    reading five = {.kernel = device->kernels.matmul_ternary_t5, .block_cols = TN_T5_COLS, .w = t.bytes, .x = x, .w_scale = w_scale};
    double two_rate = 0, five_rate = 0;
    TN_TRY_GOTO(tn_cpu_pool_run(device->pool, touch_bytes, &t));
    for (int i = 0; i < 2; i++) { // taking turns: what else the machine does disturbs both
        TN_TRY_GOTO(measure(device, &two, t.n, &two_rate));
        TN_TRY_GOTO(measure(device, &five, t.n, &five_rate));
    }
    *out_layout = five_rate > two_rate * gain_min ? TN_CPU_LAYOUT_T5_16 : TN_CPU_LAYOUT_T2_16;
    tn_log_write(&device->log, TN_LOG_INFO, "%s: ternary weights as %s: %u threads read %.0f G weights/s as t2_16, %.0f as t5_16",
                 device->name, *out_layout == TN_CPU_LAYOUT_T5_16 ? "t5_16" : "t2_16", (unsigned)tn_cpu_pool_n_threads(device->pool),
                 two_rate, five_rate);
    status = TN_OK;
fail:
    device->base.backend->buffer_destroy(buffer);
    return status;
}

// Whether T5_16 has a kernel above plain C here: without one it is not worth a look.
static bool has_fast_t5(const tn_cpu_device *device)
{
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    void (*chosen)(void) = tn_cpu_kernel_chosen(&device->kernels, TN_SLOT_matmul_ternary_t5);
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].function == chosen) return rows[i].isa != TN_ISA_SCALAR;
    }
    return false;
}

tn_status tn_cpu_packing_fix(tn_cpu_device *device, const char *name)
{
    if (!*name) return TN_OK;
    if (strcmp(name, "t2_16") != 0 && strcmp(name, "t5_16") != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "ternary weights cannot be packed as \"%.40s\": use t2_16 or t5_16", name);
    device->ternary = name[1] == '5' ? TN_CPU_LAYOUT_T5_16 : TN_CPU_LAYOUT_T2_16;
    device->ternary_is_fixed = true;
    return TN_OK;
}

bool tn_cpu_packing_assume(tn_device *base, uint32_t index)
{
    static const tn_cpu_layout candidates[] = {TN_CPU_LAYOUT_T2_16, TN_CPU_LAYOUT_T5_16};
    tn_cpu_device *device = tn_cpu_device_of(base);
    if (device->ternary_is_fixed || (device->ternary && !device->ternary_is_assumed)) return false;
    device->ternary_is_assumed = index < sizeof candidates / sizeof *candidates;
    device->ternary = device->ternary_is_assumed ? candidates[index] : 0;
    return device->ternary_is_assumed;
}

tn_status tn_cpu_packing_choose(tn_cpu_device *device, const tn_weight_source *source, tn_cpu_layout *out_layout)
{
    *out_layout = device->ternary_is_fixed ? device->ternary : TN_CPU_LAYOUT_T2_16;
    const uint64_t n_bytes = source->n_model_ternary / 4; // at two bits
    if (source->kind != TN_WEIGHT_TERNARY || device->ternary_is_fixed || n_bytes <= device->cache_bytes) return TN_OK;
    if (!device->ternary) {
        device->ternary = TN_CPU_LAYOUT_T2_16;
        if (has_fast_t5(device)) TN_TRY(measure_both(device, n_bytes, &device->ternary));
    }
    *out_layout = device->ternary;
    return TN_OK;
}
