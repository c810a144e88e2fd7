// Opens what the flags ask for, and finds the model that comes with ternion.
#include "engine.h"

#include "head_note.h"
#include "pack_cache_option.h"
#include "place_flags.h"
#include "place_named.h"
#include "plain.h"
#include "report.h"
#include "two_stage_option.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MODEL "ternion-tales-6m.i2_s.gguf"

static bool readable(const char *path) { return access(path, R_OK) == 0; }

// Beside the build folder, then where an installation puts it, then where the sources were.
static bool find_default_model(char path[4096])
{
    static const char *const from_program[] = {"../../models/" DEFAULT_MODEL, "../share/ternion/models/" DEFAULT_MODEL};
    char folder[3800];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n > 0) {
        folder[n] = '\0';
        *strrchr(folder, '/') = '\0';
        for (size_t i = 0; i < sizeof from_program / sizeof from_program[0]; i++) {
            char name[4096];
            snprintf(name, sizeof name, "%s/%s", folder, from_program[i]);
            if (readable(name) && realpath(name, path)) return true;
        }
    }
    snprintf(path, 4096, "%s/models/%s", TN_SOURCE_DIR, DEFAULT_MODEL);
    return readable(path);
}

int tn_cli_engine_find_model(tn_cli *cli, tn_cli_engine *engine)
{
    const char *given = tn_cli_text(&cli->options, TN_OPT_MODEL), *from_environment = getenv("TERNION_MODEL");
    if (cli->options.n_positionals > 0) {
        if (given) return tn_cli_usage("two models: -m %s and %s", given, cli->options.positionals[0]);
        given = cli->options.positionals[0];
        bool text_given = tn_cli_given(&cli->options, TN_OPT_PROMPT) || tn_cli_given(&cli->options, TN_OPT_FILE);
        if (text_given && access(given, F_OK) != 0) {
            return tn_cli_fail(NULL, "%s: there is no such file, and an argument without a flag is the model file (-m)", given);
        }
    }
    if (!given && from_environment && *from_environment) given = from_environment;
    if (!given && find_default_model(engine->path)) return 0;
    if (!given) return tn_cli_usage("the model that comes with ternion is not installed: say which one with -m FILE or TERNION_MODEL");
    if (strlen(given) >= sizeof engine->path) return tn_cli_usage("the name of the model file is too long");
    snprintf(engine->path, sizeof engine->path, "%s", given);
    return 0;
}

// What lies where a model was expected.
typedef enum file_kind { FILE_GGUF, FILE_CHECKPOINT, FILE_OTHER } file_kind;

// `folder`: of a checkpoint.
static file_kind kind_of(const char *path, char folder[4096])
{
    struct stat status;
    char config[4200], start[9] = {0};
    snprintf(folder, 4096, "%s", path);
    if (stat(path, &status) != 0) return FILE_OTHER;
    if (!S_ISDIR(status.st_mode)) {
        FILE *file = fopen(path, "rb");
        size_t n = file ? fread(start, 1, sizeof start, file) : 0;
        if (file) fclose(file);
        if (n >= 4 && memcmp(start, "GGUF", 4) == 0) return FILE_GGUF;
        if (n < sizeof start || start[8] != '{' || start[7] != 0) return FILE_OTHER; // safetensors: a length, then JSON
        char *slash = strrchr(folder, '/');
        snprintf(slash ? slash + 1 : folder, 2, "%s", slash ? "" : ".");
        return FILE_CHECKPOINT;
    }
    snprintf(config, sizeof config, "%s/config.json", path);
    return access(config, F_OK) == 0 ? FILE_CHECKPOINT : FILE_OTHER;
}

