// Whether two names lead to one file: no output may replace what is read, or another output.
#ifndef TERNION_TOOL_SAME_FILE_H
#define TERNION_TOOL_SAME_FILE_H

#include <stdbool.h>

// Of ordinary files, also of those that are not there yet. NULL and "-" are no file.
bool tn_cli_same_file(const char *a, const char *b);

#endif
