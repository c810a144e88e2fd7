// Which products a program may leave out, and whether it does.
#include "cpu/cpu_skip.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpu_program.h"

#include <inttypes.h>
#include <string.h>

// Steps that are looked at before copies are made.
static const uint32_t n_counted_steps = 16;
// Below these shares of zeros neither kind has ever paid (docs/PERFORMANCE.md): no copies are made to find out again.
static const double gates_zero_min = 0.4, codes_zero_min = 0.6;
// Steps for each combination; the fastest one counts, since whatever disturbs a step makes it slower.
static const uint32_t n_trial_steps = 6;
// What leaving nothing out may be slower by and still be kept.
static const double gain_min = 1.02;

// ---- what can be skipped ----

// The task that computes a value, of a kind; NULL where there is none in the list.
static tn_cpu_task *producer(const tn_cpu_list *list, const tn_cpu_value *value, tn_cpu_task_kind kind)
{
    for (uint32_t i = 0; value && i < list->n_tasks; i++) {
        if (list->tasks[i].kind == kind && list->tasks[i].out == value) return &list->tasks[i];
    }
    return NULL;
}

static bool is_read_once(const tn_cpu_program *program, const tn_cpu_list *list, const tn_cpu_value *value)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        for (uint32_t k = 0; k < 2; k++) n += list->tasks[i].in[k] == value;
    }
    return n == 1 && value != &list->values[program->out_value];
}

static bool is_squared_relu(const tn_cpu_task *task) { return task->kind == TN_CPU_TASK_GLU && task->op->p.glu.kind == TN_GLU_RELU2; }

// The product that reads the codes of a value, if its codes are 0 where the value is.
static tn_cpu_task *product_of_codes(const tn_cpu_list *list, const tn_cpu_value *value)
{
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        tn_cpu_task *task = &list->tasks[i];
        if (task->kind != TN_CPU_TASK_MATMUL_TERNARY) continue;
        const tn_cpu_task *codes = producer(list, task->in[0], TN_CPU_TASK_NORM_QUANT);
        if (!codes) codes = producer(list, task->in[0], TN_CPU_TASK_QUANT);
        if (codes && codes->in[0] == value) return task;
    }
    return NULL;
}

// Marks a task; its product is the next one, the same for each list.
static void mark(tn_cpu_skip *skip, uint32_t *n, tn_cpu_task *task, tn_cpu_sparse_kind kind, const tn_cpu_value *gate)
{
    // As few strips of columns as there are workers: pieces of memory with gaps between them should be long.
    const uint32_t all_lines = (task->w.n_rows - 1) / TN_SPARSE_SPAN + 1, n_threads = tn_cpu_pool_n_threads(skip->device->pool);
    const uint32_t n_lines = kind == TN_CPU_SPARSE_ROWS ? 1 : (all_lines - 1) / n_threads + 1;
    skip->products[*n] = (tn_cpu_skip_product){.copy = {.kind = kind, .n_lines = n_lines, .w = task->w}};
    task->product = ++*n;
    task->gate = gate;
}

tn_status tn_cpu_skip_plan(tn_cpu_program *program, tn_cpu_list *list)
{
    tn_cpu_skip *skip = &program->skip;
    skip->device = program->device;
    if (program->device->skip == TN_CPU_SKIP_NEVER) return TN_OK;
    uint32_t n = 0;
    if (!skip->products) TN_TRY(tn_alloc_zero(list->n_tasks, sizeof *skip->products, &skip->products)); // at most one a task
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        const tn_cpu_task *glu = &list->tasks[i];
        if (!is_squared_relu(glu)) continue;
        tn_cpu_task *gate = producer(list, glu->in[0], TN_CPU_TASK_MATMUL_TERNARY),
                    *up = producer(list, glu->in[1], TN_CPU_TASK_MATMUL_TERNARY);
        // Without a norm before it the products of up have no bound that would keep them in range.
        if (gate && up && gate < up && is_read_once(program, list, up->out) && producer(list, up->in[0], TN_CPU_TASK_NORM_QUANT))
            mark(skip, &n, up, TN_CPU_SPARSE_ROWS, glu->in[0]);
        tn_cpu_task *down = product_of_codes(list, glu->out);
        if (down) mark(skip, &n, down, TN_CPU_SPARSE_COLUMNS, NULL);
    }
    skip->n_products = n;
    return TN_OK;
}

