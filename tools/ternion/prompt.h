// The text that a verb works on: from the command line, a file or standard input; and its tokens.
#ifndef TERNION_TOOL_PROMPT_H
#define TERNION_TOOL_PROMPT_H

#include "engine.h"

// Zero-initialise.
typedef struct tn_cli_prompt {
    char *text; // may hold any bytes
    size_t len;
    int32_t *tokens;
    size_t n_tokens;
    bool from_file;     // or standard input
    bool from_terminal; // no text was given and standard input is a terminal: `text` is NULL
} tn_cli_prompt;

// Most bytes of an input, whatever the context; and of the text of one token, generously.
#define TN_CLI_INPUT_MAX       ((size_t)256 << 20)
#define TN_CLI_TOKEN_BYTES_MAX ((size_t)64 << 10)

// Reads -p, -f or standard input, of files at most `max` bytes. Each returns 0 or the exit status after a message.
int tn_cli_prompt_read(tn_cli *cli, tn_cli_prompt *prompt, size_t max);
// Tokenises the text with TN_ENCODE flags.
int tn_cli_prompt_encode(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_prompt *prompt, unsigned flags);
void tn_cli_prompt_deinit(tn_cli_prompt *prompt);

// Reads a whole file, "-": standard input; one of more than `max` bytes is refused, with the flag to blame. The caller frees `*text`.
int tn_cli_read_file(const tn_cli *cli, const char *path, size_t max, const char *flag, char **text, size_t *len);
// A copy of `text` with its escapes (\n, \xHH) resolved unless --no-escape; the caller frees `*out`.
int tn_cli_unescape(const tn_cli *cli, const char *text, char **out, size_t *len);
// Context that the session will have: -c, else the model's.
uint32_t tn_cli_context(const tn_cli *cli, const tn_cli_engine *engine);
// Refuses a context longer than the model's, and a text that does not fit into it.
int tn_cli_prompt_check(const tn_cli *cli, const tn_cli_engine *engine, const tn_cli_prompt *prompt, uint32_t n_ctx);

#endif
