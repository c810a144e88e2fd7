// Programs: lists for steps of one token, of up to 8, and of up to each power of two behind, as graphs, and submits of them.
#include "cuda/cuda_program.h"

#include "backend/borders.h"
#include "backend/desc_check.h"
#include "backend/step_check.h"
#include "base/alloc.h"
#include "base/checked.h"
#include "cuda/cuda_memory.h"

#include <inttypes.h>
#include <string.h>

enum { N_LISTS_MAX = 32 };

typedef struct tn_cuda_program {
    tn_program base;
    tn_cuda_device *device;
    tn_step_layout step_layout;
    uint32_t addresses; // word of the step
    tn_step_checker checker;
    tn_borders borders;
    tn_cuda_list lists[N_LISTS_MAX]; // ascending by their tokens
    uint32_t n_lists;
    tn_cuda_launch copies; // of pages; grid 0: there are none
    tn_cuda_places places;
    uint64_t n_bytes; // of device memory, all together
    uint8_t *host;    // pinned: the step, then the poison, then rankings
    uint32_t *step_host, *poison_host, *rank_counts, *rank_ids;
    float *rank_logits;
    CUevent done;
    tn_cuda_times times; // of programs that keep statistics
    tn_program_stats *stats;

    // The submit in flight.
    bool is_in_flight;
    bool is_abandoned; // nobody waits for it
    uint64_t fence;
    uint32_t n_tokens, n_logits;
    uint32_t *poison;   // the caller's
    tn_ranking ranking; // the caller's; max 0: none
    tn_cuda_list *list;
    struct tn_cuda_program *next;
} tn_cuda_program;

static tn_cuda_program *program_of(tn_program *program) { return (tn_cuda_program *)program; }

// ---- creation ----

static void choose_sizes(tn_cuda_program *program, uint32_t n_tokens)
{
    uint32_t n = 0;
    program->lists[n++].n_tokens_max = 1;
    for (uint64_t size = TN_CUDA_FEW_TOKENS; n_tokens > 1; size *= 2) {
        program->lists[n++].n_tokens_max = size < n_tokens ? (uint32_t)size : n_tokens;
        if (size >= n_tokens) break;
    }
    program->n_lists = n;
}

static tn_status compile_lists(tn_cuda_program *program, const tn_program_desc *desc, bool sizes_only)
{
    for (uint32_t i = 0; i < program->n_lists; i++) {
        tn_cuda_list *list = &program->lists[i];
        const tn_cuda_compile_params params = {.device = program->device,
                                               .desc = desc,
                                               .step_layout = program->step_layout,
                                               .addresses = program->addresses,
                                               .n_tokens_max = list->n_tokens_max,
                                               .places = program->places,
                                               .sizes_only = sizes_only};
        tn_free(list->launches); // of the first time
        list->launches = NULL;
        TN_TRY(tn_cuda_compile(&params, list));
    }
    return TN_OK;
}

static bool ranks(const tn_cuda_program *program)
{
    return program->device->base.ranking_max > 0 && program->borders.out.rows == TN_ROWS_LOGITS;
}

static uint64_t round_256(uint64_t n) { return (n + 255) & ~(uint64_t)255; }

// Pinned memory of the program, in parts that begin at multiples of 256 bytes.
static tn_status create_host_memory(tn_cuda_program *program, const tn_step_limits *limits)
{
    const uint64_t n_ranked = ranks(program) ? limits->n_logits : 0, max = program->device->base.ranking_max;
    const uint64_t sizes[] = {((uint64_t)program->addresses + 4) * 4, (uint64_t)limits->n_tokens * 4, n_ranked * 4, n_ranked * max * 4,
                              n_ranked * max * 4};
    uint64_t at[6] = {0};
    for (size_t i = 0; i < 5; i++) at[i + 1] = round_256(at[i] + sizes[i]);
    void *host;
    CUdeviceptr device;
    TN_TRY(tn_cuda_alloc_host(program->device, at[5], &host, &device));
    program->host = host;
    program->step_host = (uint32_t *)(void *)program->host;
    program->poison_host = (uint32_t *)(void *)(program->host + at[1]);
    program->places.step_host = device;
    program->places.poison_host = device + at[1];
    if (!n_ranked) return TN_OK;
    program->rank_counts = (uint32_t *)(void *)(program->host + at[2]);
    program->rank_ids = (uint32_t *)(void *)(program->host + at[3]);
    program->rank_logits = (float *)(void *)(program->host + at[4]);
    program->places.rank_counts = device + at[2];
    program->places.rank_ids = device + at[3];
    program->places.rank_logits = device + at[4];
    return TN_OK;
}

