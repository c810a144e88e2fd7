// UTF-8 and character classes; the only file that knows utf8proc.
#include "model/unicode.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

#define L TN_CHAR_LETTER
#define N TN_CHAR_NUMBER
#define S TN_CHAR_SPACE
#define B (TN_CHAR_SPACE | TN_CHAR_NEWLINE)
#define O TN_CHAR_OTHER
#define P (TN_CHAR_OTHER | TN_CHAR_PUNCT)
// The symbols $ + < = > ^ ` | ~ are no punctuation by category.
const uint8_t tn_char_class_ascii[128] = {
    O, O, O, O, O, O, O, O, O, S, B, S, S, B, O, O, // control characters
    O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, // control characters
    S, P, P, P, O, P, P, P, P, P, P, O, P, P, P, P, // from ' '
    N, N, N, N, N, N, N, N, N, N, P, P, O, O, O, P, // from '0'
    P, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // from '@'
    L, L, L, L, L, L, L, L, L, L, L, P, P, P, O, P, // from 'P'
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, // from '`'
    L, L, L, L, L, L, L, L, L, L, L, P, O, P, O, O, // from 'p'
};
#undef L
#undef N
#undef S
#undef B
#undef O
#undef P

// White_Space is no category: it is this closed list (Unicode's PropList), stable since 6.3.
static bool is_wide_space(uint32_t c)
{
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

uint8_t tn_char_class_wide(uint32_t code_point)
{
    if (code_point > 0x10FFFF) return TN_CHAR_OTHER;
    if (is_wide_space(code_point)) return TN_CHAR_SPACE;
    switch (utf8proc_category((utf8proc_int32_t)code_point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return TN_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return TN_CHAR_NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return TN_CHAR_OTHER | TN_CHAR_PUNCT;
    default: return TN_CHAR_OTHER;
    }
}

// Opens `mender` with a byte that may begin a character of several bytes; false where no such character exists.
// The bounds on the second byte keep out overlong forms, surrogates and what lies above U+10FFFF (Unicode, table 3-7).
static bool mender_begin(tn_utf8_mender *mender, uint8_t byte)
{
    if (byte < 0xC2 || byte > 0xF4) return false;
    mender->bytes[0] = byte;
    mender->n_bytes = 1;
    mender->n_needed = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    mender->next_min = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    mender->next_max = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return true;
}

static bool mender_accepts(const tn_utf8_mender *mender, uint8_t byte) { return byte >= mender->next_min && byte <= mender->next_max; }

static void mender_add(tn_utf8_mender *mender, uint8_t byte)
{
    mender->bytes[mender->n_bytes++] = byte;
    mender->next_min = 0x80;
    mender->next_max = 0xBF;
}

size_t tn_utf8_decode(const uint8_t *text, size_t len, uint32_t *out_code_point)
{
    if (text[0] < 0x80) {
        *out_code_point = text[0];
        return 1;
    }
    tn_utf8_mender m = {0};
    *out_code_point = TN_CHAR_REPLACEMENT;
    if (!mender_begin(&m, text[0]) || m.n_needed > len) return 1;
    uint32_t c = text[0] & (0x7Fu >> m.n_needed);
    while (m.n_bytes < m.n_needed) {
        uint8_t byte = text[m.n_bytes];
        if (!mender_accepts(&m, byte)) return 1;
        c = c << 6 | (byte & 0x3Fu);
        mender_add(&m, byte);
    }
    *out_code_point = c;
    return m.n_needed;
}

static size_t put_replacement(uint8_t *out)
{
    memcpy(out, "\xEF\xBF\xBD", 3);
    return 3;
}

size_t tn_utf8_mend(tn_utf8_mender *mender, uint8_t byte, uint8_t *out)
{
    size_t n = 0;
    if (mender->n_bytes > 0) {
        if (mender_accepts(mender, byte)) {
            mender_add(mender, byte);
            if (mender->n_bytes < mender->n_needed) return 0;
            memcpy(out, mender->bytes, mender->n_bytes);
            n = mender->n_bytes;
            mender->n_bytes = 0;
            return n;
        }
        n = tn_utf8_mend_end(mender, out);
    }
    if (byte < 0x80) {
        out[n++] = byte;
    } else if (!mender_begin(mender, byte)) {
        n += put_replacement(out + n);
    }
    return n;
}

size_t tn_utf8_mend_end(tn_utf8_mender *mender, uint8_t *out)
{
    if (mender->n_bytes == 0) return 0;
    mender->n_bytes = 0;
    return put_replacement(out);
}