static double largest(const float *x, uint32_t n, double at_least)
{
    for (uint32_t i = 0; i < n; i++) {
        const double size = x[i] < 0 ? -(double)x[i] : (double)x[i];
        if (size > at_least || size != size) at_least = size; // a NaN stays
    }
    return at_least;
}

// A row of up that is left out must not be one that would have failed its token by a value that is not below 2^56. The codes q of
// norm_quant and their scale s are those of x * gamma / rms(x), so |s * q_i| <= sqrt(K) * max|gamma| but for roundings, and a product is at
// most K * sqrt(K) * max|gamma| * scale. 4: for the roundings. Compared by squares; false for NaN.
static bool stays_in_range(const tn_cpu_list *list, const tn_cpu_task *up)
{
    const tn_cpu_task *norm = producer(list, up->in[0], TN_CPU_TASK_NORM_QUANT);
    const double K = norm->out->width, gamma = largest(norm->gamma, norm->out->width, 1); // 1: codes of an all but empty row
    const double rest = 4 * gamma * largest(up->w.scales, up->w.n_rows, 0);
    return K * K * K * rest * rest < 0x1p112;
}

// ---- copies ----

typedef struct copy_job {
    tn_cpu_skip *skip;
    tn_cpu_sparse_kind kind;
    uint32_t next; // strip over all products, atomic
} copy_job;

static tn_status copy_strips(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)thread;
    (void)n_threads;
    copy_job *job = ctx;
    const tn_cpu_skip *skip = job->skip;
    for (;;) {
        uint32_t strip = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED), i = 0;
        for (; i < skip->n_products; i++) {
            const tn_cpu_skip_product *product = &skip->products[i];
            if (product->copy.kind != job->kind) continue;
            const uint32_t n = tn_cpu_sparse_n_strips(&product->copy);
            if (strip < n) {
                tn_cpu_sparse_fill_strip(&product->copy, strip, tn_cpu_skip_bytes(skip, product));
                break;
            }
            strip -= n;
        }
        if (i == skip->n_products) return TN_OK;
    }
}

static void drop_copies(tn_cpu_skip *skip, tn_cpu_skip_kinds kinds)
{
    for (unsigned kind = 0; kind < TN_CPU_SKIP_KINDS; kind++) {
        if (!tn_cpu_skip_has(kinds, kind)) continue;
        if (skip->copies[kind]) skip->device->base.backend->buffer_destroy(skip->copies[kind]);
        skip->copies[kind] = NULL;
    }
}

static tn_status make_copies(tn_cpu_skip *skip)
{
    tn_cpu_device *device = skip->device;
    tn_status status = TN_OK;
    for (unsigned kind = 0; kind < TN_CPU_SKIP_KINDS; kind++) {
        if (!tn_cpu_skip_has(skip->possible, kind)) continue;
        copy_job job = {.skip = skip, .kind = kind};
        TN_TRY_GOTO(device->base.backend->buffer_create(&device->base, skip->bytes[kind], &skip->copies[kind]));
        TN_TRY_GOTO(tn_cpu_pool_run(device->pool, copy_strips, &job));
    }
    return TN_OK;
fail:
    drop_copies(skip, skip->possible);
    return status;
}

uint64_t tn_cpu_skip_copies_bytes(const tn_cpu_skip *skip)
{
    uint64_t bytes = 0;
    for (unsigned kind = 0; kind < TN_CPU_SKIP_KINDS; kind++) bytes += skip->copies[kind] ? skip->bytes[kind] : 0;
    return bytes;
}

// Gives a task's product up.
static void unmark(tn_cpu_program *program, uint32_t product)
{
    for (unsigned l = 0; l < TN_CPU_LISTS; l++) {
        for (uint32_t i = 0; i < program->lists[l].n_tasks; i++) {
            if (program->lists[l].tasks[i].product == product) program->lists[l].tasks[i].product = 0;
        }
    }
}

// Where each copy lies, of the products that remain.
static bool place_copies(tn_cpu_skip *skip)
{
    for (uint32_t i = 0; i < skip->n_products; i++) {
        tn_cpu_skip_product *product = &skip->products[i];
        uint64_t bytes;
        product->offset = skip->bytes[product->copy.kind];
        if (!tn_cpu_sparse_bytes(&product->copy, &bytes) || !tn_ckd_add(product->offset, bytes, &skip->bytes[product->copy.kind]))
            return false;
        skip->possible |= 1u << product->copy.kind;
    }
    return true;
}

