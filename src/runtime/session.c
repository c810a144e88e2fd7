// Sessions: what they are made of, what they know of themselves, and their sequences. session_decode.c runs them.
#include "ternion/session.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/params.h"
#include "model/model_internal.h"
#include "runtime/costs.h"
#include "runtime/head_type.h"
#include "runtime/host.h"
#include "runtime/placement_internal.h"
#include "runtime/session_internal.h"
#include "runtime/session_recover.h"
#include "runtime/two_stage.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t n_ubatch_default = 512;
enum { N_LANES_MAX = 64 };

// Whether devices may compute otherwise than exactly.
static tn_status read_numerics(const char *numerics, bool *out_is_fast)
{
    *out_is_fast = numerics && strcmp(numerics, "fast") == 0;
    if (!numerics || *out_is_fast || strcmp(numerics, "exact") == 0) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "numerics can not be '%.40s': exact or fast are known", numerics);
}

static tn_status read_params(const tn_session_params *params, const tn_graph *graph, tn_session_info *info)
{
    info->n_ctx = params->n_ctx ? params->n_ctx : graph->n_ctx;
    info->n_seqs_max = params->n_seqs_max ? params->n_seqs_max : 1;
    info->n_ubatch = params->n_ubatch ? params->n_ubatch : n_ubatch_default;
    info->n_logits_max = params->n_logits_max ? params->n_logits_max : info->n_seqs_max;
    info->n_vocab = graph->n_vocab;
    info->n_lanes = params->trace.row ? 1 : params->n_lanes; // rows are told in order
    if (info->n_lanes > N_LANES_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u lanes are too many: ask for at most %d", (unsigned)info->n_lanes, (int)N_LANES_MAX);
    if (info->n_ctx > graph->n_ctx)
        return tn_fail(TN_INVALID_ARGUMENT, "a context of %u positions is longer than the model's %u: ask for at most that",
                       (unsigned)info->n_ctx, (unsigned)graph->n_ctx);
    uint64_t n_positions;
    if (!tn_ckd_mul(info->n_ctx, info->n_seqs_max, &n_positions)) return tn_fail(TN_INVALID_ARGUMENT, "too many sequences");
    if (info->n_ubatch > n_positions) info->n_ubatch = (uint32_t)n_positions; // no step can be larger
    return TN_OK;
}

// Borrows the model's graph but cuts its tables to the session's context: memory follows what is asked for, not what the file claims.
static tn_status borrow_graph(tn_session *session, const tn_graph *graph)
{
    session->graph = *graph;
    session->graph.n_ctx = session->info.n_ctx;
    TN_TRY(tn_alloc(graph->n_weights, sizeof *graph->weights, &session->graph.weights));
    memcpy(session->graph.weights, graph->weights, graph->n_weights * sizeof *graph->weights);
    for (uint32_t i = 0; i < graph->n_weights; i++) {
        tn_weight_source *source = &session->graph.weights[i];
        if (source->kind == TN_WEIGHT_TABLE) source->n_rows = session->info.n_ctx;
    }
    return TN_OK;
}

// Bytes of a page of the KV cache over all layers.
static tn_status kv_page_bytes(const tn_graph *graph, uint64_t *out_bytes)
{
    if (tn_ckd_mul(tn_kv_page_layer_bytes(graph->n_kv_heads, graph->head_dim), graph->n_layers, out_bytes)) return TN_OK;
    return tn_fail(TN_BAD_FILE, "the model's KV cache is larger than any memory");
}

// Pages that `kv_bytes` of memory hold; 0: the default.
static tn_status count_kv_pages(const tn_session *session, uint64_t kv_bytes, uint32_t *out_n)
{
    uint64_t page_bytes;
    *out_n = 0;
    if (kv_bytes == 0) return TN_OK;
    TN_TRY(kv_page_bytes(&session->graph, &page_bytes));
    if (kv_bytes < page_bytes)
        return tn_fail(TN_INVALID_ARGUMENT, "a KV cache of %llu bytes holds no page of %u positions: give it at least %llu",
                       (unsigned long long)kv_bytes, TN_KV_PAGE_POSITIONS, (unsigned long long)page_bytes);
    *out_n = kv_bytes / page_bytes < INT32_MAX ? (uint32_t)(kv_bytes / page_bytes) : INT32_MAX;
    return TN_OK;
}

static tn_status reserve_arrays(tn_session *session, uint64_t kv_bytes)
{
    const tn_session_info *info = &session->info;
    uint32_t n_kv_pages;
    TN_TRY(count_kv_pages(session, kv_bytes, &n_kv_pages));
    TN_TRY(tn_kv_cache_init(&session->kv, info->n_seqs_max, info->n_ctx, n_kv_pages));
    TN_TRY(tn_alloc_zero(info->n_seqs_max, sizeof *session->poisoned, &session->poisoned));
    TN_TRY(tn_alloc_zero(info->n_seqs_max, sizeof *session->seq_added, &session->seq_added));
    return tn_alloc_zero(info->n_seqs_max, sizeof *session->seq_lane, &session->seq_lane);
}

static void forward_trace(void *user, const tn_step *step, uint32_t token, const char *op, const float *row, uint32_t n)
{
    tn_session *session = user;
    if (session->is_replaying) return;
    const tn_step_view view = tn_step_view_of(step, &session->step_layout);
    session->trace.row(session->trace.user, view.seqs[token], view.positions[token], op, row, n);
}

// Takes over where packed weights are kept. A model whose files cannot be told from others does without.
static tn_status prepare_cache(tn_session *session, const tn_session_params *params)
{
    const uint64_t bytes_min_default = (uint64_t)64 << 20;
    const char *path = tn_gguf_path(tn_model_gguf(session->model));
    bool is_settled;
    TN_TRY(tn_model_identity(session->model, &session->identity, &is_settled));
    TN_TRY(tn_strdup(params->pack_cache, strlen(params->pack_cache), &session->cache_folder));
    session->model_path = realpath(path, NULL); // the same file by every name; by its own where that has gone meanwhile
    if (!session->model_path) TN_TRY(tn_strdup(path, strlen(path), &session->model_path));
    session->cache = (tn_plan_cache){.folder = session->cache_folder,
                                     .bytes_min = params->pack_cache_bytes_min ? params->pack_cache_bytes_min : bytes_min_default,
                                     .bytes_max = params->pack_cache_bytes_max,
                                     .model_path = session->model_path,
                                     .identity = {session->identity.data, session->identity.len},
                                     .is_settled = is_settled,
                                     .log = &session->log};
    return TN_OK;
}

// Steps in flight at a time, where the caller leaves it open.
static uint32_t default_lanes(const tn_session *session)
{
    uint32_t n_segments = 1;
    for (uint32_t i = 1; i < session->graph.n_layers + 2; i++) n_segments += session->units[i] != session->units[i - 1];
    return n_segments > 1 ? n_segments + 1 : 1;
}

// All of a run but its plan and devices.
static tn_status prepare_run(tn_session *session, const tn_session_params *params)
{
    tn_session_info *info = &session->info;
    bool is_fast;
    TN_TRY(read_numerics(params->numerics, &is_fast));
    if (info->n_lanes == 0) info->n_lanes = default_lanes(session);
    if (params->pack_cache) TN_TRY(prepare_cache(session, params));
    session->run_params = (tn_plan_run_params){
        .graph = &session->graph,
        .limits = {.n_tokens = info->n_ubatch,
                   .n_seqs = info->n_seqs_max,
                   .n_seq_pages = session->kv.n_seq_pages,
                   .n_kv_pages = session->kv.n_pages},
        .n_slots = info->n_lanes,
        .trace = session->trace.row ? forward_trace : NULL,
        .trace_user = session,
        .profile = params->profile,
        .progress = &params->progress,
        .cache = params->pack_cache ? &session->cache : NULL,
        .may_shrink = params->n_ubatch == 0 || params->may_shrink_ubatch,
        .is_fast = is_fast,
    };
    session->run_params.limits.n_logits = info->n_logits_max < info->n_ubatch ? info->n_logits_max : info->n_ubatch;
    return TN_OK;
}

static tn_status start_run(tn_session *session)
{
    tn_session_info *info = &session->info;
    TN_TRY(tn_session_make_run(session));
    const tn_step_limits limits = tn_plan_run_limits(session->run);
    session->run_params.limits = limits; // what lanes have room for
    session->run_params.may_shrink = true;
    session->run_params.progress = NULL; // the caller's is borrowed for this call
    info->n_ubatch = limits.n_tokens;
    TN_TRY(tn_session_lanes_init(session, &limits, tn_plan_run_ranking_max(session->run)));
    tn_session_count_memory(session);
    return tn_gguf_check_intact(tn_model_gguf(session->model));
}

// Where the units are.
static tn_status read_placement(tn_session *session, const tn_session_params *params)
{
    const tn_placement *placement = params->placement;
    tn_placement *own = NULL;
    if (placement && (placement->host != session->host || placement->model != session->model))
        return tn_fail(TN_INVALID_ARGUMENT, "the placement was made for another host or model");
    if (placement && params->replica >= placement->n_replicas)
        return tn_fail(TN_INVALID_ARGUMENT, "the placement has no replica %u: it has %u", (unsigned)params->replica,
                       (unsigned)placement->n_replicas);
    session->placement = placement;
    session->replica = params->replica;
    if (!placement) TN_TRY(tn_placement_create(session->model, session->host, NULL, &own));
    const tn_placement *used = placement ? placement : own;
    const uint32_t replica = placement ? params->replica : 0;
    if (session->info.n_lanes == 0 && used->n_lanes > 1) session->info.n_lanes = used->n_lanes;
    memcpy(session->units, tn_placement_devices(used, replica), ((size_t)used->n_layers + 2) * sizeof *session->units);
    tn_placement_destroy(own);
    return TN_OK;
}

// A session without a plan: everything that packs no weights and opens no device.
static tn_status prepare(const tn_model *model, tn_host *host, const tn_session_params *params, tn_session *session)
{
    const tn_graph *graph = tn_model_graph(model);
    if (!graph) return tn_fail(TN_INVALID_ARGUMENT, "the model was opened without its graph: open it with TN_MODEL_LOAD_ALL");
    session->model = model;
    session->host = host;
    session->trace = params->trace;
    session->log = params->log;
    session->no_recovery = params->no_recovery;
    session->failed_device = TN_NONE;
    TN_TRY(read_params(params, graph, &session->info));
    TN_TRY(borrow_graph(session, graph));
    TN_TRY(tn_head_type_set(&session->graph, params->head, &session->file_head));
    TN_TRY(tn_two_stage_set(&session->graph, params->two_stage));
    TN_TRY(reserve_arrays(session, params->kv_bytes));
    TN_TRY(tn_alloc((size_t)graph->n_layers + 2, sizeof *session->units, &session->units));
    TN_TRY(read_placement(session, params));
    return prepare_run(session, params);
}

static tn_status create(const tn_model *model, tn_host *host, const tn_session_params *params, tn_session **out_session)
{
    tn_session *session;
    TN_TRY(tn_alloc_zero(1, sizeof *session, &session));
    tn_status status = prepare(model, host, params, session);
    if (status == TN_OK) status = start_run(session);
    if (status == TN_OK) status = tn_session_observer_init(session, host);
    if (status == TN_OK)
        *out_session = session;
    else
        tn_session_destroy(session);
    return status;
}

// The figures of the session's units where they are; the array is the caller's, after failures too.
static tn_status plan_memory(tn_session *session, tn_plan_memory **out_memory)
{
    TN_TRY(tn_session_make_plan(session));
    TN_TRY(tn_alloc_zero(session->n_devices, sizeof **out_memory, out_memory));
    return tn_plan_run_plan_memory(&session->run_params, *out_memory);
}

tn_status tn_session_plan_memory(const tn_placement *placement, const tn_session_params *params, tn_plan_memory **out_memory,
                                 uint32_t *out_n_devices)
{
    tn_status status;
    tn_session *session;
    tn_session_params known = *params;
    *out_memory = NULL;
    *out_n_devices = 0;
    known.placement = placement;
    TN_TRY(tn_alloc_zero(1, sizeof *session, &session));
    TN_TRY_GOTO(prepare(placement->model, placement->host, &known, session));
    while ((status = plan_memory(session, out_memory)) != TN_OK) {
        tn_free(*out_memory);
        *out_memory = NULL;
        TN_TRY_GOTO(tn_session_plan_elsewhere(session, status));
    }
    *out_n_devices = session->n_devices;
fail:
    tn_session_destroy(session);
    return status;
}

tn_status tn_session_create(const tn_model *model, tn_host *host, const tn_session_params *params, tn_session **out_session)
{
    TN_REQUIRE(out_session);
    *out_session = NULL;
    TN_REQUIRE(model);
    TN_REQUIRE(host);
    tn_session_params known = TN_SESSION_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_session_params, progress, params, &known));
    tn_float_mode mode = tn_float_mode_enter();
    tn_status status = create(model, host, &known, out_session);
    tn_float_mode_leave(mode);
    return status;
}