// The command that helps with a model that does not open.
static void model_command(const tn_cli *cli, const tn_cli_engine *engine, char *command, size_t capacity)
{
    char word[500], folder[4096];
    tn_status status = tn_error_last()->status;
    file_kind kind = kind_of(engine->path, folder);
    bool refused_flag = status == TN_INVALID_ARGUMENT && tn_cli_given(&cli->options, TN_OPT_PRE_TOKENIZER);
    if (refused_flag) {
        snprintf(command, capacity, "ternion show -m %s", tn_cli_shell_word(engine->path, word, sizeof word));
    } else if (kind == FILE_CHECKPOINT) {
        snprintf(command, capacity, "ternion convert %s OUT.gguf", tn_cli_shell_word(folder, word, sizeof word));
    } else if (status == TN_UNSUPPORTED && cli->verb != TN_VERB_SHOW) {
        snprintf(command, capacity, "ternion show -m %s", tn_cli_shell_word(engine->path, word, sizeof word));
    } else if (status == TN_BAD_FILE && kind == FILE_GGUF) {
        snprintf(command, capacity, "sha256sum %s", tn_cli_shell_word(engine->path, word, sizeof word));
    } else {
        snprintf(command, capacity, "ternion %s -m FILE.gguf", tn_cli_verb_name(cli));
    }
}

void tn_cli_engine_model_params(const tn_cli *cli, tn_model_params *params)
{
    params->log = tn_cli_log();
    params->pre_tokenizer = tn_cli_text(&cli->options, TN_OPT_PRE_TOKENIZER);
    params->i2s_layout = tn_cli_text(&cli->options, TN_OPT_I2S_LAYOUT);
    params->tl_preset = tn_cli_text(&cli->options, TN_OPT_TL_PRESET);
}

int tn_cli_engine_open_model(tn_cli *cli, tn_cli_engine *engine, tn_model_load load)
{
    char command[600];
    tn_model_params params = TN_MODEL_PARAMS_INIT;
    int rc = engine->path[0] ? 0 : tn_cli_engine_find_model(cli, engine);
    if (rc) return rc;
    params.load = load;
    tn_cli_engine_model_params(cli, &params);
    params.progress = tn_cli_progress_hook(&cli->progress);
    tn_status status = tn_model_open(engine->path, &params, &engine->model);
    tn_cli_progress_end(&cli->progress);
    if (status != TN_OK) {
        model_command(cli, engine, command, sizeof command);
        return tn_cli_fail_status(command);
    }
    tn_model_get_info(engine->model, &engine->info);
    engine->tokenizer = tn_model_tokenizer(engine->model);
    return 0;
}

int tn_cli_engine_open_host(tn_cli *cli, tn_cli_engine *engine, int64_t n_threads)
{
    tn_host_params params = TN_HOST_PARAMS_INIT;
    int rc = engine->model || cli->verb == TN_VERB_DEVICES ? tn_cli_pack_cache(cli, engine)
                                                           : 0; // a wrong flag is said before anything is printed
    if (rc) return rc;
    params.n_threads = n_threads > 0 ? (uint32_t)n_threads : 0;
    params.no_bind = tn_cli_given(&cli->options, TN_OPT_NO_BIND);
    params.cpu_isa_max = tn_cli_text(&cli->options, TN_OPT_CPU_ISA);
    params.cpu_packing = tn_cli_text(&cli->options, TN_OPT_PACKING);
    params.cpu_skip = tn_cli_text(&cli->options, TN_OPT_SKIP);
    if (!params.cpu_skip && tn_cli_measures(cli)) params.cpu_skip = "off"; // what is measured does not change on the way
    params.cache_folder = engine->pack_cache[0] ? engine->pack_cache : NULL;
    params.log = tn_cli_log();
    params.progress = tn_cli_progress_hook(&cli->progress); // of devices that are opened before there is a session
    if (tn_host_open(&params, &engine->host) == TN_OK) return 0;
    char command[64];
    bool threads = n_threads > 0 && tn_error_last()->status == TN_INVALID_ARGUMENT && strstr(tn_error_last()->message, "threads");
    snprintf(command, sizeof command, "ternion %s -t 0", tn_cli_verb_name(cli));
    return tn_cli_fail_status(threads ? command : "ternion devices");
}

