// Tasks with several answers: which of them the model finds the likeliest, a token.
#ifndef TERNION_TOOL_EVAL_TASKS_H
#define TERNION_TOOL_EVAL_TASKS_H

#include "engine.h"
#include "eval_task_files.h"

// Scores the tasks of the file that the flag of that kind names, and prints what came out. Returns 0 or the exit status after a message.
int tn_cli_eval_tasks(tn_cli *cli, tn_cli_engine *engine, tn_cli_eval_kind kind, const char *path);

#endif
