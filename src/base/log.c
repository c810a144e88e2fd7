// Log lines and progress through the caller's hooks; without a hook, warnings and errors go to stderr.
#include "base/log.h"

#include "base/escape.h"
#include "base/status.h"

#include <stdio.h>

static const char *level_name(tn_log_level level)
{
    switch (level) {
    case TN_LOG_ERROR: return "error";
    case TN_LOG_WARN: return "warning";
    case TN_LOG_INFO: return "info";
    case TN_LOG_DEBUG: return "debug";
    }
    return "log";
}

void tn_log_write(const tn_log *log, tn_log_level level, const char *fmt, ...)
{
    tn_log_level level_max = log == NULL || log->level_max == 0 ? TN_LOG_WARN : log->level_max;
    if (level > level_max) return;
    char raw[1024], line[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof raw ? (size_t)n : sizeof raw - 1;
    tn_escape(raw, len, line, sizeof line);
    if (log == NULL || log->write == NULL) {
        // One call, so that lines of several threads do not mix.
        fprintf(stderr, "ternion: %s: %s\n", level_name(level), line);
    } else {
        log->write(log->user, level, line);
    }
}

tn_status tn_progress_report(const tn_progress *progress, const char *stage, uint64_t done, uint64_t total)
{
    if (progress == NULL || progress->update == NULL) return TN_OK;
    if (progress->update(progress->user, stage, done, total)) return TN_OK;
    return tn_fail(TN_CANCELLED, "%s was cancelled by the caller after %llu of %llu", stage, (unsigned long long)done,
                   (unsigned long long)total);
}
