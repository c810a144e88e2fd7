// Programs: lists for steps of one token, of a few and of many, recorded when first needed, and submits of them.
#include "vulkan/vk_program.h"

#include "backend/borders.h"
#include "backend/desc_check.h"
#include "backend/step_check.h"
#include "base/alloc.h"
#include "base/log.h"
#include "vulkan/vk_compile.h"
#include "vulkan/vk_mirror.h"
#include "vulkan/vk_rank.h"
#include "vulkan/vk_record.h"

#include <inttypes.h>
#include <string.h>

enum { LIST_ONE, LIST_FEW, LIST_MANY, N_LISTS, FEW_TOKENS = 8 };

// A step's arguments of indirect dispatches.
typedef struct indirect_args {
    uint32_t x, y, z;
} indirect_args;

typedef struct tn_vk_program {
    tn_program base;
    tn_vk_device *device;
    tn_step_layout step_layout;
    tn_step_checker checker;
    tn_borders borders;
    tn_vk_list lists[N_LISTS]; // without dispatches: no step needs it
    tn_vk_list copies_list;
    tn_vk_grids grids;
    uint32_t n_counters; // words of the state behind the poison, which rankings are behind
    tn_vk_ranks ranks;
    uint64_t args_offset; // bytes of the step's buffers where the arguments begin
    // The step on the host's side, and where shaders read it: the same buffer where the device's memory is mapped.
    tn_vk_buffer *step_host, *step;
    tn_vk_buffer *arena, *state, *results_host; // poison, then rankings
    VkCommandPool pool;
    VkCommandBuffer begin, end; // take the step to the device and clear the poison; take the poison to the host
    tn_vk_carry carry_in, carry_out;
    tn_vk_buffer **used; // owned: buffers beside the submit's own, which steps read (weights) and write (KV cache, taps)
    uint32_t n_used;
    size_t used_capacity;
    tn_program_stats *stats;

    // The submit in flight.
    bool is_in_flight;
    uint64_t fence;
    uint32_t n_tokens, n_logits;
    uint32_t *poison;   // the caller's
    tn_ranking ranking; // the caller's; max 0: none
    const tn_vk_list *list;
    struct tn_vk_program *next;
} tn_vk_program;

static tn_vk_program *program_of(tn_program *program) { return (tn_vk_program *)program; }

// ---- creation ----

static tn_status add_used(tn_vk_program *program, tn_buffer *buffer)
{
    if (!buffer) return TN_OK;
    for (uint32_t i = 0; i < program->n_used; i++) {
        if (program->used[i] == tn_vk_buffer_of(buffer)) return TN_OK;
    }
    TN_TRY(tn_grow(&program->used, &program->used_capacity, (size_t)program->n_used + 1, sizeof(tn_vk_buffer *)));
    program->used[program->n_used++] = tn_vk_buffer_of(buffer);
    return TN_OK;
}

static tn_status fill_used(tn_vk_program *program, const tn_program_desc *desc)
{
    TN_TRY(add_used(program, desc->kv));
    for (uint32_t t = 0; t < desc->n_taps; t++) TN_TRY(add_used(program, desc->taps[t].buffer));
    for (uint32_t i = 0; i < desc->n_nodes; i++) {
        const uint32_t weight = desc->graph->nodes[desc->first_node + i].weight;
        if (weight != TN_NONE) TN_TRY(add_used(program, desc->weights[weight].buffer));
    }
    return TN_OK;
}