void tn_session_destroy(tn_session *session)
{
    if (!session) return;
    tn_session_drop_run(session);
    tn_kv_cache_deinit(&session->kv);
    tn_free(session->graph.weights);
    tn_free(session->units);
    tn_free(session->poisoned);
    tn_free(session->seq_added);
    tn_free(session->seq_lane);
    tn_session_lanes_deinit(session);
    tn_session_observer_deinit(&session->observer);
    tn_text_deinit(&session->identity);
    free(session->model_path); // of realpath
    tn_free(session->cache_folder);
    tn_free(session);
}

tn_pack_cache_use tn_session_pack_cache(const tn_session *session) { return session->cache.use; }

void tn_session_get_info(const tn_session *session, tn_session_info *out_info) { *out_info = session->info; }

tn_status tn_session_get_costs(const tn_session *session, tn_session_costs *out_costs)
{
    TN_REQUIRE(session);
    TN_REQUIRE(out_costs);
    TN_TRY(tn_session_check_alive(session));
    const tn_session_costs costs = tn_costs_of(session->run, &session->graph);
    return TN_PARAMS_WRITE(tn_session_costs, head_layout, &costs, out_costs);
}

tn_status tn_session_get_two_stage(const tn_session *session, tn_two_stage_info *out_info)
{
    TN_REQUIRE(session);
    TN_REQUIRE(out_info);
    TN_TRY(tn_session_check_alive(session));
    const tn_screen_stats *stats = tn_plan_run_screen_stats(session->run);
    tn_two_stage_info info = TN_TWO_STAGE_INFO_INIT;
    info.bytes = tn_plan_run_get_memory(session->run).screen_bytes;
    info.n_rows = stats->n_rows;
    info.n_kept = stats->n_kept;
    info.n_whole = stats->n_whole;
    return TN_PARAMS_WRITE(tn_two_stage_info, n_whole, &info, out_info);
}

