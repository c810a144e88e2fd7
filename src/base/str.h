// Text with a length, and a growing buffer of text.
#ifndef TN_BASE_STR_H
#define TN_BASE_STR_H

#include "base/status.h"

#include <string.h>

// Borrowed bytes, not terminated, possibly not UTF-8.
typedef struct tn_str {
    const char *data;
    size_t len;
} tn_str;

static inline tn_str tn_str_of(const char *text)
{
    tn_str s = {text, strlen(text)};
    return s;
}
static inline bool tn_str_eq(tn_str a, tn_str b) { return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0); }
static inline bool tn_str_is(tn_str a, const char *text) { return tn_str_eq(a, tn_str_of(text)); }
// For printf: "%.*s", TN_STR_ARGS(s). At most 200 bytes.
#define TN_STR_ARGS(s) (int)((s).len < 200 ? (s).len : 200), (s).data

// A buffer of bytes that grows; `data` is always terminated once something was added. Zero-initialise.
typedef struct tn_text {
    char *data;
    size_t len, capacity;
} tn_text;

tn_status tn_text_append(tn_text *text, const char *bytes, size_t n);
tn_status tn_text_printf(tn_text *text, const char *fmt, ...) TN_PRINTF(2, 3);
void tn_text_deinit(tn_text *text);

#endif
