// Log lines and progress, through the hooks that the caller gave.
#ifndef TN_BASE_LOG_H
#define TN_BASE_LOG_H

#include "ternion/base.h"

// `log` NULL: warnings and errors to stderr.   Threads: as the hook allows.
void tn_log_write(const tn_log *log, tn_log_level level, const char *fmt, ...) TN_PRINTF(3, 4);
// TN_CANCELLED where the hook says stop; `progress` NULL is fine.
tn_status tn_progress_report(const tn_progress *progress, const char *stage, uint64_t done, uint64_t total);

#endif