// The copies of pages that a step may begin with: a dispatch for each run of layers that one binding reaches.
static tn_status compile_copies(tn_vk_program *program, const tn_program_desc *desc)
{
    const uint64_t page = tn_kv_page_layer_bytes(desc->graph->n_kv_heads, desc->graph->head_dim), layer = page * desc->limits.n_kv_pages;
    tn_vk_list *list = &program->copies_list;
    if (desc->n_layers == 0 || !desc->kv || layer == 0) return TN_OK;
    const uint64_t n_bound = program->device->limits.range_bytes / layer;
    if (n_bound == 0) return TN_OK; // such a layer is refused by its own ops
    const struct tn_vk_pages_params p = {
        .copies = program->step_layout.copies, .n_pages = desc->limits.n_kv_pages, .page_words = (uint32_t)(page / 4)};
    for (uint64_t first = 0; first < desc->n_layers; first += n_bound) {
        const uint64_t n = desc->n_layers - first < n_bound ? desc->n_layers - first : n_bound;
        TN_TRY(tn_grow(&list->dispatches, &list->capacity, (size_t)list->n_dispatches + 1, sizeof *list->dispatches));
        tn_vk_dispatch *d = &list->dispatches[list->n_dispatches++];
        *d = (tn_vk_dispatch){.shader = "copy_pages",
                              .constants = {program->device->traits.n_row_threads},
                              .n_constants = 1,
                              .nodes = {TN_NONE, TN_NONE, TN_NONE}};
        d->n_params = sizeof p / 4;
        memcpy(d->params, &p, sizeof p);
        d->kv = (tn_vk_range){tn_vk_buffer_of(desc->kv), first * layer, n * layer};
        d->grid.axes[0] = tn_vk_fixed((p.page_words + 1023) / 1024);
        d->grid.axes[1] = (tn_vk_axis){.by = TN_VK_PER_COPIES, .divisor = 1, .n_max = UINT32_MAX};
        d->grid.axes[2] = tn_vk_fixed((uint32_t)n);
    }
    return TN_OK;
}

static uint64_t round_256(uint64_t n) { return (n + 255) & ~(uint64_t)255; }

static tn_status compile_lists(tn_vk_program *program, const tn_program_desc *desc)
{
    program->args_offset = round_256((uint64_t)program->step_layout.n_words * 4);
    if (program->args_offset > program->device->limits.range_bytes)
        return tn_fail(TN_UNSUPPORTED, "%s: the page table of %u sequences is more than the device binds at once: run fewer at a time",
                       program->device->name, (unsigned)desc->limits.n_seqs);
    const uint32_t n = desc->limits.n_tokens, sizes[N_LISTS] = {1, n < FEW_TOKENS ? n : FEW_TOKENS, n};
    for (uint32_t i = 0; i < N_LISTS; i++) {
        if (i > 0 && sizes[i] == sizes[i - 1]) continue;
        const tn_vk_compile_params params = {program->device, desc, program->step_layout, sizes[i]};
        TN_TRY(tn_vk_compile(&params, &program->lists[i]));
        program->lists[i].is_direct = i == LIST_ONE;
        if (program->lists[i].n_counters > program->n_counters) program->n_counters = program->lists[i].n_counters;
    }
    program->borders = tn_borders_of(desc);
    program->ranks = tn_vk_ranks_of(program->device, desc, &program->borders.out, n + program->n_counters);
    for (uint32_t i = 0; i < N_LISTS; i++) {
        tn_vk_list *list = &program->lists[i];
        if (list->n_dispatches) TN_TRY(tn_vk_ranks_emit(&program->ranks, program->device, &program->step_layout, list));
        if (list->n_dispatches) TN_TRY(tn_vk_collect_grids(list, &program->grids));
    }
    TN_TRY(compile_copies(program, desc));
    return tn_vk_collect_grids(&program->copies_list, &program->grids);
}

// Bytes of the buffers that all steps use.
typedef struct buffer_sizes {
    uint64_t step, arena, state, results;
} buffer_sizes;

static buffer_sizes sizes_of(const tn_vk_program *program, const tn_step_limits *limits)
{
    uint64_t arena_words = 64;
    for (uint32_t i = 0; i < N_LISTS; i++) {
        if (program->lists[i].arena_words > arena_words) arena_words = program->lists[i].arena_words;
    }
    return (buffer_sizes){.step = program->args_offset + (uint64_t)program->grids.n_grids * sizeof(indirect_args) + 4,
                          .arena = arena_words * 4,
                          .state = ((uint64_t)limits->n_tokens + program->n_counters + tn_vk_ranks_words(&program->ranks)) * 4,
                          .results = ((uint64_t)limits->n_tokens + tn_vk_ranks_host_words(&program->ranks)) * 4};
}

static tn_status create_buffers(tn_vk_program *program, const tn_program_desc *desc)
{
    const buffer_sizes n_bytes = sizes_of(program, &desc->limits);
    TN_TRY(tn_vk_memory_create(program->device, n_bytes.step, TN_VK_PLACE_DEVICE, &program->step));
    program->step_host = program->step;
    if (!program->step->mapped) TN_TRY(tn_vk_memory_create(program->device, n_bytes.step, TN_VK_PLACE_UPLOAD, &program->step_host));
    TN_TRY(tn_vk_memory_create(program->device, n_bytes.arena, TN_VK_PLACE_DEVICE, &program->arena));
    TN_TRY(tn_vk_memory_create(program->device, n_bytes.state, TN_VK_PLACE_DEVICE, &program->state));
    return tn_vk_memory_create(program->device, n_bytes.results, TN_VK_PLACE_READBACK, &program->results_host);
}