// Where the parts of a program's device memory begin: the step, the poison, the counters, the arena.
typedef struct device_parts {
    uint64_t poison, counters, arena, arena_bytes, n_bytes;
} device_parts;

static tn_status size_device_memory(const tn_cuda_program *program, const tn_step_limits *limits, device_parts *out)
{
    uint64_t counters = 0;
    *out = (device_parts){.arena_bytes = 256};
    for (uint32_t i = 0; i < program->n_lists; i++) {
        if (program->lists[i].arena_bytes > out->arena_bytes) out->arena_bytes = program->lists[i].arena_bytes;
        if (program->lists[i].n_counters > counters) counters = program->lists[i].n_counters;
    }
    out->poison = round_256(((uint64_t)program->addresses + 4) * 4);
    out->counters = round_256(out->poison + (uint64_t)limits->n_tokens * 4);
    out->arena = round_256(out->counters + counters * 4);
    return tn_ckd_add(out->arena, out->arena_bytes, &out->n_bytes) ? TN_OK : tn_bad_desc("its values do not fit into memory");
}

// One allocation for all that steps need.
static tn_status create_device_memory(tn_cuda_program *program, const tn_step_limits *limits)
{
    device_parts at;
    TN_TRY(size_device_memory(program, limits, &at));
    CUdeviceptr device;
    TN_TRY(tn_cuda_alloc(program->device, at.n_bytes, "the values of a program", &device));
    program->n_bytes = at.n_bytes;
    program->places.step = device;
    program->places.poison = device + at.poison;
    program->places.counters = device + at.counters;
    program->places.arena = device + at.arena;
    // The arena needs no clearing, which tests show by filling it.
    const tn_cuda_hooks *hooks = program->device->driver->hooks;
    if (!hooks || !hooks->fills_scratch) return TN_OK;
    const tn_cuda_api *cu = program->device->cu;
    return TN_CUDA_CHECK(cu, cu->cuMemsetD8Async(program->places.arena, 0xff, at.arena_bytes, program->device->stream), "cuMemsetD8Async");
}

// The copies of pages that a step may begin with, in all layers of the program.
static void compile_copies(tn_cuda_program *program, const tn_program_desc *desc)
{
    if (desc->n_layers == 0 || !desc->kv) return;
    const uint64_t page = tn_kv_page_layer_bytes(desc->graph->n_kv_heads, desc->graph->head_dim);
    const struct tn_cuda_pages_params p = {.step = {.words = program->places.step, .copies = program->step_layout.copies},
                                           .kv = tn_cuda_buffer_of(desc->kv)->at,
                                           .page_bytes = page,
                                           .layer_bytes = page * desc->limits.n_kv_pages};
    program->copies = (tn_cuda_launch){.kernel = TN_CUDA_copy_pages,
                                       .grid = {(uint32_t)((page + TN_CUDA_PAGE_PART - 1) / TN_CUDA_PAGE_PART), desc->n_layers, 1}};
    memcpy(program->copies.params, &p, sizeof p);
}

