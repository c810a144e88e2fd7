// Small files that are there whole, or as they were.
#ifndef TN_BASE_FILE_REPLACE_H
#define TN_BASE_FILE_REPLACE_H

#include "base/str.h"

// Writes the parts, one behind the other, to a file beside `path`, for this user alone, and gives it that name. After a failure the file
// of that name is as it was, and nothing else is left.  Errors: IO, OUT_OF_MEMORY.
tn_status tn_file_replace(const char *path, const tn_str *parts, size_t n_parts);

#endif