tn_status tn_session_profile(const tn_session *session, tn_session_profile_totals *out_totals,
                             void (*told)(void *user, const tn_session_profile_entry *entry), void *user)
{
    TN_REQUIRE(session);
    TN_REQUIRE(out_totals);
    TN_TRY(tn_session_check_alive(session));
    const tn_program_stats stats = tn_plan_run_stats(session->run);
    if (!stats.node_ns) return tn_fail(TN_INVALID_ARGUMENT, "the session keeps no profile: create it with params.profile");
    tn_session_profile_totals totals = TN_SESSION_PROFILE_TOTALS_INIT;
    totals.n_steps = session->n_steps;
    totals.n_barriers = stats.n_barriers;
    totals.barrier_wait_ns = stats.barrier_wait_ns;
    totals.step_ns = session->step_ns;
    totals.n_gates = stats.n_gates;
    totals.n_gates_zero = stats.n_gates_zero;
    totals.n_codes = stats.n_codes;
    totals.n_codes_zero = stats.n_codes_zero;
    TN_TRY(TN_PARAMS_WRITE(tn_session_profile_totals, step_ns, &totals, out_totals));
    for (uint32_t i = 0; told && i < session->graph.n_nodes; i++) {
        const tn_session_profile_entry entry = tn_costs_profile_entry(session->run, &session->graph, i);
        told(user, &entry);
    }
    return TN_OK;
}