// Graphs are made before the first step, so that no step waits for them; programs that keep times launch one by one.
static tn_status make_graphs(tn_cuda_program *program)
{
    uint32_t n_launches = 0;
    for (uint32_t i = 0; i < program->n_lists; i++) {
        if (program->lists[i].n_launches > n_launches) n_launches = program->lists[i].n_launches;
        TN_TRY(tn_cuda_graph_create(program->device, &program->lists[i]));
    }
    if (program->stats && program->stats->node_ns) TN_TRY(tn_cuda_times_create(program->device, n_launches + 1, &program->times));
    return TN_OK;
}

// Tells how much memory the steps need.
static tn_status measure_program(tn_cuda_program *program, const tn_program_desc *desc)
{
    TN_TRY(tn_step_layout_of(&desc->limits, &program->step_layout));
    program->addresses = (program->step_layout.n_words + 1) & ~1u;
    program->borders = tn_borders_of(desc);
    choose_sizes(program, desc->limits.n_tokens);
    return compile_lists(program, desc, true);
}

static tn_status fill_program(tn_cuda_program *program, const tn_program_desc *desc)
{
    TN_TRY(tn_desc_step_checker(desc, &program->checker));
    TN_TRY(measure_program(program, desc));
    TN_TRY(create_host_memory(program, &desc->limits));
    TN_TRY(create_device_memory(program, &desc->limits));
    TN_TRY(compile_lists(program, desc, false)); // with the addresses
    compile_copies(program, desc);
    TN_TRY(make_graphs(program));
    return TN_CUDA_CHECK(program->device->cu, program->device->cu->cuEventCreate(&program->done, CU_EVENT_DISABLE_TIMING),
                         "making an event");
}

static tn_status check_program(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    tn_status status;
    tn_cuda_program *program;
    device_parts at;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->device = tn_cuda_device_of(device);
    TN_TRY_GOTO(measure_program(program, desc));
    TN_TRY_GOTO(size_device_memory(program, &desc->limits, &at));
    out_needs->scratch_bytes = at.n_bytes;
fail:
    for (uint32_t i = 0; i < program->n_lists; i++) tn_free(program->lists[i].launches);
    tn_free(program);
    return status;
}

tn_status tn_cuda_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    *out_needs = (tn_program_needs){0};
    tn_cuda_buffer later = {.base = {device, UINT64_MAX}, .device = tn_cuda_device_of(device)};
    tn_desc_sketch sketch;
    tn_status status = tn_desc_sketch_init(desc, &later.base, &sketch);
    if (status == TN_OK) status = check_program(device, &sketch.desc, out_needs);
    tn_desc_sketch_deinit(&sketch);
    return status;
}

tn_status tn_cuda_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    *out_program = NULL;
    TN_TRY(tn_desc_check(device, desc));
    tn_cuda_program *program;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->base.device = device;
    program->device = tn_cuda_device_of(device);
    program->stats = desc->stats;
    const tn_status status = fill_program(program, desc);
    if (status == TN_OK)
        *out_program = &program->base;
    else
        tn_cuda_program_destroy(&program->base);
    return status;
}

static void leave_flight(tn_cuda_program *program)
{
    for (tn_cuda_program **at = &program->device->in_flight; *at; at = &(*at)->next) {
        if (*at != program) continue;
        *at = program->next;
        break;
    }
    program->next = NULL;
    program->is_in_flight = program->is_abandoned = false;
}

// What it holds of the driver, within the device's context.
static void give_back(tn_cuda_program *program)
{
    tn_cuda_device *device = program->device;
    if (program->is_in_flight) (void)device->cu->cuEventSynchronize(program->done); // a device that is lost runs nothing any more
    for (uint32_t i = 0; i < program->n_lists; i++) tn_cuda_graph_destroy(device, &program->lists[i]);
    tn_cuda_times_give_back(device, &program->times);
    if (program->done) device->cu->cuEventDestroy(program->done);
    tn_cuda_free(device, program->places.step);
    tn_cuda_free_host(device, program->host);
}

