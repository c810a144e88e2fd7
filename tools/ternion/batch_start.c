// Memory first, then time: as many sequences as fit, and of these as many as make it faster.
#include "batch_start.h"

#include "batch_size.h"
#include "numbers.h"
#include "prompt.h"
#include "report.h"
#include "two_stage_option.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Rows of logits beside those of answers, so that log-probabilities of prompts go in pieces through every step.
#define PROMPT_ROWS 16u
// Answers at a time that devices are chosen for where no flag says how many.
#define AUTOMATIC_SEQS 16u

int tn_cli_batch_kv_memory(const tn_cli *cli, uint64_t *out_bytes)
{
    char why[160];
    const char *text = tn_cli_text(&cli->options, TN_OPT_KV_MEMORY);
    *out_bytes = 0;
    return !text || tn_cli_parse_size(text, out_bytes, why, sizeof why) ? 0 : tn_cli_usage("--kv-memory: %s", why);
}

// The KV cache of one sequence that the devices of a copy of the model leave room for.
typedef struct room {
    uint64_t seq_bytes, free_bytes; // of a sequence on all devices; free, in proportion to what the tightest one has of it
    uint32_t n_copies;
} room;

static void look_at_device(void *user, const tn_device_memory *memory)
{
    room *r = user;
    const uint64_t taken = memory->needed_bytes - memory->kv_bytes;
    uint64_t left = memory->device_free_bytes > taken ? memory->device_free_bytes - taken : 0;
    if (strncmp(memory->device, "cpu", 3) == 0) left /= r->n_copies; // which may all be in the host's memory
    if (memory->kv_bytes == 0) return;
    const double n_fit = (double)left / (double)memory->kv_bytes;
    if (n_fit * (double)r->seq_bytes < (double)r->free_bytes) r->free_bytes = (uint64_t)(n_fit * (double)r->seq_bytes);
}

// How much of the work is a copy's, as far as the placement knows.
static double share_of(const tn_placement *placement, uint32_t copy)
{
    const uint32_t n = 1u << 20, share = tn_placement_share(placement, copy, n);
    return share ? (double)share / n : 1.0 / n;
}

// What one copy of the model takes of the answers, by its share of them and by the memory that its devices have.
static int size_of_copy(tn_cli *cli, const tn_cli_engine *engine, uint32_t copy, uint32_t n_ctx, tn_cli_batch_size *size)
{
    const tn_cli_value *concurrency = &cli->options.values[TN_OPT_CONCURRENCY];
    room r = {.free_bytes = UINT64_MAX, .n_copies = tn_placement_replica_count(engine->placement)};
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    uint64_t kv_given = 0;
    const int rc = tn_cli_batch_kv_memory(cli, &kv_given);
    if (rc) return rc;
    params.n_ctx = n_ctx;
    params.replica = copy;
    params.may_shrink_ubatch = true;
    tn_status status = tn_session_kv_bytes(engine->model, n_ctx, 1, &r.seq_bytes);
    if (status == TN_OK) status = tn_placement_memory(engine->placement, &params, look_at_device, &r);
    tn_cli_progress_end(&cli->progress); // of devices that were opened for it
    if (status != TN_OK) return tn_cli_fail_status("ternion batch -c 512");
    uint32_t n_given = concurrency->text ? 0 : tn_placement_share(engine->placement, copy, (uint32_t)concurrency->integer);
    if (n_given == 0 && !concurrency->text) n_given = 1; // there are more copies than answers
    if (kv_given && r.n_copies > 1) kv_given = (uint64_t)((double)kv_given * share_of(engine->placement, copy)) + 1;
    *size = tn_cli_batch_size_of(n_given, kv_given, r.seq_bytes, r.free_bytes);
    return 0;
}

static int choose_sizes(tn_cli *cli, tn_cli_engine *engine, const tn_session_params *params)
{
    const uint32_t n = tn_placement_replica_count(engine->placement);
    engine->copy_sizes = calloc(n, sizeof *engine->copy_sizes);
    if (!engine->copy_sizes) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i < n; i++) {
        tn_cli_batch_size size = {0};
        const int rc = size_of_copy(cli, engine, i, params->n_ctx, &size);
        if (rc) return rc;
        if (size.n_seqs > params->n_ubatch && !size.automatic)
            return tn_cli_usage("--concurrency: a step has %u tokens, one at least for each of %u answers: give a larger -ub",
                                params->n_ubatch, size.n_seqs);
        if (size.n_seqs > params->n_ubatch) size.n_seqs = params->n_ubatch;
        engine->copy_sizes[i] = (tn_cli_copy_size){size.n_seqs, size.kv_bytes};
    }
    return 0;
}