// What every step begins and ends with.
static tn_status record_frame(tn_vk_program *program)
{
    const uint64_t poison_bytes = (uint64_t)program->checker.limits.n_tokens * 4;
    tn_vk_device *device = program->device;
    TN_TRY(tn_vk_begin(device, program->pool, &program->begin));
    tn_vk_barrier(device, program->begin);
    if (program->step_host != program->step) {
        const VkBufferCopy all = {.size = program->step->base.size_bytes};
        device->vk.vkCmdCopyBuffer(program->begin, program->step_host->handle, program->step->handle, 1, &all);
    }
    device->vk.vkCmdFillBuffer(program->begin, program->state->handle, 0, poison_bytes, UINT32_MAX);
    TN_TRY(tn_vk_end(device, program->begin));
    TN_TRY(tn_vk_begin(device, program->pool, &program->end));
    const VkBufferCopy results[] = {
        {.size = poison_bytes},
        {.srcOffset = (uint64_t)program->ranks.at * 4, .dstOffset = poison_bytes, .size = tn_vk_ranks_host_words(&program->ranks) * 4}};
    device->vk.vkCmdCopyBuffer(program->end, program->state->handle, program->results_host->handle, program->ranks.n_rows ? 2 : 1, results);
    tn_vk_barrier(device, program->end);
    return tn_vk_end(device, program->end);
}

static tn_status fill(tn_vk_buffer *buffer, int byte)
{
    const uint64_t n_bytes = buffer->base.size_bytes;
    uint8_t *bytes;
    TN_TRY(tn_alloc((size_t)n_bytes, 1, &bytes));
    memset(bytes, byte, (size_t)n_bytes);
    const tn_status status = tn_vk_buffer_write(&buffer->base, 0, bytes, n_bytes);
    tn_free(bytes);
    return status;
}

// Counters are 0 between steps; only the poison is cleared by each. The arena needs no clearing, which tests show by filling it.
static tn_status clear_buffers(tn_vk_program *program)
{
    if (program->device->fills_scratch) TN_TRY(fill(program->arena, 0xff));
    return fill(program->state, 0);
}

// ---- shaders ----

// Dispatches of a program whose pipelines are not made yet, one of each pipeline.
typedef struct unmade {
    const tn_vk_dispatch **dispatches; // owned
    uint32_t n;
} unmade;

static bool same_pipeline(const tn_vk_dispatch *a, const tn_vk_dispatch *b)
{
    return strcmp(a->shader, b->shader) == 0 && a->n_constants == b->n_constants &&
           memcmp(a->constants, b->constants, a->n_constants * sizeof *a->constants) == 0;
}

static void find_unmade(const tn_vk_device *device, const tn_vk_list *list, unmade *all)
{
    for (uint32_t i = 0; i < list->n_dispatches; i++) {
        const tn_vk_dispatch *d = &list->dispatches[i];
        uint32_t k = 0;
        while (k < all->n && !same_pipeline(all->dispatches[k], d)) k++;
        if (k == all->n && !tn_vk_pipeline_is_made(device, d->shader, d->constants, d->n_constants)) all->dispatches[all->n++] = d;
    }
}

// Software devices compile when a pipeline is first run, with what it is bound to: each is run once over no workgroups, by `one`, a list of
// one dispatch. The step's arguments are 0.
static tn_status run_empty(tn_vk_program *program, const tn_vk_dispatch *dispatch, tn_vk_list *one)
{
    const tn_vk_bound bound = {program->step, program->arena, program->state, program->args_offset, false};
    uint64_t value;
    one->dispatches[0] = *dispatch;
    TN_TRY(tn_vk_record(program->device, program->pool, &bound, program->arena, program->arena, one));
    const VkCommandBuffer commands[] = {program->begin, one->parts[0]};
    TN_TRY(tn_vk_submit(program->device, commands, 2, &value));
    return tn_vk_wait(program->device, value);
}