void tn_session_profile_reset(tn_session *session)
{
    if (session->run) tn_plan_run_reset_stats(session->run);
    session->n_steps = session->step_ns = 0;
}

tn_status tn_session_seq_status(const tn_session *session, uint32_t seq)
{
    if (seq >= session->info.n_seqs_max) return tn_fail(TN_INVALID_ARGUMENT, "sequence %u does not exist", (unsigned)seq);
    return session->poisoned[seq].node ? tn_session_fail_poisoned(session, seq) : TN_OK;
}

uint32_t tn_session_seq_length(const tn_session *session, uint32_t seq)
{
    return seq < session->info.n_seqs_max ? session->kv.lengths[seq] : 0;
}

tn_status tn_session_seq_truncate(tn_session *session, uint32_t seq, uint32_t length)
{
    TN_REQUIRE(session);
    if (seq >= session->info.n_seqs_max || length > session->kv.lengths[seq])
        return tn_fail(TN_INVALID_ARGUMENT, "sequence %u cannot be cut to %u tokens: it does not exist or is shorter", (unsigned)seq,
                       (unsigned)length);
    TN_TRY(tn_session_check_free(session, seq));
    tn_kv_cache_set_length(&session->kv, seq, length);
    if (length == 0) session->poisoned[seq].node = NULL;
    return TN_OK;
}

