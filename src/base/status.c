// Status names and texts, the version, and the thread-local record of the last failure.
#include "base/status.h"

#include "base/escape.h"

#include <stdio.h>
#include <string.h>

#define TN_STRINGIFY_(x) #x
#define TN_STRINGIFY(x)  TN_STRINGIFY_(x)

// The one state that a thread keeps between calls; fixed size, so that recording a failure cannot fail.
static _Thread_local tn_error tn_error_record;

const char *tn_version(void)
{
    return TN_STRINGIFY(TN_VERSION_MAJOR) "." TN_STRINGIFY(TN_VERSION_MINOR) "." TN_STRINGIFY(TN_VERSION_PATCH);
}

const char *tn_status_name(tn_status status)
{
    switch (status) {
#define TN_STATUS_NAME(name, number, text)                                                                                                 \
    case TN_##name: return #name;
        TN_STATUS_LIST(TN_STATUS_NAME)
#undef TN_STATUS_NAME
    }
    return "UNKNOWN";
}

const char *tn_status_text(tn_status status)
{
    switch (status) {
#define TN_STATUS_TEXT(name, number, text)                                                                                                 \
    case TN_##name: return text;
        TN_STATUS_LIST(TN_STATUS_TEXT)
#undef TN_STATUS_TEXT
    }
    return "no such status: the number does not come from this version of ternion";
}

const tn_error *tn_error_last(void) { return &tn_error_record; }

// Length of the UTF-8 character at text[0..len), 0 where the bytes are not valid UTF-8 (overlong forms and surrogates included).
static size_t utf8_length(const unsigned char *text, size_t len, unsigned *out_code)
{
    static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = text[0] < 0x80 ? 1 : (text[0] & 0xE0) == 0xC0 ? 2 : (text[0] & 0xF0) == 0xE0 ? 3 : (text[0] & 0xF8) == 0xF0 ? 4 : 0;
    if (n == 0 || n > len) return 0;
    unsigned code = n == 1 ? text[0] : text[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; ++i) {
        if ((text[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (text[i] & 0x3Fu);
    }
    if (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
    *out_code = code;
    return n;
}

// Besides C0 and C1 controls: the characters that terminals use to break or reorder a line (a file could disguise its name with them).
static int is_unsafe(unsigned code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

// Writes one character, escaped where needed, into `piece` and returns its length; `*out_used` bytes of text were taken.
static size_t escape_one(const unsigned char *text, size_t len, char piece[16], size_t *out_used)
{
    unsigned code = 0;
    size_t n = utf8_length(text, len, &code);
    if (n != 0 && !is_unsafe(code)) {
        memcpy(piece, text, n);
        *out_used = n;
        return n;
    }
    *out_used = 1;
    const char *named = text[0] == '\n' ? "\\n" : text[0] == '\r' ? "\\r" : text[0] == '\t' ? "\\t" : NULL;
    if (named != NULL) {
        memcpy(piece, named, 2);
        return 2;
    }
    size_t bytes = n == 0 ? 1 : n; // a whole unsafe character at once: its later bytes are not errors of their own
    *out_used = bytes;
    for (size_t i = 0; i < bytes; ++i) {
        static const char digits[] = "0123456789abcdef";
        const char hex[4] = {'\\', 'x', digits[text[i] >> 4], digits[text[i] & 15]};
        memcpy(piece + 4 * i, hex, 4);
    }
    return 4 * bytes;
}

size_t tn_escape(const char *text, size_t len, char *out, size_t capacity)
{
    static const char cut[] = "...";
    size_t at = 0, used = 0, safe = 0; // safe: the last end of a character after which the cut mark still fits
    while (used < len) {
        char piece[16];
        size_t taken = 0;
        size_t n = escape_one((const unsigned char *)text + used, len - used, piece, &taken);
        if (n >= capacity - at) {
            at = safe;
            for (size_t i = 0; cut[i] != '\0' && at + 1 < capacity; ++i) out[at++] = cut[i];
            break;
        }
        memcpy(out + at, piece, n);
        at += n;
        used += taken;
        if (at + sizeof cut <= capacity) safe = at;
    }
    out[at] = '\0';
    return at;
}

// Formats into a buffer of its own first: the arguments may point into the record.
static void record_text(const char *fmt, va_list args, char *out, size_t capacity)
{
    char raw[sizeof tn_error_record.message];
    int n = vsnprintf(raw, sizeof raw, fmt, args);
    size_t len = n < 0 ? 0 : (size_t)n;
    if (len < sizeof raw) {
        tn_escape(raw, len, out, capacity);
        return;
    }
    len = sizeof raw - 1;
    memcpy(raw + len - 3, "...", 3);
    tn_escape(raw, len, out, capacity);
}

tn_status tn_fail_at(const char *file, int line, tn_status status, int native_code, const char *fmt, ...)
{
    char message[sizeof tn_error_record.message];
    va_list args;
    va_start(args, fmt);
    record_text(fmt, args, message, sizeof message);
    va_end(args);
    tn_error *record = &tn_error_record;
    record->status = status;
    record->native_code = native_code;
    record->line = line;
    record->file = file;
    record->device[0] = '\0';
    memcpy(record->message, message, sizeof message);
    return status;
}

tn_status tn_fail_prefix(const char *fmt, ...)
{
    tn_error *record = &tn_error_record;
    char joined[2 * sizeof record->message];
    // A long prefix (a path) must not push out the cause: it gets the room that the message leaves, and always some.
    size_t len_old = strlen(record->message), room = sizeof record->message - len_old;
    va_list args;
    va_start(args, fmt);
    record_text(fmt, args, joined, room < 64 ? 64 : room);
    va_end(args);
    size_t len = strlen(joined);
    memcpy(joined + len, record->message, len_old + 1);
    // Both parts are escaped already; this pass only cuts what is too long, cleanly.
    tn_escape(joined, len + len_old, record->message, sizeof record->message);
    return record->status;
}

void tn_error_set(const tn_error *error)
{
    if (error != &tn_error_record) tn_error_record = *error;
}
