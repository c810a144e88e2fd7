// A growing buffer of text.
#include "base/str.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdio.h>

// Room for n more bytes and the terminator.
static tn_status reserve(tn_text *text, size_t n)
{
    uint64_t need;
    if (!tn_ckd_add(text->len, n, &need) || !tn_ckd_add(need, 1, &need)) {
        return tn_fail(TN_OUT_OF_MEMORY, "a text of %zu + %zu bytes cannot exist: ask for less", text->len, n);
    }
    return tn_grow(&text->data, &text->capacity, (size_t)need, 1);
}

tn_status tn_text_append(tn_text *text, const char *bytes, size_t n)
{
    TN_TRY(reserve(text, n));
    if (n != 0) memcpy(text->data + text->len, bytes, n);
    text->len += n;
    text->data[text->len] = '\0';
    return TN_OK;
}

tn_status tn_text_printf(tn_text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) return tn_fail(TN_INVALID_ARGUMENT, "the format \"%s\" cannot be printed: correct the call", fmt);
    TN_TRY(reserve(text, (size_t)n));
    va_start(args, fmt);
    vsnprintf(text->data + text->len, (size_t)n + 1, fmt, args);
    va_end(args);
    text->len += (size_t)n;
    return TN_OK;
}

void tn_text_deinit(tn_text *text)
{
    tn_free(text->data);
    text->data = NULL;
    text->len = text->capacity = 0;
}
