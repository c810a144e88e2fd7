// Escapes for terminals and quotes for shells.
#include "plain.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool continues(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80) return false;
    }
    return true;
}

// Bytes of the character that begins here and may be shown; 0: none does.
static size_t shown_length(const char *text, size_t n)
{
    unsigned char c = (unsigned char)text[0], next = n > 1 ? (unsigned char)text[1] : 0;
    if (c >= 0x20 && c < 0x7f) return 1;
    size_t len = c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (len == 0 || len > n || !continues(text + 1, len - 1)) return 0;
    if (c == 0xc2 && next < 0xa0) return 0;                                      // C1 controls
    if ((c == 0xe0 && next < 0xa0) || (c == 0xf0 && next < 0x90)) return 0;      // longer than it need be
    return (c == 0xed && next >= 0xa0) || (c == 0xf4 && next >= 0x90) ? 0 : len; // surrogates, beyond Unicode
}

char *tn_cli_plain(const char *text, size_t n, char *out, size_t capacity)
{
    static const char from[] = "\n\t\r", to[] = "ntr";
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        char piece[8];
        size_t len = shown_length(text + at, n - at), piece_len = len;
        const char *letter = text[at] ? strchr(from, text[at]) : NULL;
        if (len > 0)
            memcpy(piece, text + at, len);
        else if (letter)
            piece_len = (size_t)snprintf(piece, sizeof piece, "\\%c", to[letter - from]);
        else
            piece_len = (size_t)snprintf(piece, sizeof piece, "\\x%02x", (unsigned)(unsigned char)text[at]);
        if (used + piece_len >= capacity) break;
        memcpy(out + used, piece, piece_len);
        used += piece_len;
        at += len > 0 ? len : 1;
    }
    out[used] = '\0';
    return out;
}

char *tn_cli_shell_word(const char *path, char *out, size_t capacity)
{
    static const char harmless[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-";
    bool quoted = path[0] == '\0' || path[strspn(path, harmless)] != '\0';
    size_t used = 0, need = strlen(path) + 3;
    for (const char *c = path; *c; c++) need += *c == '\'' ? 3 : 0;
    if (need > capacity) {
        snprintf(out, capacity, "FILE");
        return out;
    }
    if (quoted) out[used++] = '\'';
    for (const char *c = path; *c; c++) {
        if (*c == '\'') {
            memcpy(out + used, "'\\''", 4);
            used += 4;
        } else {
            out[used++] = *c;
        }
    }
    if (quoted) out[used++] = '\'';
    out[used] = '\0';
    return out;
}