tn_status tn_session_seq_copy(tn_session *session, uint32_t to, uint32_t from, uint32_t length)
{
    TN_REQUIRE(session);
    tn_kv_cache *kv = &session->kv;
    const uint32_t n_seqs = session->info.n_seqs_max;
    if (to >= n_seqs || from >= n_seqs || to == from || kv->lengths[to] || length > kv->lengths[from])
        return tn_fail(
            TN_INVALID_ARGUMENT,
            "sequence %u cannot become the first %u positions of %u: one does not exist, the one is not empty, or the other is shorter",
            (unsigned)to, (unsigned)length, (unsigned)from);
    TN_TRY(tn_session_check_free(session, from)); // what it appends, and what is copied for it, may yet be taken back
    if (session->poisoned[from].node) return tn_session_fail_poisoned(session, from);
    tn_kv_cache_attach(kv, to, kv->page_table + (size_t)from * kv->n_seq_pages, tn_kv_pages_for(length), length);
    return TN_OK;
}

tn_status tn_session_kv_bytes(const tn_model *model, uint32_t n_ctx, uint32_t n_seqs, uint64_t *out_bytes)
{
    TN_REQUIRE(model);
    TN_REQUIRE(out_bytes);
    const tn_graph *graph = tn_model_graph(model);
    *out_bytes = 0;
    if (!graph) return tn_fail(TN_INVALID_ARGUMENT, "the model was opened without its graph: open it with TN_MODEL_LOAD_ALL");
    TN_TRY(kv_page_bytes(graph, out_bytes));
    if (!tn_ckd_mul(*out_bytes, tn_kv_pages_for(n_ctx), out_bytes) || !tn_ckd_mul(*out_bytes, n_seqs, out_bytes))
        return tn_fail(TN_INVALID_ARGUMENT, "a KV cache for %u sequences of %u positions is larger than any memory", (unsigned)n_seqs,
                       (unsigned)n_ctx);
    return TN_OK;
}

tn_kv_cache *tn_session_kv(tn_session *session) { return &session->kv; }
const tn_model *tn_session_model(const tn_session *session) { return session->model; }
