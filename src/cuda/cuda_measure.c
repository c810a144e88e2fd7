// How fast the device's memory is read and bytes are multiplied: kernels that do nothing else, over more memory than caches hold.
#include "base/alloc.h"
#include "base/clock.h"
#include "cuda/cuda_memory.h"
#include "cuda/kernels/kernel_params.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SAMPLES_MIN = 5,
    SAMPLES_MAX = 256,
    UNIT_BYTES = 16,
    READ_REPEATS_MAX = 256, // launches of a pass
    ROUNDS_MAX = 1 << 22,
    // kernels/probe.cu: operations of a round, of which a product and its addition are two.
    DP4A_OPS_OF_THREAD = 64 * 8,
    MMA_OPS_OF_WARP = 16 * 16 * 8 * 32 * 2,
    WARP_THREADS = 32,
};
// GPUs have caches of up to 256 MiB; of a little device's memory no more than a quarter is taken. An emulation takes its time.
static const uint64_t read_bytes_max = UINT64_C(1) << 30, read_bytes_max_emulated = UINT64_C(1) << 20;
static const float pass_ms_min = 10.0f; // against which starting and ending kernels, some microseconds, are little

typedef struct probe {
    tn_cuda_device *device;
    CUdeviceptr data, sink;
    uint64_t n_units;
    CUevent begin, end;
    double rates[SAMPLES_MAX];
    uint32_t n_samples;
} probe;

// One thing that is measured.
typedef struct probe_kind {
    tn_cuda_kernel kernel;
    uint32_t n_repeats, n_rounds; // of a pass
    double amount;                // of a launch of one round
} probe_kind;

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static tn_status create_event(tn_cuda_device *device, CUevent *out_event)
{
    CUevent event;
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuEventCreate(&event, CU_EVENT_DEFAULT), "cuEventCreate"));
    *out_event = event;
    return TN_OK;
}

static tn_status init(probe *p)
{
    tn_cuda_device *device = p->device;
    size_t free_bytes = 0, total_bytes = 0;
    TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuMemGetInfo(&free_bytes, &total_bytes), "cuMemGetInfo"));
    const uint64_t most = device->driver->is_stand_in ? read_bytes_max_emulated : read_bytes_max;
    p->n_units = least(most, free_bytes / 4) / UNIT_BYTES;
    TN_TRY(tn_cuda_alloc(device, p->n_units * UNIT_BYTES, "memory to be read", &p->data));
    TN_TRY(tn_cuda_alloc(device, sizeof(uint32_t), "memory to be written", &p->sink));
    TN_TRY(create_event(device, &p->begin));
    return create_event(device, &p->end);
}

static void deinit(probe *p)
{
    const tn_cuda_api *cu = p->device->cu;
    (void)cu->cuStreamSynchronize(p->device->stream);
    if (p->begin) (void)cu->cuEventDestroy(p->begin);
    if (p->end) (void)cu->cuEventDestroy(p->end);
    tn_cuda_free(p->device, p->data);
    tn_cuda_free(p->device, p->sink);
}

// As many blocks as the device runs at a time.
static tn_status blocks_of(const tn_cuda_device *device, tn_cuda_kernel kernel, uint32_t *out_blocks)
{
    int blocks = 0;
    TN_TRY(TN_CUDA_CHECK(device->cu,
                         device->cu->cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, device->functions[kernel],
                                                                                 (int)tn_cuda_kernels[kernel].threads, 0),
                         "cuOccupancyMaxActiveBlocksPerMultiprocessor"));
    *out_blocks = (blocks > 0 ? (uint32_t)blocks : 1) * device->traits.n_sms;
    return TN_OK;
}

static tn_status pass(const probe *p, const probe_kind *kind, uint32_t n_blocks, float *out_ms)
{
    const tn_cuda_device *device = p->device;
    const tn_cuda_api *cu = device->cu;
    struct tn_cuda_probe_params params = {.at = p->data, .n_units = p->n_units, .n_rounds = kind->n_rounds, .sink = p->sink};
    void *pointers[] = {&params};
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuEventRecord(p->begin, device->stream), "cuEventRecord"));
    for (uint32_t i = 0; i < kind->n_repeats; i++)
        TN_TRY(TN_CUDA_CHECK(cu,
                             cu->cuLaunchKernel(device->functions[kind->kernel], n_blocks, 1, 1, tn_cuda_kernels[kind->kernel].threads, 1,
                                                1, 0, device->stream, pointers, NULL),
                             "cuLaunchKernel"));
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuEventRecord(p->end, device->stream), "cuEventRecord"));
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuEventSynchronize(p->end), "cuEventSynchronize"));
    TN_TRY(TN_CUDA_CHECK(cu, cu->cuEventElapsedTime(out_ms, p->begin, p->end), "cuEventElapsedTime"));
    if (*out_ms < 1e-3f) *out_ms = 1e-3f; // events tell half microseconds
    return TN_OK;
}

// Passes become longer until starting them is nothing; clocks settle meanwhile.
static tn_status lengthen(const probe *p, probe_kind *kind, uint32_t n_blocks)
{
    const bool by_rounds = kind->kernel != TN_CUDA_probe_read;
    uint32_t *n = by_rounds ? &kind->n_rounds : &kind->n_repeats;
    const uint32_t most = by_rounds ? ROUNDS_MAX : READ_REPEATS_MAX;
    for (;;) {
        float ms;
        TN_TRY(pass(p, kind, n_blocks, &ms));
        if (ms >= pass_ms_min || *n >= most) return TN_OK;
        *n *= 2;
    }
}

