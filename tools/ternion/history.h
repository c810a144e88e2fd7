// Lines that were typed, kept in a file of the user's.
#ifndef TERNION_TOOL_HISTORY_H
#define TERNION_TOOL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

// $XDG_STATE_HOME/ternion/history, else ~/.local/state/ternion/history; its folder is made. False where there is no place for it.
bool tn_cli_history_path(char *path, size_t capacity);
// Tells `each` of the lines of the file, the oldest first, at most TN_CLI_HISTORY_MAX. A file that is not there has none.
void tn_cli_history_load(const char *path, void (*each)(void *user, const char *line), void *user);
// Adds a line at once, in a file that only its owner can read; newlines in it become blanks. Returns 0, or the errno of what
// failed.
int tn_cli_history_append(const char *path, const char *line);

#define TN_CLI_HISTORY_MAX 1000

#endif