static tn_status compile(tn_vk_program *program, const unmade *all, const tn_progress *progress)
{
    tn_status status;
    tn_vk_list one = {.n_tokens_max = 1, .n_dispatches = 1};
    TN_TRY_GOTO(tn_alloc_zero(1, sizeof *one.dispatches, &one.dispatches));
    TN_TRY_GOTO(tn_alloc_zero(1, sizeof *one.grid_slots, &one.grid_slots));
    memset(program->step_host->mapped, 0, (size_t)program->step_host->base.size_bytes);
    TN_TRY_GOTO(tn_vk_memory_flush(program->step_host));
    for (uint32_t i = 0; i < all->n; i++) {
        const tn_vk_dispatch *d = all->dispatches[i];
        VkPipeline pipeline;
        TN_TRY_GOTO(tn_progress_report(progress, "compiling shaders", i, all->n));
        TN_TRY_GOTO(tn_vk_pipeline_get(program->device, d->shader, d->constants, d->n_constants, &pipeline));
        if (program->device->traits.is_software) TN_TRY_GOTO(run_empty(program, d, &one));
    }
    if (all->n) TN_TRY_GOTO(tn_progress_report(progress, "compiling shaders", all->n, all->n));
fail:
    tn_vk_settle(program->device); // what was given up may still use the list
    tn_vk_list_deinit(program->device, &one);
    return status;
}

// Compiles the shaders of all lists before the first step, so that no step waits for the driver's compiler: a software device's takes
// seconds where the driver has not kept what it made before.
static tn_status make_pipelines(tn_vk_program *program, const tn_progress *progress)
{
    unmade all = {0};
    size_t n = program->copies_list.n_dispatches;
    if (!program->device->compiles_early) return TN_OK;
    for (uint32_t i = 0; i < N_LISTS; i++) n += program->lists[i].n_dispatches;
    TN_TRY(tn_alloc(n, sizeof *all.dispatches, &all.dispatches));
    for (uint32_t i = 0; i < N_LISTS; i++) find_unmade(program->device, &program->lists[i], &all);
    find_unmade(program->device, &program->copies_list, &all);
    const tn_status status = compile(program, &all, progress);
    tn_free(all.dispatches);
    return status;
}

// ---- the program ----

tn_status tn_vk_program_create(tn_device *device, const tn_program_desc *desc, tn_program **out_program)
{
    *out_program = NULL;
    TN_TRY(tn_desc_check(device, desc));
    tn_status status;
    tn_vk_program *program;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->base.device = device;
    program->device = tn_vk_device_of(device);
    program->stats = desc->stats;
    TN_TRY_GOTO(tn_step_layout_of(&desc->limits, &program->step_layout));
    TN_TRY_GOTO(tn_desc_step_checker(desc, &program->checker));
    TN_TRY_GOTO(compile_lists(program, desc));
    TN_TRY_GOTO(fill_used(program, desc));
    TN_TRY_GOTO(create_buffers(program, desc));
    TN_TRY_GOTO(clear_buffers(program));
    TN_TRY_GOTO(tn_vk_command_pool_create(program->device, &program->pool));
    TN_TRY_GOTO(record_frame(program));
    TN_TRY_GOTO(make_pipelines(program, desc->progress));
    *out_program = &program->base;
    return TN_OK;
fail:
    tn_vk_program_destroy(&program->base);
    return status;
}

// ---- before weights are packed ----

// Compiles a program for steps of that many tokens, which calls no driver, and forgets it.
static tn_status check_size(tn_vk_device *device, const tn_program_desc *desc, uint32_t n_tokens, uint64_t *out_bytes)
{
    tn_status status;
    tn_vk_program *program;
    tn_program_desc sized = *desc;
    sized.limits.n_tokens = n_tokens;
    if (sized.limits.n_logits > n_tokens) sized.limits.n_logits = n_tokens;
    TN_TRY(tn_alloc_zero(1, sizeof *program, &program));
    program->device = device;
    TN_TRY_GOTO(tn_step_layout_of(&sized.limits, &program->step_layout));
    TN_TRY_GOTO(compile_lists(program, &sized));
    const buffer_sizes n_bytes = sizes_of(program, &sized.limits);
    *out_bytes = n_bytes.step + n_bytes.arena + n_bytes.state + n_bytes.results;
fail:
    for (uint32_t i = 0; i < N_LISTS; i++) tn_vk_list_deinit(device, &program->lists[i]);
    tn_vk_list_deinit(device, &program->copies_list);
    tn_free(program->grids.grids);
    tn_free(program);
    return status;
}

