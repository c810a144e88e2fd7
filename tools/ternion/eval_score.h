// Scores of tasks' answers, and what a share of right ones is worth.
#ifndef TERNION_TOOL_EVAL_SCORE_H
#define TERNION_TOOL_EVAL_SCORE_H

#include "eval_task_files.h"

typedef struct tn_cli_eval_choice {
    int32_t *tokens; // owned
    uint32_t n_tokens;
    uint32_t first, end; // of `tokens`, those whose log-probabilities count
    double logprob;      // their sum
} tn_cli_eval_choice;

typedef struct tn_cli_eval_task {
    size_t line;
    uint32_t n_choices, answer, chosen;
    uint32_t n_common;           // tokens with which all choices begin
    bool last_of_equal;          // of equal scores the last wins, not the first
    tn_cli_eval_choice *choices; // [n_choices] owned
} tn_cli_eval_task;

// Makes tokens of a question's choices and finds what is scored of them. Returns 0 or the exit status after a message; *out_problem is
// what is wrong with the task itself, NULL where nothing is.
int tn_cli_eval_task_make(const tn_tokenizer *tokenizer, tn_cli_eval_kind kind, const tn_cli_eval_question *question,
                          tn_cli_eval_task *task, const char **out_problem);
// The mean log-probability of the tokens that count.
double tn_cli_eval_choice_score(const tn_cli_eval_choice *choice);
// All sums are there: sets `chosen`.
void tn_cli_eval_task_choose(tn_cli_eval_task *task);
void tn_cli_eval_task_deinit(tn_cli_eval_task *task);

typedef struct tn_cli_eval_share {
    double share, error; // standard error
    double low, high;    // Wilson's interval of 95 %
} tn_cli_eval_share;
tn_cli_eval_share tn_cli_eval_share_of(uint64_t n_right, uint64_t n);

#endif
