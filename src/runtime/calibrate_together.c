// Devices that read at the same time. A ratio of times is wanted, so each turn has every device alone and then all of them: what else the
// machine does in the meantime makes both slower. Of several times the lower quartile counts: the shortest one of many could be of a moment
// in which the other devices had no processor.
#include "runtime/calibrate_together.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "runtime/calibrate_net.h"
#include "runtime/calibrate_program.h"

#include <stdatomic.h>
#include <string.h>

enum {
    N_SIZES = 4,
    TOKENS_MAX = 64, // of the largest
    TURNS_ONE = 4,   // of steps of one token, which read most for the least work
    TURNS = 2,       // of others
    TIMES_MAX = 32,  // of steps of a device
    TIME_SHARE = 5,  // part of the time that a device is measured for
    DEADLINE = 3,    // times that, and packing_ns, by the clock; then steps of one token alone are read, once
    TOO_SLOW = 3,    // times its share a step may take, as far as can be said before; one token is never too slow, but has fewer turns
};

// What packing and compiling take, however little time is given; those of small models are nothing.
static const uint64_t packing_ns = UINT64_C(1500000000);

// Steps that take so little longer beside others compute for longer than they read, and larger ones more so.
static const double factor_worth_more = 1.05;

static const tn_dtype head_types[TN_COST_HEADS] = {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_K, TN_DTYPE_F16};

typedef struct times {
    uint32_t n;
    uint64_t ns[TIMES_MAX];
} times;

typedef struct reading reading;

typedef struct reader {
    reading *all;
    tn_calibration_weights weights;
    tn_calibration_program *program;
    times alone, together;
    times *now; // one of them
    tn_status status;
    tn_error error;
} reader;

// Of the devices that read now.
struct reading {
    uint32_t n;
    uint64_t slot_ns;
    atomic_uint n_begun, n_enough;
    atomic_bool is_over;
};

typedef struct together {
    tn_device *const *devices;
    uint32_t n;
    const tn_calibration_params *params;
    tn_cost_together *measured; // [n]
    reader *readers;            // [n]
    uint64_t deadline_ns;       // of the clock
    uint32_t n_done;            // sizes
} together;

// ---- reading ----

// A step counts if all devices had begun before it, and none had stopped when it was over.
static tn_status read_on(reader *r)
{
    reading *all = r->all;
    const uint64_t begun_ns = tn_clock_ns();
    bool enough = false;
    atomic_fetch_add(&all->n_begun, 1);
    while (true) {
        uint64_t ns;
        const bool all_begun = atomic_load(&all->n_begun) == all->n;
        TN_TRY(tn_calibration_program_run(r->program, &ns));
        if (atomic_load(&all->is_over)) return TN_OK;
        if (!all_begun) continue;
        if (r->now->n < TIMES_MAX) r->now->ns[r->now->n++] = ns;
        if (enough || tn_clock_ns() - begun_ns < all->slot_ns) continue;
        enough = true;
        if (atomic_fetch_add(&all->n_enough, 1) + 1 < all->n) continue;
        atomic_store(&all->is_over, true);
        return TN_OK;
    }
}

static void *run_thread(void *arg)
{
    reader *r = arg;
    r->status = read_on(r);
    if (r->status == TN_OK) return NULL;
    r->error = *tn_error_last();
    atomic_store(&r->all->is_over, true);
    return NULL;
}

// Has readers[n] read at the same time until each has a step at least.
static tn_status read_at_once(reader *readers, uint32_t n, uint64_t slot_ns)
{
    pthread_t *threads;
    reading all = {.n = n, .slot_ns = slot_ns};
    tn_status status = TN_OK;
    TN_TRY(tn_alloc(n, sizeof *threads, &threads));
    uint32_t n_started = 0;
    for (; n_started < n; n_started++) {
        readers[n_started].all = &all;
        if (tn_thread_start("tn-measure", run_thread, &readers[n_started], &threads[n_started]) != 0) break;
    }
    if (n_started < n) atomic_store(&all.is_over, true);
    for (uint32_t i = 0; i < n_started; i++) pthread_join(threads[i], NULL);
    tn_free(threads);
    for (uint32_t i = 0; i < n_started && status == TN_OK; i++) {
        status = readers[i].status;
        if (status != TN_OK) tn_error_set(&readers[i].error);
    }
    if (status == TN_OK && n_started < n)
        return tn_fail(TN_OUT_OF_MEMORY, "a thread to measure with cannot be started: end other programs");
    return status;
}

