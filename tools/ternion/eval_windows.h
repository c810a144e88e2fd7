// How a text is cut into windows that are scored, as llama-perplexity cuts it.
#ifndef TERNION_TOOL_EVAL_WINDOWS_H
#define TERNION_TOOL_EVAL_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tn_cli_eval_windows {
    uint32_t context, stride;   // as asked for; stride 0: windows beside each other
    uint32_t n_positions;       // of a window
    uint32_t step;              // tokens from the begin of one to that of the next
    uint32_t first_row, n_rows; // positions whose logits are scored, each by the token behind it
    bool puts_bos;              // in place of a window's first token
    uint64_t n;                 // windows
} tn_cli_eval_windows;

// Windows of a text of `n_tokens`, at most `n_max` (0: all); n is 0 where not even one fits. context >= 4, stride <= context.
tn_cli_eval_windows tn_cli_eval_windows_of(uint64_t n_tokens, uint32_t context, uint32_t stride, bool adds_bos, uint64_t n_max);

#endif
