// The loop that turns a prompt into an answer, and what it measured.
#ifndef TERNION_TOOL_GENERATE_H
#define TERNION_TOOL_GENERATE_H

#include "engine.h"
#include "prompt.h"

typedef enum tn_cli_stop {
    TN_CLI_STOP_NONE,
    TN_CLI_STOP_END,         // the model ended its answer
    TN_CLI_STOP_TEXT,        // a stop string
    TN_CLI_STOP_LENGTH,      // -n
    TN_CLI_STOP_CONTEXT,     // no position is left
    TN_CLI_STOP_INTERRUPTED, // Ctrl-C
} tn_cli_stop;

// Zero-initialise.
typedef struct tn_cli_answer {
    int32_t *tokens; // sampled, without the one that ended the answer
    size_t n_tokens, tokens_capacity;
    char *text; // shown so far
    size_t text_len, text_capacity;
    size_t n_decoded;   // tokens of the answer that went through the model
    uint64_t prompt_ns; // from the first step to the end of the prompt
    uint64_t first_ns;  // from the first step to the first token; 0: there was none
    uint64_t reply_ns;  // from the end of the prompt to the end of the answer
    tn_cli_stop stop;
} tn_cli_answer;

typedef struct tn_cli_generate_params {
    const tn_sampler_params *sampler;
    const char *const *stops;
    size_t n_stops;
    bool special; // write control tokens out
    bool print;   // stream to standard output; on a terminal control characters are written out
    // Tokens of the prompt that the session holds already: fewer than all of them. The sampler is told of them all.
    size_t n_known;
} tn_cli_generate_params;

// Feeds the prompt and writes the answer. Returns 0 (Ctrl-C too: see `stop`), or the exit status after a message.
int tn_cli_generate(tn_cli *cli, tn_cli_engine *engine, const tn_cli_prompt *prompt, const tn_cli_generate_params *params,
                    tn_cli_answer *answer);
void tn_cli_answer_deinit(tn_cli_answer *answer);

#endif