uint32_t tn_cli_n_copies(const tn_cli *cli)
{
    uint32_t n = 1;
    const char *devices = tn_cli_given(&cli->options, TN_OPT_REPLICAS) ? tn_cli_text(&cli->options, TN_OPT_DEVICE) : NULL;
    for (const char *c = devices ? devices : ""; *c; c++) n += *c == ',';
    return n;
}

int tn_cli_engine_place(tn_cli *cli, tn_cli_engine *engine, uint32_t n_seqs, uint32_t n_ctx)
{
    tn_cli_place_flags flags = {0};
    int rc = tn_cli_place_read(cli, engine, &flags);
    flags.params.n_seqs = n_seqs;
    flags.params.n_ctx = n_ctx;
    tn_status status = TN_OK;
    if (rc == 0) rc = tn_cli_place_check_named(cli, engine->host, &flags.params);
    if (rc == 0) status = tn_placement_create(engine->model, engine->host, &flags.params, &engine->placement);
    // A batch that has no room for so many contexts has answers wait for pages.
    while (status == TN_OUT_OF_MEMORY && cli->verb == TN_VERB_BATCH && flags.params.n_seqs > 1) {
        flags.params.n_seqs /= 2;
        status = tn_placement_create(engine->model, engine->host, &flags.params, &engine->placement);
    }
    engine->n_seqs = flags.params.n_seqs;
    tn_cli_progress_end(&cli->progress); // of devices that were measured for it
    if (status != TN_OK) rc = tn_cli_fail_status(status == TN_OUT_OF_MEMORY ? "ternion plan" : "ternion devices");
    tn_cli_place_deinit(&flags);
    if (rc) return rc;
    if (!engine->place_warned) tn_cli_place_warn(cli, engine);
    engine->place_warned = true; // not again for the next of many sessions
    const uint32_t n = tn_placement_replica_count(engine->placement);
    if (n > 1 && cli->verb == TN_VERB_BENCH && !tn_cli_given(&cli->options, TN_OPT_REPLICAS))
        return tn_cli_usage("--goal: the choice is copies of the model, which bench measures with --replicas and --device alone");
    engine->more_sessions = calloc(n, sizeof *engine->more_sessions);
    return engine->more_sessions ? 0 : tn_cli_out_of_memory();
}

// What cannot be seen in the logits themselves.
static void note_numerics(const tn_cli *cli)
{
    if (tn_cli_is_fast(cli))
        tn_cli_note("numerics  fast: CUDA devices round a head of F32, F16 or BF16 otherwise; logits are then not the exact ones");
}

// Where the devices take smaller steps than the default's.
static void note_steps(const tn_cli *cli, const tn_cli_engine *engine, const tn_session_params *params)
{
    const tn_session_info *info = &engine->session_info;
    const uint64_t n_positions = (uint64_t)info->n_ctx * info->n_seqs_max;
    if (info->n_ubatch >= params->n_ubatch || info->n_ubatch >= n_positions) return; // no step could be larger
    if (cli->verb == TN_VERB_LOGITS && cli->verbosity == 0) return;
    tn_cli_note("steps  %u tokens (-ub): the device does not take %u of this model at a time", info->n_ubatch, params->n_ubatch);
}

// The session is there: those of the other copies, and what all take.
static tn_status start_copies(tn_cli_engine *engine, tn_session_params params)
{
    tn_session_get_info(engine->session, &engine->session_info);
    for (uint32_t i = 0; i + 1 < tn_placement_replica_count(engine->placement); i++) {
        tn_session_info info;
        params.replica = i + 1;
        if (engine->copy_sizes) {
            const tn_cli_copy_size *size = &engine->copy_sizes[i + 1];
            params.n_logits_max = params.n_logits_max - params.n_seqs_max + size->n_seqs;
            params.n_seqs_max = size->n_seqs;
            params.kv_bytes = size->kv_bytes;
        }
        const tn_status status = tn_session_create(engine->model, engine->host, &params, &engine->more_sessions[i]);
        if (status != TN_OK) return status;
        engine->n_more++;
        tn_session_get_info(engine->more_sessions[i], &info);
        engine->session_info.weights_bytes += info.weights_bytes;
        engine->session_info.kv_bytes += info.kv_bytes;
        engine->session_info.scratch_bytes += info.scratch_bytes;
    }
    return TN_OK;
}