// Smaller steps need less of everything.
static tn_status find_size(tn_vk_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    uint32_t fits = 1, does_not = desc->limits.n_tokens;
    uint64_t n_bytes;
    tn_status status = check_size(device, desc, does_not, &out_needs->scratch_bytes);
    if (status != TN_UNSUPPORTED) return status;
    const tn_error error = *tn_error_last();
    TN_TRY(check_size(device, desc, fits, &n_bytes)); // where no size helps, the reason is another one
    while (does_not - fits > 1) {
        const uint32_t middle = fits + (does_not - fits) / 2;
        status = check_size(device, desc, middle, &n_bytes);
        if (status != TN_OK && status != TN_UNSUPPORTED) return status;
        *(status == TN_OK ? &fits : &does_not) = middle;
    }
    out_needs->n_tokens = fits;
    return tn_fail(TN_UNSUPPORTED, "%s (-ub %u fits)", error.message, (unsigned)fits);
}

tn_status tn_vk_program_check(tn_device *device, const tn_program_desc *desc, tn_program_needs *out_needs)
{
    *out_needs = (tn_program_needs){0};
    tn_vk_buffer later = {.base = {device, UINT64_MAX}};
    tn_desc_sketch sketch;
    tn_status status = tn_desc_sketch_init(desc, &later.base, &sketch);
    if (status == TN_OK) status = find_size(tn_vk_device_of(device), &sketch.desc, out_needs);
    tn_desc_sketch_deinit(&sketch);
    return status;
}

// ---- destruction ----

static void leave_flight(tn_vk_program *program)
{
    for (tn_vk_program **at = &program->device->in_flight; *at; at = &(*at)->next) {
        if (*at != program) continue;
        *at = program->next;
        break;
    }
    program->next = NULL;
    program->is_in_flight = false;
}

void tn_vk_program_destroy(tn_program *base)
{
    if (!base) return;
    tn_vk_program *program = program_of(base);
    tn_vk_device *device = program->device;
    if (program->is_in_flight) {
        (void)tn_vk_wait(device, program->fence); // a device that is lost runs nothing any more
        leave_flight(program);
    }
    tn_vk_settle(device);
    for (uint32_t i = 0; i < N_LISTS; i++) tn_vk_list_deinit(device, &program->lists[i]);
    tn_vk_list_deinit(device, &program->copies_list);
    if (program->pool) device->vk.vkDestroyCommandPool(device->handle, program->pool, NULL);
    if (program->step_host != program->step) tn_vk_memory_destroy(program->step_host);
    tn_vk_memory_destroy(program->step);
    tn_vk_memory_destroy(program->arena);
    tn_vk_memory_destroy(program->state);
    tn_vk_memory_destroy(program->results_host);
    tn_free(program->grids.grids);
    tn_free(program->used);
    tn_step_checker_deinit(&program->checker);
    tn_free(program);
}

uint64_t tn_vk_program_scratch_bytes(const tn_program *base)
{
    const tn_vk_program *program = (const tn_vk_program *)base;
    return program->arena->base.size_bytes + program->step->base.size_bytes + program->state->base.size_bytes +
           program->results_host->base.size_bytes;
}

// ---- submits ----

// Copies between the submit's buffers and their mirrors; VK_NULL_HANDLE: none are needed.
typedef struct step_carries {
    VkCommandBuffer in, out;
    uint64_t out_bytes;
} step_carries;

static uint32_t workgroups(const tn_vk_program *program, const tn_vk_axis *axis, const tn_step *step)
{
    uint32_t n = 0;
    switch (axis->by) {
    case TN_VK_FIXED: return axis->n;
    case TN_VK_PER_TOKENS: n = step->n_tokens; break;
    case TN_VK_PER_LOGITS: n = step->n_logits; break;
    case TN_VK_PER_CHUNKS: n = (program->checker.n_positions_max + TN_KV_PAGE_POSITIONS - 1) / TN_KV_PAGE_POSITIONS; break;
    case TN_VK_PER_COPIES: n = step->n_copies; break;
    }
    n = n > axis->first ? n - axis->first : 0;
    if (n > axis->n_max) n = axis->n_max;
    return n / axis->divisor + (n % axis->divisor != 0);
}

