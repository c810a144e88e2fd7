// -ngl, -ts, -ot, --goal, --mem-limit, --replicas and --device as one request, and what does not go together in it.
#include "place_flags.h"

#include "report.h"

#include <stdlib.h>

static bool layers_given(const tn_cli *cli)
{
    const char *word = tn_cli_text(&cli->options, TN_OPT_GPU_LAYERS);
    return tn_cli_given(&cli->options, TN_OPT_GPU_LAYERS) && !(word && strcmp(word, "auto") == 0);
}

const char *tn_cli_place_forcing_flag(const tn_cli *cli)
{
    if (layers_given(cli)) return "-ngl";
    if (tn_cli_given(&cli->options, TN_OPT_TENSOR_SPLIT)) return "-ts";
    return tn_cli_given(&cli->options, TN_OPT_OVERRIDE_TENSOR) ? "-ot" : NULL;
}

int tn_cli_place_check(const tn_cli *cli)
{
    const char *forced = tn_cli_place_forcing_flag(cli), *devices = tn_cli_text(&cli->options, TN_OPT_DEVICE);
    const bool replicas = tn_cli_given(&cli->options, TN_OPT_REPLICAS), has_goal = tn_cli_given(&cli->options, TN_OPT_GOAL);
    if (replicas && forced) return tn_cli_usage("%s: with --replicas every device has all layers: leave one of them out", forced);
    if (replicas && has_goal) return tn_cli_usage("--goal: --replicas says already what runs where: leave one of them out");
    if (has_goal && forced) return tn_cli_usage("--goal: %s says already what runs where: leave one of them out", forced);
    if (replicas && (!devices || !strchr(devices, ',')))
        return tn_cli_usage("--replicas: on which devices? Name two or more: --device cpu0,cpu1");
    return 0;
}

bool tn_cli_place_given(const tn_cli *cli)
{
    static const tn_cli_option_id ids[] = {TN_OPT_DEVICE,          TN_OPT_GPU_LAYERS, TN_OPT_TENSOR_SPLIT,
                                           TN_OPT_OVERRIDE_TENSOR, TN_OPT_GOAL,       TN_OPT_MEM_LIMIT};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (tn_cli_given(&cli->options, ids[i])) return true;
    }
    return false;
}

// Where an item of -ot ends: at a comma behind its "=DEVICE", since expressions have commas too.
static size_t item_length(const char *text)
{
    size_t n = strcspn(text, "=");
    return n + strcspn(text + n, ",");
}

static int split_overrides(const tn_cli_value *value, tn_cli_place_flags *flags)
{
    size_t n = 0;
    for (size_t i = 0; i < value->n; i++) {
        for (const char *c = value->list[i]; *c; c++) n += *c == ',';
        n++;
    }
    if (n == 0) return 0;
    flags->overrides = calloc(n, sizeof *flags->overrides);
    if (!flags->overrides) return tn_cli_out_of_memory();
    for (size_t i = 0; i < value->n; i++) {
        for (const char *at = value->list[i]; at;) {
            const size_t len = item_length(at);
            char *item = strndup(at, len);
            if (!item) return tn_cli_out_of_memory();
            flags->overrides[flags->params.n_overrides++] = item;
            at = at[len] ? at + len + 1 : NULL;
        }
    }
    flags->params.overrides = (const char *const *)flags->overrides;
    return 0;
}

// --device none: the first device whose backend is the CPU.
static int first_cpu(const tn_host *host, tn_device_info *info)
{
    for (uint32_t i = 0; i < tn_host_devices_listed(host); i++) {
        if (tn_host_device_info(host, i, info) != TN_OK) return tn_cli_fail_status(NULL);
        if (strcmp(info->backend, "cpu") == 0) return 0;
    }
    return tn_cli_fail("ternion devices", "--device none: there is no CPU device");
}

static tn_goal goal_of(const char *word)
{
    static const char *const words[] = {[TN_GOAL_LATENCY] = "latency", [TN_GOAL_THROUGHPUT] = "throughput", [TN_GOAL_MEMORY] = "memory"};
    for (int goal = TN_GOAL_LATENCY; word && goal <= TN_GOAL_MEMORY; goal++) {
        if (strcmp(word, words[goal]) == 0) return (tn_goal)goal;
    }
    return TN_GOAL_DEFAULT;
}

int tn_cli_place_read(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_place_flags *flags)
{
    const tn_cli_options *options = &cli->options;
    const tn_cli_value *layers = &options->values[TN_OPT_GPU_LAYERS];
    tn_placement_params *params = &flags->params;
    *params = (tn_placement_params)TN_PLACEMENT_PARAMS_INIT;
    int rc = tn_cli_place_check(cli);
    if (rc) return rc;
    params->devices = tn_cli_text(options, TN_OPT_DEVICE);
    if (params->devices && strcmp(params->devices, "none") == 0) {
        rc = first_cpu(engine->host, &flags->cpu);
        params->devices = flags->cpu.name;
    }
    params->has_n_gpu_layers = layers_given(cli);
    params->n_gpu_layers = layers->text ? TN_GPU_LAYERS_ALL : (int32_t)layers->integer;
    params->goal = goal_of(tn_cli_text(options, TN_OPT_GOAL));
    params->tensor_split = tn_cli_text(options, TN_OPT_TENSOR_SPLIT);
    params->memory_limits = tn_cli_text(options, TN_OPT_MEM_LIMIT);
    params->replicas = tn_cli_given(options, TN_OPT_REPLICAS);
    // What is measured, or shown, does not begin with measuring something else, unless a goal asks for it.
    const bool waits = !tn_cli_measures(cli) && cli->verb != TN_VERB_SHOW;
    params->known_only = tn_cli_given(options, TN_OPT_NO_CALIBRATE) || (!waits && params->goal == TN_GOAL_DEFAULT);
    return rc ? rc : split_overrides(&options->values[TN_OPT_OVERRIDE_TENSOR], flags);
}

void tn_cli_place_deinit(tn_cli_place_flags *flags)
{
    for (uint32_t i = 0; i < flags->params.n_overrides; i++) free(flags->overrides[i]);
    free(flags->overrides);
    *flags = (tn_cli_place_flags){0};
}