// Without a flag: where lines that say nothing of sampling look at few logits.
static int choose_two_stage(const tn_cli *cli, const tn_cli_batch_context *context, const char **out_two_stage)
{
    *out_two_stage = tn_cli_two_stage(cli);
    if (tn_cli_given(&cli->options, TN_OPT_TWO_STAGE)) return 0;
    return tn_cli_two_stage_for(cli, context->engine->tokenizer, &context->sampler, out_two_stage);
}

static int make_batcher(tn_cli *cli, const tn_cli_engine *engine, tn_batcher **out_batcher)
{
    const tn_progress progress = tn_cli_progress_hook(&cli->progress);
    const bool automatic = cli->options.values[TN_OPT_CONCURRENCY].text != NULL;
    uint32_t n_fit = 0;
    tn_batcher_params params = TN_BATCHER_PARAMS_INIT;
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    uint32_t n_seqs;
    params.no_prefix_reuse = tn_cli_given(&cli->options, TN_OPT_NO_PREFIX_REUSE);
    params.n_seqs = automatic ? 0 : (uint32_t)tn_cli_int(&cli->options, TN_OPT_CONCURRENCY);
    params.more_sessions = engine->more_sessions;
    params.n_more_sessions = engine->n_more;
    double *shares = calloc(engine->n_more + 1, sizeof *shares);
    if (!shares) return tn_cli_out_of_memory();
    for (uint32_t i = 0; i <= engine->n_more; i++) {
        shares[i] = share_of(engine->placement, i);
        n_fit += engine->copy_sizes[i].n_seqs;
    }
    params.shares = shares;
    tn_status status = tn_batcher_create(engine->session, &params, out_batcher);
    free(shares);
    if (status == TN_OK && automatic && n_fit > engine->n_more + 1) status = tn_batcher_tune(*out_batcher, &progress, &n_seqs);
    if (status == TN_OK) status = tn_batcher_get_info(*out_batcher, &info);
    tn_cli_progress_end(&cli->progress);
    if (status != TN_OK) return tn_cli_fail_status("ternion batch --concurrency 1");
    char kv[24], most[32] = "";
    tn_cli_format_bytes(engine->session_info.kv_bytes, kv, sizeof kv);
    if (automatic && info.n_seqs < n_fit) snprintf(most, sizeof most, " (%u would fit)", n_fit);
    tn_cli_note("batch  %u at a time%s  KV cache %s", info.n_seqs, most, kv);
    return 0;
}

// Devices are chosen for as many answers as are asked for.
static int place(tn_cli *cli, tn_cli_engine *engine, uint32_t n_ctx)
{
    const tn_cli_value *concurrency = &cli->options.values[TN_OPT_CONCURRENCY];
    return tn_cli_engine_place(cli, engine, concurrency->text ? AUTOMATIC_SEQS : (uint32_t)concurrency->integer, n_ctx);
}

int tn_cli_batch_start(tn_cli *cli, tn_cli_engine *engine, const tn_cli_batch_context *context, tn_batcher **out_batcher)
{
    const tn_cli_prompt no_prompt = {0};
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = tn_cli_context(cli, engine);
    params.n_ubatch = (uint32_t)tn_cli_int(&cli->options, TN_OPT_UBATCH);
    int rc = tn_cli_prompt_check(cli, engine, &no_prompt, params.n_ctx);
    if (rc == 0) rc = choose_two_stage(cli, context, &params.two_stage);
    if (rc == 0) rc = tn_cli_engine_open_host(cli, engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = place(cli, engine, params.n_ctx);
    if (rc == 0) rc = choose_sizes(cli, engine, &params);
    if (rc) return rc;
    params.n_seqs_max = engine->copy_sizes[0].n_seqs;
    params.n_logits_max = params.n_seqs_max + PROMPT_ROWS;
    params.kv_bytes = engine->copy_sizes[0].kv_bytes;
    tn_cli_engine_note(engine, params.n_ctx);
    rc = tn_cli_engine_start(cli, engine, params);
    return rc ? rc : make_batcher(cli, engine, out_batcher);
}
