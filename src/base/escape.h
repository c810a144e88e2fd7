// Making text from files and callers safe to show: one line, no terminal control, valid UTF-8.
#ifndef TN_BASE_ESCAPE_H
#define TN_BASE_ESCAPE_H

#include <stddef.h>

// Copies `len` bytes into `out` (capacity >= 1, always terminated) and returns the length written. Control characters, bytes that are not
// UTF-8, and characters that reorder or break lines become \n, \t or \xNN. What does not fit is cut between characters, with "..." at the
// end.
size_t tn_escape(const char *text, size_t len, char *out, size_t capacity);

#endif
