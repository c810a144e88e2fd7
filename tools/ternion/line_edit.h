// Reading a line from a terminal, with editing and history where the program was built with libedit. The only user of it.
#ifndef TERNION_TOOL_LINE_EDIT_H
#define TERNION_TOOL_LINE_EDIT_H

#include <stdbool.h>

typedef enum tn_cli_line_result {
    TN_CLI_LINE_READ,
    TN_CLI_LINE_END,         // Ctrl-D in an empty line, or the input is over
    TN_CLI_LINE_INTERRUPTED, // Ctrl-C
    TN_CLI_LINE_FAILED,      // see errno
} tn_cli_line_result;

typedef struct tn_cli_line_edit tn_cli_line_edit;

// `remember`: keep the lines in the user's history file; `moves`: the terminal knows escape sequences. NULL without memory.
tn_cli_line_edit *tn_cli_line_edit_open(bool remember, bool moves);
void tn_cli_line_edit_close(tn_cli_line_edit *edit);
// Shows `prompt` on standard error, in colour where `colour`, and reads a line without its newline, for the caller to free. A text that was
// pasted is one line, which then has newlines in it.
tn_cli_line_result tn_cli_line_edit_read(tn_cli_line_edit *edit, const char *prompt, bool colour, char **out_line);
// "libedit" or "plain lines".
const char *tn_cli_line_edit_kind(void);

#endif
