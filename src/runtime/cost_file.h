// Tables of costs in files of the cache folder, one for each machine, device, driver and build.
#ifndef TN_RUNTIME_COST_FILE_H
#define TN_RUNTIME_COST_FILE_H

#include "scheduler/cost.h"

// Errors: NOT_FOUND (there is none, or it is of another key), BAD_FILE (damaged), UNSUPPORTED (others may write to it), IO, OUT_OF_MEMORY.
tn_status tn_cost_file_read(const char *folder, const char *key, tn_cost_table *out_table);
// Whole or not at all: whoever reads meanwhile sees the old one. The folder is made where it is missing.  Errors: IO, OUT_OF_MEMORY,
// INVALID_ARGUMENT (a key of several lines).
tn_status tn_cost_file_write(const char *folder, const char *key, const tn_cost_table *table);

#endif