static tn_status write_step(tn_vk_program *program, const tn_step *step, bool is_ranked)
{
    uint8_t *host = program->step_host->mapped;
    memcpy(host, step, (size_t)tn_step_n_words(step, &program->step_layout) * 4);
    if (!is_ranked) memset(host + offsetof(tn_step, has_top), 0, sizeof step->has_top);
    for (uint32_t i = 0; i < program->grids.n_grids; i++) {
        const tn_vk_axis *axes = program->grids.grids[i].axes;
        const indirect_args args = {workgroups(program, &axes[0], step), workgroups(program, &axes[1], step),
                                    workgroups(program, &axes[2], step)};
        memcpy(host + program->args_offset + i * sizeof args, &args, sizeof args);
    }
    return tn_vk_memory_flush(program->step_host);
}

static tn_status check_submit(tn_vk_program *program, const tn_submit *submit)
{
    if (program->is_in_flight)
        return tn_fail(TN_INVALID_ARGUMENT, "the program's last submit is still in flight: wait for its fence first");
    const uint32_t ranking_max = program->device->base.ranking_max;
    if (submit->ranking && submit->ranking->max > ranking_max)
        return tn_fail(TN_INVALID_ARGUMENT, "submit: %u candidates a row are wanted; %s ranks up to %u", (unsigned)submit->ranking->max,
                       program->device->name, (unsigned)ranking_max);
    return tn_borders_check(&program->borders, &program->device->base, submit);
}

static tn_vk_list *list_for(tn_vk_program *program, uint32_t n_tokens)
{
    uint32_t i = n_tokens == 1 ? LIST_ONE : n_tokens <= FEW_TOKENS ? LIST_FEW : LIST_MANY;
    while (program->lists[i].n_dispatches == 0 && i > 0) i--; // of the same size
    return &program->lists[i];
}

// The list's command buffer for these buffers, recorded where it is not yet.
static tn_status ready_list(tn_vk_program *program, const tn_submit *submit, tn_vk_list *list)
{
    const tn_vk_buffer *in = program->borders.in.value == TN_NONE ? NULL : tn_vk_buffer_of(submit->in), *out = tn_vk_buffer_of(submit->out);
    if (list->is_recorded && list->in_serial == (in ? in->serial : 0) && list->out_serial == out->serial) return TN_OK;
    const tn_vk_bound bound = {program->step, program->arena, program->state, program->args_offset,
                               program->stats && program->stats->node_ns};
    TN_TRY(tn_vk_record(program->device, program->pool, &bound, in, out, list));
    list->in_serial = in ? in->serial : 0;
    list->out_serial = out->serial;
    return TN_OK;
}

static tn_status ready_copies(tn_vk_program *program)
{
    const tn_vk_bound bound = {program->step, program->arena, program->state, program->args_offset, false};
    return program->copies_list.is_recorded ? TN_OK
                                            : tn_vk_record(program->device, program->pool, &bound, NULL, NULL, &program->copies_list);
}

// What the step's submit takes in and gives out beside its lists; no bytes of other buffers are left on the host.
static tn_status ready_carries(tn_vk_program *program, const tn_submit *submit, const tn_step_view *step, step_carries *c)
{
    const bool is_unread = submit->ranking && tn_vk_ranks_all(&program->ranks, submit->ranking->max, step);
    *c = (step_carries){.out_bytes = is_unread ? 0 : tn_border_bytes(&program->borders.out, submit->step)};
    for (uint32_t i = 0; i < program->n_used; i++) TN_TRY(tn_vk_mirror_settle(program->used[i]));
    TN_TRY(tn_vk_mirror_ready_out(tn_vk_buffer_of(submit->out), c->out_bytes, program->pool, &program->carry_out, &c->out));
    if (program->borders.in.value == TN_NONE) return TN_OK;
    return tn_vk_mirror_ready_in(tn_vk_buffer_of(submit->in), program->pool, &program->carry_in, &c->in);
}

// Products of a part in a step of that many tokens.
static uint64_t work_of_part(const tn_vk_list *list, uint32_t part, uint32_t n_tokens)
{
    return list->parts_work[part] / list->n_tokens_max * n_tokens;
}

