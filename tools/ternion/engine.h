// Model, host, placement and session as the flags ask for them.
#ifndef TERNION_TOOL_ENGINE_H
#define TERNION_TOOL_ENGINE_H

#include "cli.h"

#include <string.h>

// What a copy of the model has room for.
typedef struct tn_cli_copy_size {
    uint32_t n_seqs;
    uint64_t kv_bytes;
} tn_cli_copy_size;

// Zero-initialise. Parts are opened in the order model, host, placement, session.
typedef struct tn_cli_engine {
    char path[4096]; // of the model file
    tn_model *model;
    tn_model_info info;
    const tn_tokenizer *tokenizer; // borrowed from the model; NULL where it has none
    tn_host *host;
    tn_placement *placement;
    tn_session *session;
    tn_session_info session_info; // of `session`; bytes are those of all copies together
    tn_session **more_sessions;   // [n_more], of copies of the model beside the first: replicas of the placement
    uint32_t n_more;
    tn_cli_copy_size *copy_sizes; // [replicas of the placement] owned; NULL: all as the verb's params say
    uint32_t n_seqs;              // that the placement was made for
    bool head_noted;              // what another head would save has been said
    bool place_warned;            // what flags name without effect has been said
    bool is_fast;                 // the session's numerics
    char pack_cache[4096];        // folder of packed weights, "": none
    uint64_t pack_cache_bytes_max;
} tn_cli_engine;

// Those that return int return 0 or the exit status after a message.
int tn_cli_engine_find_model(tn_cli *cli, tn_cli_engine *engine);            // sets `path`
void tn_cli_engine_model_params(const tn_cli *cli, tn_model_params *params); // what flags say of reading a file, and the log
int tn_cli_engine_open_model(tn_cli *cli, tn_cli_engine *engine, tn_model_load load);
int tn_cli_engine_open_host(tn_cli *cli, tn_cli_engine *engine, int64_t n_threads);
// Whether devices may compute otherwise than exactly (--numerics fast).
static inline bool tn_cli_is_fast(const tn_cli *cli)
{
    const char *numerics = tn_cli_text(&cli->options, TN_OPT_NUMERICS);
    return numerics && strcmp(numerics, "fast") == 0;
}
// Whether the verb measures speed: what it measures does not change on the way.
static inline bool tn_cli_measures(const tn_cli *cli) { return cli->verb == TN_VERB_BENCH || cli->verb == TN_VERB_COMPARE; }
// Whole copies of the model that the flags ask for, 1 without --replicas.
uint32_t tn_cli_n_copies(const tn_cli *cli);
// Where the model runs, by the flags, or chosen for so many sequences of so many positions (0: the model's context).
int tn_cli_engine_place(tn_cli *cli, tn_cli_engine *engine, uint32_t n_seqs, uint32_t n_ctx);
// `params`: what the verb wants; placement, log and progress are filled in here.
int tn_cli_engine_start(tn_cli *cli, tn_cli_engine *engine, tn_session_params params);
// Closes sessions, placements and host; the model stays.
void tn_cli_engine_stop(tn_cli_engine *engine);
void tn_cli_engine_close(tn_cli_engine *engine);

static inline tn_session *tn_cli_engine_session(const tn_cli_engine *engine, uint32_t copy)
{
    return copy ? engine->more_sessions[copy - 1] : engine->session;
}

// Two lines of header: the model, and what runs where, with the speed that is predicted where it was chosen.
void tn_cli_engine_note(const tn_cli_engine *engine, uint32_t n_ctx);

#endif
