// One line of a batch file in OpenAI's format: from text to what the batcher takes.
#ifndef TERNION_TOOL_BATCH_REQUEST_H
#define TERNION_TOOL_BATCH_REQUEST_H

#include "engine.h"
#include "json_out.h"

typedef enum tn_cli_batch_kind { TN_CLI_BATCH_COMPLETION, TN_CLI_BATCH_CHAT } tn_cli_batch_kind;

// Names that were met and have been warned of: each once in a run. Zero-initialise.
typedef struct tn_cli_batch_notes {
    char names[64][64];
    size_t n_names;
    bool full, model_noted;
} tn_cli_batch_notes;

// What all lines have in common. Borrows the engine.
typedef struct tn_cli_batch_context {
    const tn_cli *cli;
    const tn_cli_engine *engine;
    const tn_chat_template *chat_template; // NULL: chat lines fail with `no_chat`
    char no_chat[1024];
    unsigned chat_flags; // of tn_chat_render, for lines that do not say whether answers begin with thoughts
    uint32_t n_ctx;      // positions of a sequence
    // Defaults of lines: OpenAI's, or what the run's flags say.
    tn_sampler_params sampler; // seed: of lines without one
    tn_logit_bias *bias;       // of flags, owned
    size_t n_bias;
    char **stops; // of flags, owned
    size_t n_stops;
    int64_t n_predict; // -1: 16 for completions, the rest of the context for chat; 0: no limit
    bool ignore_eos;
    int32_t *ends; // the tokens that end an answer, owned
    size_t n_ends;
    tn_cli_batch_notes notes;
} tn_cli_batch_context;

// The engine has its session, or takes the context that the flags say. Returns 0 or the exit status after a message; the context is to be
// deinitialised in both cases.
int tn_cli_batch_context_init(tn_cli *cli, const tn_cli_engine *engine, tn_cli_batch_context *context);
void tn_cli_batch_context_deinit(tn_cli_batch_context *context);
// A short text that changes where the same line would be answered otherwise: model, context, defaults, template. For system_fingerprint.
// A copy of the model's file with another name has the same.
void tn_cli_batch_fingerprint(const tn_cli_batch_context *context, char out[40]);

// Why a line has no answer, in the words of an API.
typedef struct tn_cli_batch_error {
    int status;     // 400, 500, ...
    char type[40];  // "invalid_request_error", "server_error"
    char code[40];  // "invalid_json", "unknown_url", "context_length_exceeded", ...
    char param[80]; // the field; "": none
    char message[1200];
} tn_cli_batch_error;

// A line that was understood. One prompt makes one request of the batcher: `params` with the prompt's tokens and, prompt i, a sampler whose
// sequence is i * params.n_samples more. Zero-initialise; it points into itself, so it is neither copied nor moved.
typedef struct tn_cli_batch_request {
    tn_cli_batch_kind kind;
    json_t *custom_id;        // a string; NULL: the line has none that can be read
    char *model;              // as the line names it; NULL: it does not
    tn_request_params params; // of every prompt, but for tokens and the sampler's sequence; borrows from this struct
    tn_sampler_params sampler;
    tn_logit_bias *bias;
    char **stops;
    int32_t **prompts; // [n_prompts][n_prompt_tokens[i]]
    size_t *n_prompt_tokens, n_prompts;
    bool echo;           // the prompt's text comes before the answer's
    uint32_t n_choices;  // of each prompt: n
    bool wants_logprobs; // in the answer
} tn_cli_batch_request;

// Parses one line (UTF-8 or not, any bytes, no newline). False: *error says why, and the request holds at most custom_id and model, for the
// line that says so. `number`: of the line, from 1; it tells the random numbers of lines without a seed apart. Warns of unknown parameters.
bool tn_cli_batch_request_parse(tn_cli_batch_context *context, uint64_t number, const char *text, size_t len, tn_cli_batch_request *request,
                                tn_cli_batch_error *error);
void tn_cli_batch_request_deinit(tn_cli_batch_request *request);

#endif
