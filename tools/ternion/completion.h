// Completion scripts for shells, made from the tables of verbs and options.
#ifndef TERNION_TOOL_COMPLETION_H
#define TERNION_TOOL_COMPLETION_H

#include <stdbool.h>

// Prints the script for "bash", "zsh" or "fish" on standard output; false: no such shell.
bool tn_cli_print_completion(const char *shell);

#endif
