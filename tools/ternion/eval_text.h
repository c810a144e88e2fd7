// Perplexity of a text, and its distance from a baseline's logits.
#ifndef TERNION_TOOL_EVAL_TEXT_H
#define TERNION_TOOL_EVAL_TEXT_H

#include "engine.h"

// Scores -p, -f or standard input and prints what came out. Returns 0 or the exit status after a message.
int tn_cli_eval_text(tn_cli *cli, tn_cli_engine *engine);

#endif