static uint64_t quartile(times *t)
{
    for (uint32_t i = 1; i < t->n; i++) {
        for (uint32_t k = i; k > 0 && t->ns[k] < t->ns[k - 1]; k--) {
            const uint64_t ns = t->ns[k];
            t->ns[k] = t->ns[k - 1];
            t->ns[k - 1] = ns;
        }
    }
    return t->n ? t->ns[t->n / 4] : 0;
}

// ---- sizes ----

static uint64_t slot_ns(const together *t)
{
    return t->params->time_ns / TIME_SHARE * t->n / ((uint64_t)TN_COST_READERS * (TURNS_ONE + TURNS) * (t->n + 1)) + 1;
}

static bool is_late(const together *t) { return tn_clock_ns() >= t->deadline_ns; }

static tn_status sizes_done(together *t, uint32_t n)
{
    t->n_done += n;
    return tn_progress_report(t->params->progress, "measuring together", t->n_done, TN_COST_READERS * N_SIZES);
}

static tn_status take_turn(together *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        t->readers[i].now = &t->readers[i].alone;
        TN_TRY(read_at_once(&t->readers[i], 1, slot_ns(t)));
    }
    for (uint32_t i = 0; i < t->n; i++) t->readers[i].now = &t->readers[i].together;
    return read_at_once(t->readers, t->n, slot_ns(t));
}

static tn_status prepare(together *t, uint32_t kind, uint32_t size, double *out_ns)
{
    const uint32_t n_tokens = tn_cost_step_sizes[size];
    const tn_cost_step step = {
        .n_tokens = n_tokens, .n_logits = kind == TN_COST_READER_TERNARY ? 0 : n_tokens, .n_seqs = n_tokens < 4 ? 1 : 4, .n_positions = 64};
    *out_ns = 0.0;
    for (uint32_t i = 0; i < t->n; i++) {
        reader *r = &t->readers[i];
        uint64_t ns;
        r->alone.n = r->together.n = 0;
        TN_TRY(tn_calibration_program_prepare(r->program, &step, size, t->params->cache_bytes, &t->measured[i].alone[kind][size]));
        TN_TRY(tn_calibration_program_run(r->program, &ns)); // warms up
        if ((double)ns > *out_ns) *out_ns = (double)ns;
    }
    return TN_OK;
}

// Steps of tn_cost_step_sizes[size]. *out_ns: the longest of a device alone; *out_factor: the largest.
static tn_status measure_size(together *t, uint32_t kind, uint32_t size, double *out_ns, double *out_factor)
{
    double first_ns;
    TN_TRY(prepare(t, kind, size, &first_ns));
    const uint32_t n_turns = is_late(t) ? 1 : size == 0 && first_ns < (double)slot_ns(t) * TOO_SLOW ? TURNS_ONE : TURNS;
    for (uint32_t turn = 0; turn < n_turns && (turn == 0 || !is_late(t)); turn++) TN_TRY(take_turn(t));
    *out_ns = *out_factor = 0.0;
    for (uint32_t i = 0; i < t->n; i++) {
        const double ns = (double)quartile(&t->readers[i].alone), together_ns = (double)quartile(&t->readers[i].together);
        t->measured[i].alone[kind][size].ns = ns;
        t->measured[i].together_ns[kind][size] = together_ns;
        if (ns > *out_ns) *out_ns = ns;
        if (together_ns / ns > *out_factor) *out_factor = together_ns / ns;
    }
    return TN_OK;
}