static tn_status copies_too_large(void)
{
    return tn_fail(TN_INVALID_ARGUMENT, "program description: its weights do not fit into memory twice");
}

tn_status tn_cpu_skip_needs(const tn_cpu_program *program, uint64_t *out_bytes)
{
    const tn_cpu_skip *skip = &program->skip;
    *out_bytes = 0;
    if (program->device->skip != TN_CPU_SKIP_ALWAYS) return TN_OK;
    for (uint32_t i = 0; i < skip->n_products; i++) {
        uint64_t bytes;
        if (!tn_cpu_sparse_bytes(&skip->products[i].copy, &bytes) || !tn_ckd_add(*out_bytes, bytes, out_bytes)) return copies_too_large();
    }
    return TN_OK;
}

tn_status tn_cpu_skip_start(tn_cpu_program *program)
{
    tn_cpu_skip *skip = &program->skip;
    const tn_cpu_list *list = &program->lists[TN_CPU_LIST_FEW];
    bool all_in_range = true;
    for (uint32_t i = 0; i < list->n_tasks; i++) {
        if (list->tasks[i].product && list->tasks[i].gate && !stays_in_range(list, &list->tasks[i])) all_in_range = false;
    }
    for (uint32_t i = 0; !all_in_range && i < skip->n_products; i++) {
        if (skip->products[i].copy.kind == TN_CPU_SPARSE_ROWS) unmark(program, i + 1);
    }
    const tn_log_level level = program->device->skip == TN_CPU_SKIP_ALWAYS ? TN_LOG_WARN : TN_LOG_INFO;
    if (!all_in_range) {
        tn_log_write(&skip->device->log, level,
                     "%s: rows of up are not skipped: their gains or scales are so large that one left out could hide a value out of range",
                     skip->device->name);
    }
    if (!place_copies(skip)) return copies_too_large();
    if (!all_in_range) skip->possible &= ~(1u << TN_CPU_SPARSE_ROWS);
    if (skip->possible == 0) {
        if (program->kv && program->device->skip == TN_CPU_SKIP_ALWAYS)
            tn_log_write(&skip->device->log, level, "%s: nothing is skipped: no product here depends on a squared ReLU",
                         skip->device->name);
        return TN_OK;
    }
    skip->state = program->device->skip;
    return skip->state == TN_CPU_SKIP_ALWAYS ? make_copies(skip) : TN_OK;
}

void tn_cpu_skip_deinit(tn_cpu_skip *skip)
{
    drop_copies(skip, (1u << TN_CPU_SKIP_KINDS) - 1);
    tn_free(skip->products);
}

// ---- whether it pays ----

static double share(uint64_t part, uint64_t all) { return all ? (double)part / (double)all : 0; }

static void end_counting(tn_cpu_skip *skip)
{
    const double gates = share(skip->zeros.n_gates_zero, skip->zeros.n_gates), codes = share(skip->zeros.n_codes_zero, skip->zeros.n_codes);
    uint64_t bytes = 0;
    for (unsigned kind = 0; kind < TN_CPU_SKIP_KINDS; kind++) bytes += tn_cpu_skip_has(skip->possible, kind) ? skip->bytes[kind] : 0;
    const char *verdict = "nothing is skipped";
    skip->state = TN_CPU_SKIP_NEVER;
    if (gates >= gates_zero_min || codes >= codes_zero_min) {
        verdict = "there is no memory to skip them";
        if (tn_cpu_memory_left(skip->device) / 2 >= bytes && make_copies(skip) == TN_OK) {
            verdict = "trying whether skipping them pays";
            skip->state = TN_CPU_SKIP_TRYING;
        }
    }
    tn_log_write(&skip->device->log, TN_LOG_INFO, "%s: %.0f %% of the gates are not above 0, %.0f %% of the codes before down are 0: %s",
                 skip->device->name, 100 * gates, 100 * codes, verdict);
}

