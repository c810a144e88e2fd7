// One line for everything that goes wrong: cause and next command, on standard error.
#ifndef TERNION_TOOL_REPORT_H
#define TERNION_TOOL_REPORT_H

#include "ternion/base.h"

typedef struct tn_cli tn_cli;

// The context of messages from now on (verb, colours, the bar to clear); borrowed until the next call. NULL: none.
void tn_cli_report_begin(tn_cli *cli);

// Prints "ternion: error: MESSAGE. Try: COMMAND"; `try_command` NULL: the help of the verb. Each returns the exit status.
int tn_cli_fail(const char *try_command, const char *fmt, ...) TN_PRINTF(2, 3);
// The same with the message of the library's last error; a cancelled call after Ctrl-C counts as interrupted.
int tn_cli_fail_status(const char *try_command);
int tn_cli_usage(const char *fmt, ...) TN_PRINTF(1, 2);
int tn_cli_out_of_memory(void);
// After Ctrl-C.
int tn_cli_stopped(void);

// The library's warnings and, with -v, its other messages.
tn_log tn_cli_log(void);

// What the user should know although all goes on; -q does not silence it.
void tn_cli_warn(const char *fmt, ...) TN_PRINTF(1, 2);

// Prints a line of header or summary on standard error, unless -q.
void tn_cli_note(const char *fmt, ...) TN_PRINTF(1, 2);
// The same for what was asked for: -q does not silence it.
void tn_cli_tell(const char *fmt, ...) TN_PRINTF(1, 2);

#endif
