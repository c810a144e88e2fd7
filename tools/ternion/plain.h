// Texts of others (file names, arguments, fields of a model) as people may see and type them.
#ifndef TERNION_TOOL_PLAIN_H
#define TERNION_TOOL_PLAIN_H

#include <stddef.h>

// Copies `n` bytes into one line that cannot drive a terminal: control characters and bytes that are no UTF-8 become \n, \t, \r or \xNN.
// What does not fit is left out. Returns `out`.
char *tn_cli_plain(const char *text, size_t n, char *out, size_t capacity);

// Writes `path` as one word of a shell: as it is, or in single quotes. "FILE" where that does not fit. Returns `out`.
char *tn_cli_shell_word(const char *path, char *out, size_t capacity);

#endif