static tn_status measure_sizes(together *t, uint32_t kind)
{
    double ns = 0.0, factor = factor_worth_more;
    uint32_t size = 0;
    for (; size < N_SIZES && factor >= factor_worth_more; size++) {
        const double growth = size ? (double)tn_cost_step_sizes[size] / tn_cost_step_sizes[size - 1] : 0.0;
        if (size > 0 && (is_late(t) || ns * growth / 2 > (double)slot_ns(t) * TOO_SLOW)) break;
        TN_TRY(measure_size(t, kind, size, &ns, &factor));
        TN_TRY(sizes_done(t, 1));
    }
    return size < N_SIZES ? sizes_done(t, N_SIZES - size) : TN_OK;
}

// ---- weights ----

// Every device has weights of its own, as it has in replicas.
static tn_status make_reader(together *t, uint32_t kind, const tn_graph *graph, uint32_t device)
{
    reader *r = &t->readers[device];
    const bool is_head = kind != TN_COST_READER_TERNARY;
    const uint32_t n_units = is_head ? 1 : graph->n_layers;
    TN_TRY(tn_calibration_weights_init(&r->weights, t->devices[device], graph, is_head ? graph->n_layers + 1 : 1, n_units));
    return tn_calibration_program_create(&r->weights, n_units, TOKENS_MAX, 4, &r->program);
}

static tn_calibration_shape shape_of(const together *t, uint32_t kind)
{
    const tn_calibration_params *p = t->params;
    const uint64_t memory_bytes = p->memory_bytes / t->n;
    tn_calibration_shape shape = p->small ? (tn_calibration_shape){0, 256, 768, 4, 2, 64, 64, TN_DTYPE_Q8_0}
                                          : (tn_calibration_shape){0, 2560, 6912, 20, 5, 128, 64, TN_DTYPE_Q8_0};
    if (kind == TN_COST_READER_TERNARY) {
        shape.n_layers = tn_calibration_far_layers(&shape, p->small ? 0 : p->cache_bytes, memory_bytes);
    } else {
        shape.dense = head_types[kind - TN_COST_READER_HEADS_FIRST];
        shape.n_vocab = p->small ? 1024 : tn_calibration_far_rows(&shape, p->cache_bytes, memory_bytes);
    }
    return shape;
}

static tn_status measure_kind(together *t, uint32_t kind)
{
    tn_status status;
    tn_calibration_net *net;
    const tn_calibration_shape shape = shape_of(t, kind);
    TN_TRY(tn_calibration_net_create(&shape, &net));
    for (uint32_t i = 0; i < t->n; i++) TN_TRY_GOTO(make_reader(t, kind, tn_calibration_net_graph(net), i));
    TN_TRY_GOTO(measure_sizes(t, kind));
fail:
    for (uint32_t i = 0; i < t->n; i++) {
        tn_calibration_program_destroy(t->readers[i].program);
        tn_calibration_weights_deinit(&t->readers[i].weights);
    }
    memset(t->readers, 0, t->n * sizeof *t->readers);
    tn_calibration_net_destroy(net);
    return status;
}

tn_status tn_calibrate_together(tn_device *const *devices, uint32_t n, const tn_calibration_params *params, tn_cost_together *out_measured)
{
    tn_status status = TN_OK;
    const uint64_t deadline_ns = tn_clock_ns() + params->time_ns / TIME_SHARE * n * DEADLINE + (params->small ? 0 : packing_ns);
    together t = {.devices = devices, .n = n, .params = params, .measured = out_measured, .deadline_ns = deadline_ns};
    memset(out_measured, 0, n * sizeof *out_measured);
    TN_TRY(tn_alloc_zero(n, sizeof *t.readers, &t.readers));
    for (uint32_t kind = 0; kind < TN_COST_READERS && status == TN_OK; kind++) {
        status = measure_kind(&t, kind);
        if (status == TN_UNSUPPORTED && kind != TN_COST_READER_TERNARY) status = sizes_done(&t, N_SIZES);
    }
    tn_free(t.readers);
    return status;
}
