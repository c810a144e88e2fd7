// Windows beside each other: the tokens behind the first half are scored. With a stride: the last `stride` tokens of each, of windows that
// are half a stride longer than the context; these begin with the text's own token, also where the tokenizer adds BOS.
#include "eval_windows.h"

tn_cli_eval_windows tn_cli_eval_windows_of(uint64_t n_tokens, uint32_t context, uint32_t stride, bool adds_bos, uint64_t n_max)
{
    tn_cli_eval_windows w = {.context = context, .stride = stride};
    if (stride == 0) {
        w.n_positions = w.step = context;
        w.first_row = context / 2;
        w.n_rows = context - 1 - w.first_row;
        w.puts_bos = adds_bos;
        w.n = n_tokens / context;
    } else {
        w.n_positions = context + stride / 2;
        w.step = w.n_rows = stride;
        w.first_row = w.n_positions - stride - 1;
        w.n = n_tokens > w.n_positions ? (n_tokens - w.n_positions + stride - 1) / stride : 0;
    }
    if (n_max && w.n > n_max) w.n = n_max;
    return w;
}
