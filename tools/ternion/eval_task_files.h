// Files of tasks with several answers of which one is right: HellaSwag, WinoGrande, multiple choice.
#ifndef TERNION_TOOL_EVAL_TASK_FILES_H
#define TERNION_TOOL_EVAL_TASK_FILES_H

#include "cli.h"

#define TN_CLI_EVAL_CHOICES_MAX 26u // that letters can name

typedef enum tn_cli_eval_kind { TN_CLI_EVAL_HELLASWAG, TN_CLI_EVAL_WINOGRANDE, TN_CLI_EVAL_MULTIPLE_CHOICE } tn_cli_eval_kind;

typedef struct tn_cli_eval_text_span {
    char *text; // owned; the whole text with this answer
    size_t len;
    size_t base_len; // WinoGrande: up to the end of the answer, behind which the sentence goes on; else 0
} tn_cli_eval_text_span;

typedef struct tn_cli_eval_question {
    size_t line; // of the file, from 1
    uint32_t n_choices, answer;
    tn_cli_eval_text_span *choices; // [n_choices] owned
} tn_cli_eval_question;

// Zero-initialise.
typedef struct tn_cli_eval_questions {
    tn_cli_eval_question *list;
    size_t n, capacity;
} tn_cli_eval_questions;

// Reads a file ("-": standard input); what is wrong in it is said with its line. Returns 0 or the exit status after a message.
int tn_cli_eval_read_questions(tn_cli *cli, tn_cli_eval_kind kind, const char *path, tn_cli_eval_questions *questions);
void tn_cli_eval_questions_deinit(tn_cli_eval_questions *questions);

#endif