void tn_cuda_program_destroy(tn_program *base)
{
    if (!base) return;
    tn_cuda_program *program = program_of(base);
    const tn_error failure = *tn_error_last(); // of a creation that failed: what happens here is less
    if (tn_cuda_context_push(program->device) == TN_OK) {
        give_back(program);
        (void)tn_cuda_context_pop(program->device);
    }
    tn_error_set(&failure);
    if (program->is_in_flight) { // others that use the device walk through the list
        pthread_mutex_lock(&program->device->mutex);
        leave_flight(program);
        pthread_mutex_unlock(&program->device->mutex);
    }
    for (uint32_t i = 0; i < program->n_lists; i++) tn_free(program->lists[i].launches);
    tn_free(program->times.events);
    tn_step_checker_deinit(&program->checker);
    tn_free(program);
}

uint64_t tn_cuda_program_scratch_bytes(const tn_program *base) { return ((const tn_cuda_program *)base)->n_bytes; }

// ---- submits ----

static tn_status check_submit(tn_cuda_program *program, const tn_submit *submit)
{
    if (submit->ranking && submit->ranking->max > program->device->base.ranking_max)
        return tn_fail(TN_INVALID_ARGUMENT, "submit: %u candidates a row are wanted; %s ranks up to %u", (unsigned)submit->ranking->max,
                       program->device->name, (unsigned)program->device->base.ranking_max);
    return tn_borders_check(&program->borders, &program->device->base, submit);
}

static tn_cuda_list *list_for(tn_cuda_program *program, uint32_t n_tokens)
{
    uint32_t i = 0;
    while (program->lists[i].n_tokens_max < n_tokens) i++;
    return &program->lists[i];
}

const tn_cuda_list *tn_cuda_program_list(tn_program *base, uint32_t n_tokens, const tn_cuda_places **out_places)
{
    tn_cuda_program *program = program_of(base);
    *out_places = &program->places;
    return list_for(program, n_tokens);
}

static void write_step(tn_cuda_program *program, const tn_submit *submit)
{
    const uint64_t addresses[2] = {program->borders.in.value == TN_NONE ? 0 : tn_cuda_buffer_of(submit->in)->at,
                                   tn_cuda_buffer_of(submit->out)->at};
    memcpy(program->step_host, submit->step, (size_t)tn_step_n_words(submit->step, &program->step_layout) * 4);
    memcpy(program->step_host + program->addresses, addresses, sizeof addresses);
    if (!submit->ranking) program->step_host[offsetof(tn_step, has_top) / 4] = 0;
}

// Copies of pages read the step, which the graph takes to the device as its first kernel: they are given that kernel of their own.
static tn_status launch_copies(tn_cuda_program *program, const tn_cuda_list *list)
{
    TN_TRY(tn_cuda_launch_one(program->device, &list->launches[0]));
    return tn_cuda_launch_one(program->device, &program->copies);
}

// Waits until the device works on nothing any more, however that ends.
static void settle(const tn_cuda_device *device) { (void)device->cu->cuStreamSynchronize(device->stream); }

static tn_status launch_step(tn_cuda_program *program, const tn_cuda_list *list, bool has_copies)
{
    tn_cuda_device *device = program->device;
    if (has_copies) TN_TRY(launch_copies(program, list));
    if (program->times.n)
        TN_TRY(tn_cuda_launch_timed(device, list, &program->times));
    else
        TN_TRY(TN_CUDA_CHECK(device->cu, device->cu->cuGraphLaunch(list->exec, device->stream), "starting a step"));
    return TN_CUDA_CHECK(device->cu, device->cu->cuEventRecord(program->done, device->stream), "recording an event");
}