int tn_cli_engine_start(tn_cli *cli, tn_cli_engine *engine, tn_session_params params)
{
    char command[64];
    params.pack_cache = engine->pack_cache[0] ? engine->pack_cache : NULL;
    params.pack_cache_bytes_max = engine->pack_cache_bytes_max;
    params.placement = engine->placement;
    params.head = tn_cli_text(&cli->options, TN_OPT_HEAD);
    params.numerics = tn_cli_text(&cli->options, TN_OPT_NUMERICS);
    if (!params.two_stage && cli->verb == TN_VERB_BENCH) params.two_stage = tn_cli_two_stage(cli);
    params.may_shrink_ubatch = !tn_cli_given(&cli->options, cli->verb == TN_VERB_BENCH ? TN_OPT_BENCH_UBATCH : TN_OPT_UBATCH);
    params.no_recovery = tn_cli_measures(cli) || cli->verb == TN_VERB_LOGITS; // what is measured or compared is one device's
    params.log = tn_cli_log();
    params.progress = tn_cli_progress_hook(&cli->progress);
    tn_status status = tn_session_create(engine->model, engine->host, &params, &engine->session);
    if (status == TN_OK) status = start_copies(engine, params);
    tn_cli_progress_end(&cli->progress);
    if (status != TN_OK) {
        snprintf(command, sizeof command, "ternion %s -c 128 -ub 32", tn_cli_verb_name(cli));
        return tn_cli_fail_status(status == TN_OUT_OF_MEMORY ? command : NULL);
    }
    note_steps(cli, engine, &params);
    if (!engine->is_fast) note_numerics(cli); // not again for the next of many sessions
    engine->is_fast = tn_cli_is_fast(cli);
    if (cli->verb != TN_VERB_LOGITS && cli->verb != TN_VERB_EVAL && !engine->head_noted && !tn_cli_two_stage_note(engine) &&
        strcmp(params.head, "keep") == 0)
        tn_cli_head_note(engine->model, &engine->info);
    engine->head_noted = true; // not again for the next of many sessions
    return 0;
}

void tn_cli_engine_stop(tn_cli_engine *engine)
{
    for (uint32_t i = 0; i < engine->n_more; i++) tn_session_destroy(engine->more_sessions[i]);
    free(engine->more_sessions);
    free(engine->copy_sizes);
    engine->more_sessions = NULL;
    engine->copy_sizes = NULL;
    engine->n_more = 0;
    tn_session_destroy(engine->session);
    tn_placement_destroy(engine->placement);
    tn_host_close(engine->host);
    engine->session = NULL;
    engine->placement = NULL;
    engine->host = NULL;
}

void tn_cli_engine_close(tn_cli_engine *engine)
{
    tn_cli_engine_stop(engine);
    tn_model_close(engine->model);
    engine->model = NULL;
    engine->tokenizer = NULL;
}

void tn_cli_engine_note(const tn_cli_engine *engine, uint32_t n_ctx)
{
    char size[24], count[24], plan[1024], speed[64] = "";
    tn_cli_format_bytes(engine->info.file_bytes, size, sizeof size);
    tn_cli_format_count((double)engine->info.n_params, count, sizeof count);
    tn_cli_note("ternion %s  %s  %s  %s  %s parameters  context %u", tn_version(), engine->info.name, engine->info.type, size, count,
                n_ctx);
    tn_placement_print(engine->placement, plan, sizeof plan);
    const double predicted = tn_placement_predict(engine->placement, engine->n_seqs, n_ctx / 2 + 1);
    if (predicted > 0) snprintf(speed, sizeof speed, "  (predicted %.1f t/s at half the context)", predicted);
    tn_cli_note("plan  %s%s%s", tn_placement_replica_count(engine->placement) > 1 ? "replicas " : "", plan, speed);
}