// Forgets kinds that no number of tokens wants or still tries.
static void drop_unwanted(tn_cpu_skip *skip)
{
    tn_cpu_skip_kinds wanted = 0;
    for (unsigned i = 0; i < TN_CPU_SKIP_TRIALS; i++) {
        const tn_cpu_skip_trial *trial = &skip->trials[i];
        wanted |= trial->is_decided ? trial->kinds : trial->n_steps > 0 ? skip->possible : 0;
    }
    drop_copies(skip, skip->possible & ~wanted);
    skip->possible &= wanted;
    if (skip->possible == 0) skip->state = TN_CPU_SKIP_NEVER;
}

static void decide(tn_cpu_skip *skip, tn_cpu_skip_trial *trial, uint32_t n_tokens)
{
    const double whole = (double)trial->best_ns[0];
    for (tn_cpu_skip_kinds k = 1; k < TN_CPU_SKIP_COMBINATIONS; k++) {
        if ((k & ~skip->possible) == 0 && trial->best_ns[k] && (double)trial->best_ns[k] * gain_min < whole &&
            (trial->kinds == 0 || trial->best_ns[k] < trial->best_ns[trial->kinds]))
            trial->kinds = k;
    }
    trial->is_decided = true;
    tn_log_write(&skip->device->log, TN_LOG_INFO, "%s: steps of %u tokens skip %s%s%s: %.2f ms, whole %.2f ms", skip->device->name,
                 (unsigned)n_tokens, tn_cpu_skip_has(trial->kinds, TN_CPU_SPARSE_ROWS) ? "rows of up" : "",
                 trial->kinds == 3   ? " and "
                 : trial->kinds == 0 ? "nothing"
                                     : "",
                 tn_cpu_skip_has(trial->kinds, TN_CPU_SPARSE_COLUMNS) ? "columns of down" : "", (double)trial->best_ns[trial->kinds] / 1e6,
                 whole / 1e6);
    drop_unwanted(skip);
}

static tn_cpu_skip_kinds kinds_to_try(tn_cpu_skip *skip, uint32_t n_tokens)
{
    tn_cpu_skip_trial *trial = &skip->trials[skip->trial];
    if (!trial->is_decided && trial->n_steps >= n_trial_steps * TN_CPU_SKIP_COMBINATIONS) decide(skip, trial, n_tokens);
    if (skip->state != TN_CPU_SKIP_TRYING) return 0;
    return trial->is_decided ? trial->kinds : trial->n_steps % TN_CPU_SKIP_COMBINATIONS & skip->possible;
}

void tn_cpu_skip_begin_step(tn_cpu_skip *skip, uint32_t n_tokens, bool has_stats)
{
    skip->kinds = 0;
    skip->counts = false;
    skip->step_zeros = (tn_cpu_skip_zeros){0};
    if (skip->state == TN_CPU_SKIP_NEVER || n_tokens > TN_CPU_SKIP_TOKENS) return;
    skip->trial = n_tokens - 1;
    if (skip->state == TN_CPU_SKIP_COUNTING && skip->n_counted == n_counted_steps) end_counting(skip);
    switch (skip->state) {
    case TN_CPU_SKIP_NEVER: return;
    case TN_CPU_SKIP_COUNTING: skip->counts = true; break;
    case TN_CPU_SKIP_TRYING: skip->kinds = kinds_to_try(skip, n_tokens); break;
    case TN_CPU_SKIP_ALWAYS: skip->kinds = skip->possible; break;
    }
    if (has_stats && skip->kinds != 0) skip->counts = true;
}

void tn_cpu_skip_time(tn_cpu_skip *skip, bool is_end)
{
    if (skip->counts && is_end) {
        skip->zeros.n_gates += skip->step_zeros.n_gates;
        skip->zeros.n_gates_zero += skip->step_zeros.n_gates_zero;
        skip->zeros.n_codes += skip->step_zeros.n_codes;
        skip->zeros.n_codes_zero += skip->step_zeros.n_codes_zero;
        skip->n_counted++;
    }
    if (skip->state != TN_CPU_SKIP_TRYING || skip->trials[skip->trial].is_decided) return;
    const uint64_t now_ns = tn_clock_ns();
    if (!is_end) {
        skip->begun_ns = now_ns;
        return;
    }
    tn_cpu_skip_trial *trial = &skip->trials[skip->trial];
    const uint64_t ns = now_ns - skip->begun_ns;
    uint64_t *best = &trial->best_ns[trial->n_steps % TN_CPU_SKIP_COMBINATIONS & skip->possible];
    if (*best == 0 || ns < *best) *best = ns;
    trial->n_steps++;
}