static int by_rate(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Rates a second, in order.
static tn_status sample(probe *p, probe_kind *kind, uint64_t time_ns)
{
    uint32_t n_blocks;
    float ms;
    p->n_samples = 0;
    TN_TRY(blocks_of(p->device, kind->kernel, &n_blocks));
    TN_TRY(lengthen(p, kind, n_blocks));
    const double blocks = kind->kernel == TN_CUDA_probe_read ? 1.0 : (double)n_blocks;
    const double amount = kind->amount * blocks * (double)kind->n_repeats * (double)kind->n_rounds;
    const uint64_t deadline_ns = tn_clock_ns() + time_ns;
    while (p->n_samples < SAMPLES_MIN || (p->n_samples < SAMPLES_MAX && tn_clock_ns() < deadline_ns)) {
        TN_TRY(pass(p, kind, n_blocks, &ms));
        p->rates[p->n_samples++] = amount * 1e3 / (double)ms;
    }
    qsort(p->rates, p->n_samples, sizeof *p->rates, by_rate);
    return TN_OK;
}

static tn_status attribute(const tn_cuda_device *device, int which, double *out)
{
    int value = 0;
    const CUresult result = device->cu->cuDeviceGetAttribute(&value, which, device->handle);
    *out = value;
    return TN_CUDA_CHECK(device->cu, result, "cuDeviceGetAttribute");
}

// Memory sends twice a clock.
static tn_status read_theory(const tn_cuda_device *device, double *out)
{
    double khz, bits;
    TN_TRY(attribute(device, CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, &khz));
    TN_TRY(attribute(device, CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, &bits));
    *out = 2.0 * khz * 1e3 * bits / 8.0;
    return TN_OK;
}

// Operations a clock of a multiprocessor, by the vendor's data sheets; 0: unknown.
static double ops_a_clock(uint32_t capability, bool mma)
{
    if (!mma) return 64 * 8;
    switch (capability) {
    case 80:
    case 87: return 4096;
    case 86:
    case 89:
    case 120:
    case 121: return 2048;
    case 90: return 8192;
    case 100:
    case 103: return 16384;
    default: return 0;
    }
}

static tn_status dot_theory(const tn_cuda_device *device, bool mma, double *out)
{
    double khz;
    TN_TRY(attribute(device, CU_DEVICE_ATTRIBUTE_CLOCK_RATE, &khz));
    *out = khz * 1e3 * device->traits.n_sms * ops_a_clock(device->traits.capability, mma);
    return TN_OK;
}

static tn_status tell(const probe *p, tn_measured_limit *limit, tn_measured_fn *told, void *user)
{
    limit->best = p->rates[p->n_samples - 1];
    limit->median = (p->rates[(p->n_samples - 1) / 2] + p->rates[p->n_samples / 2]) / 2;
    return told(user, limit) ? TN_OK : tn_fail(TN_CANCELLED, "measuring %s was cancelled by the caller", p->device->name);
}

static tn_status measure_read(probe *p, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    tn_measured_limit limit = {.kind = TN_MEASURED_MEMORY_READ};
    probe_kind kind = {.kernel = TN_CUDA_probe_read, .n_repeats = 1, .n_rounds = 1, .amount = (double)p->n_units * UNIT_BYTES};
    snprintf(limit.name, sizeof limit.name, "%s", p->device->name);
    TN_TRY(read_theory(p->device, &limit.theoretical));
    TN_TRY(sample(p, &kind, time_ns));
    return tell(p, &limit, told, user);
}

static tn_status measure_dot(probe *p, bool mma, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    tn_measured_limit limit = {.kind = TN_MEASURED_INT8_DOT};
    probe_kind kind = {.kernel = mma ? TN_CUDA_probe_dot_mma : TN_CUDA_probe_dot_dp4a, .n_repeats = 1, .n_rounds = 1};
    const uint32_t threads = tn_cuda_kernels[kind.kernel].threads;
    kind.amount = mma ? (double)(threads / WARP_THREADS) * MMA_OPS_OF_WARP : (double)threads * DP4A_OPS_OF_THREAD;
    snprintf(limit.name, sizeof limit.name, "%s", mma ? "mma" : "dp4a");
    TN_TRY(dot_theory(p->device, mma, &limit.theoretical));
    TN_TRY(sample(p, &kind, time_ns));
    return tell(p, &limit, told, user);
}

static tn_status measure(probe *p, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    TN_TRY(init(p));
    TN_TRY(measure_read(p, time_ns, told, user));
    TN_TRY(measure_dot(p, false, time_ns, told, user));
    return p->device->traits.has_mma ? measure_dot(p, true, time_ns, told, user) : TN_OK;
}

tn_status tn_cuda_device_measure(tn_device *base, uint32_t n_threads, uint64_t time_ns, tn_measured_fn *told, void *user)
{
    (void)n_threads;
    tn_cuda_device *device = tn_cuda_device_of(base);
    probe *p;
    TN_TRY(tn_alloc_zero(1, sizeof *p, &p));
    p->device = device;
    tn_status status = tn_cuda_enter(device);
    if (status == TN_OK) {
        status = measure(p, time_ns, told, user);
        const tn_error failure = *tn_error_last();
        deinit(p);
        if (status != TN_OK) tn_error_set(&failure);
        status = tn_cuda_leave(device, status);
    }
    tn_free(p);
    return status;
}