// Gives the device what the step needs: the list's parts, as many to a job as the step's tokens allow, with what comes before the first and
// behind the last.
static tn_status submit_step(tn_vk_program *program, const tn_vk_list *list, uint32_t n_tokens, bool has_copies,
                             const step_carries *carries)
{
    VkCommandBuffer commands[TN_VK_JOBS_MAX + 5] = {program->begin};
    tn_vk_job jobs[TN_VK_JOBS_MAX];
    uint32_t n = 1, first = 0, n_jobs = 0;
    uint64_t work = 0;
    if (carries->in) commands[n++] = carries->in;
    if (has_copies) commands[n++] = program->copies_list.parts[0];
    for (uint32_t i = 0; i < list->n_parts; i++) {
        const bool is_last = i + 1 == list->n_parts;
        commands[n++] = list->parts[i];
        work += work_of_part(list, i, n_tokens);
        if (is_last && carries->out) commands[n++] = carries->out;
        if (is_last) commands[n++] = program->end;
        if (!is_last && work + work_of_part(list, i + 1, n_tokens) <= program->device->job_work) continue;
        jobs[n_jobs++] = (tn_vk_job){commands + first, n - first};
        first = n;
        work = 0;
    }
    return tn_vk_submit_jobs(program->device, jobs, n_jobs, &program->fence);
}

tn_status tn_vk_program_submit(tn_program *base, const tn_submit *submit, tn_fence *out_fence)
{
    out_fence->value = 0;
    tn_vk_program *program = program_of(base);
    const tn_step_view step = tn_step_view_of(submit->step, &program->step_layout);
    if (program->is_in_flight) return check_submit(program, submit);
    TN_TRY(tn_step_check(&program->checker, &step));
    TN_TRY(check_submit(program, submit));
    step_carries carries;
    tn_vk_list *list = list_for(program, step.n_tokens);
    const bool has_copies = step.n_copies && program->copies_list.n_dispatches;
    TN_TRY(ready_list(program, submit, list));
    if (has_copies) TN_TRY(ready_copies(program));
    TN_TRY(ready_carries(program, submit, &step, &carries));
    TN_TRY(write_step(program, submit->step, submit->ranking));
    TN_TRY(submit_step(program, list, step.n_tokens, has_copies, &carries));
    if (carries.in) tn_vk_mirror_took_in(tn_vk_buffer_of(submit->in), program->fence);
    if (carries.out) tn_vk_mirror_gave_out(tn_vk_buffer_of(submit->out), carries.out_bytes, program->fence);
    program->n_tokens = step.n_tokens;
    program->n_logits = step.n_logits;
    program->poison = submit->poison;
    program->ranking = submit->ranking ? *submit->ranking : (tn_ranking){0};
    program->list = list;
    program->is_in_flight = true;
    program->next = program->device->in_flight;
    program->device->in_flight = program;
    out_fence->value = program->fence;
    if (!program->stats) return TN_OK;
    program->stats->n_submits++;
    program->stats->n_barriers += list->n_dispatches + 1;
    return TN_OK;
}

// Tells the caller which tokens are poisoned, and by which node, and where the time went.
static tn_status give_results(tn_vk_program *program)
{
    if (program->stats && program->stats->node_ns) TN_TRY(tn_vk_add_times(program->device, program->list, program->stats->node_ns));
    TN_TRY(tn_vk_memory_invalidate(program->results_host));
    const uint32_t *marks = (const uint32_t *)(const void *)program->results_host->mapped;
    for (uint32_t i = 0; i < program->n_tokens; i++) program->poison[i] = marks[i] == UINT32_MAX ? 0 : marks[i];
    tn_vk_ranks_give(&program->ranks, marks + program->checker.limits.n_tokens, program->n_logits, &program->ranking);
    return TN_OK;
}

// Ends one submit: others have fences of their own, and each is told by its own.
tn_status tn_vk_fence_wait(tn_device *base, tn_fence fence)
{
    tn_vk_device *device = tn_vk_device_of(base);
    if (fence.value == 0 || fence.value > device->n_submits)
        return tn_fail(TN_INVALID_ARGUMENT, "%s has no fence %" PRIu64, device->name, fence.value);
    const tn_status status = tn_vk_wait_unlocked(device, fence.value);
    tn_vk_program *program = device->in_flight;
    while (program && program->fence != fence.value) program = program->next;
    if (!program) return status;
    leave_flight(program);
    return status == TN_OK ? give_results(program) : status;
}