tn_status tn_cuda_program_submit(tn_program *base, const tn_submit *submit, tn_fence *out_fence)
{
    out_fence->value = 0;
    tn_cuda_program *program = program_of(base);
    if (program->is_abandoned) {
        settle(program->device);
        leave_flight(program);
    }
    if (program->is_in_flight)
        return tn_fail(TN_INVALID_ARGUMENT, "the program's last submit is still in flight: wait for its fence first");
    const tn_step_view step = tn_step_view_of(submit->step, &program->step_layout);
    TN_TRY(tn_step_check(&program->checker, &step));
    TN_TRY(check_submit(program, submit));
    tn_cuda_list *list = list_for(program, step.n_tokens);
    write_step(program, submit);
    const tn_status status = launch_step(program, list, step.n_copies && program->copies.grid[0]);
    if (status != TN_OK) {
        settle(program->device); // a part of it may be on its way, and reads the step
        return status;
    }
    program->n_tokens = step.n_tokens;
    program->n_logits = step.n_logits;
    program->poison = submit->poison;
    program->ranking = submit->ranking ? *submit->ranking : (tn_ranking){0};
    program->list = list;
    program->is_in_flight = true;
    program->next = program->device->in_flight;
    program->device->in_flight = program;
    program->fence = ++program->device->n_submits;
    out_fence->value = program->fence;
    if (!program->stats) return TN_OK;
    program->stats->n_submits++;
    program->stats->n_barriers += list->n_launches;
    return TN_OK;
}

// Candidates of the rows that the device ranked, as far as the caller has room for them.
static void give_ranking(const tn_cuda_program *program)
{
    const tn_ranking *ranking = &program->ranking;
    const uint32_t stride = program->device->base.ranking_max;
    for (uint32_t r = 0; ranking->max && r < program->n_logits; r++) {
        const uint32_t n = ranks(program) && program->rank_counts[r] <= ranking->max ? program->rank_counts[r] : 0;
        ranking->counts[r] = n;
        memcpy(ranking->ids + (size_t)r * ranking->max, program->rank_ids + (size_t)r * stride, n * sizeof *ranking->ids);
        memcpy(ranking->logits + (size_t)r * ranking->max, program->rank_logits + (size_t)r * stride, n * sizeof *ranking->logits);
    }
}

// Tells the caller which tokens are poisoned, and by which node, and where the time went.
static tn_status give_results(tn_cuda_program *program)
{
    if (program->times.n) TN_TRY(tn_cuda_times_add(program->device, program->list, &program->times, program->stats->node_ns));
    for (uint32_t i = 0; i < program->n_tokens; i++)
        program->poison[i] = program->poison_host[i] == UINT32_MAX ? 0 : program->poison_host[i];
    give_ranking(program);
    return TN_OK;
}

// The program whose submit has this fence; NULL: none that is in flight.
static tn_cuda_program *program_in_flight(const tn_cuda_device *device, tn_fence fence)
{
    tn_cuda_program *program = device->in_flight;
    while (program && program->fence != fence.value) program = program->next;
    return program;
}

void tn_cuda_fence_abandon(tn_device *base, tn_fence fence)
{
    tn_cuda_device *device = tn_cuda_device_of(base);
    pthread_mutex_lock(&device->mutex);
    tn_cuda_program *program = program_in_flight(device, fence);
    if (program) program->is_abandoned = true;
    pthread_mutex_unlock(&device->mutex);
}

// Ends one submit: others have fences of their own, and each is told by its own.
tn_status tn_cuda_fence_wait(tn_device *base, tn_fence fence)
{
    tn_cuda_device *device = tn_cuda_device_of(base);
    if (fence.value == 0 || fence.value > device->n_submits)
        return tn_fail(TN_INVALID_ARGUMENT, "%s has no fence %" PRIu64, device->name, fence.value);
    tn_cuda_program *program = program_in_flight(device, fence);
    if (!program) return TN_OK;           // it was waited for before
    pthread_mutex_unlock(&device->mutex); // others may use the device, but not this program
    const CUresult result = device->cu->cuEventSynchronize(program->done);
    pthread_mutex_lock(&device->mutex);
    const tn_status status = TN_CUDA_CHECK(device->cu, result, "waiting for a step");
    leave_flight(program);
    if (status == TN_OK) return give_results(program);
    settle(device);
    return status;
}
