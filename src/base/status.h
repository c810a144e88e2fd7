// Failing with a reason: the thread-local error record and the macros that fill and forward it.
#ifndef TN_BASE_STATUS_H
#define TN_BASE_STATUS_H

#include "ternion/base.h"

#include <stdarg.h>

// Records a failure and returns `status`.  `fmt`: one line with the cause and the next step. Control characters of the result are escaped.
tn_status tn_fail_at(const char *file, int line, tn_status status, int native_code, const char *fmt, ...) TN_PRINTF(5, 6);
// Their value is `status` itself, so that analyzers see that it is not TN_OK.
#define tn_fail(status, ...)                     (tn_fail_at(__FILE__, __LINE__, (status), 0, __VA_ARGS__), (tn_status)(status))
#define tn_fail_native(status, native_code, ...) (tn_fail_at(__FILE__, __LINE__, (status), (native_code), __VA_ARGS__), (tn_status)(status))

// Puts text before the message of the current record ("layer 3: ") and returns its status.
tn_status tn_fail_prefix(const char *fmt, ...) TN_PRINTF(1, 2);
// Replaces this thread's record: for the thread that waited for a failing worker.
void tn_error_set(const tn_error *error);

// For public functions: INVALID_ARGUMENT where a pointer that they need is NULL.
#define TN_REQUIRE(pointer)                                                                                                                \
    do {                                                                                                                                   \
        if ((pointer) == NULL) return tn_fail(TN_INVALID_ARGUMENT, "%s: %s is NULL: correct the call", __func__, #pointer);                \
    } while (0)
#define TN_TRY(expr)                                                                                                                       \
    do {                                                                                                                                   \
        tn_status tn_try_ = (expr);                                                                                                        \
        if (tn_try_ != TN_OK) return tn_try_;                                                                                              \
    } while (0)
// For functions that own things: sets `status` and goes to the one fail label.
#define TN_TRY_GOTO(expr)                                                                                                                  \
    do {                                                                                                                                   \
        if ((status = (expr)) != TN_OK) goto fail;                                                                                         \
    } while (0)

#endif
