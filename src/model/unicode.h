// UTF-8 and the character classes that the pre-tokenizers ask for.
#ifndef TN_MODEL_UNICODE_H
#define TN_MODEL_UNICODE_H

#include <stddef.h>
#include <stdint.h>

// Each character has exactly one of LETTER, NUMBER, SPACE and OTHER; PUNCT and NEWLINE come on top.
enum {
    TN_CHAR_LETTER = 1,   // general category L
    TN_CHAR_NUMBER = 2,   // general category N
    TN_CHAR_SPACE = 4,    // property White_Space
    TN_CHAR_OTHER = 8,    // none of the three above
    TN_CHAR_PUNCT = 16,   // general category P
    TN_CHAR_NEWLINE = 32, // CR or LF
};

// Stands for bytes that form no character.
#define TN_CHAR_REPLACEMENT 0xFFFDu

extern const uint8_t tn_char_class_ascii[128];
uint8_t tn_char_class_wide(uint32_t code_point);

// The class bits of a code point; what is no code point counts as OTHER.   Threads: any.
static inline uint8_t tn_char_class(uint32_t code_point)
{
    return code_point < 128 ? tn_char_class_ascii[code_point] : tn_char_class_wide(code_point);
}

// Reads the character at the start of `text` (`len` > 0) and returns its bytes. Where the bytes are not well-formed UTF-8
// (overlong forms, surrogates and cut sequences included) it is U+FFFD of one byte.   Threads: any.
size_t tn_utf8_decode(const uint8_t *text, size_t len, uint32_t *out_code_point);

// Makes well-formed UTF-8 of bytes that come one at a time: a character leaves when it is complete, U+FFFD as soon as it is
// certain that the bytes so far can become none (one for each longest beginning of a character, as browsers and Python do).
typedef struct tn_utf8_mender {
    uint8_t bytes[4]; // beginning of a character
    uint8_t n_bytes, n_needed;
    uint8_t next_min, next_max; // the byte that may follow
} tn_utf8_mender;

#define TN_UTF8_MENDED_MAX 6 // bytes that one byte can set free: U+FFFD for what was begun, U+FFFD for itself

// Takes a byte and writes what is certain now; returns the bytes written, at most TN_UTF8_MENDED_MAX. Over a whole text
// there are at most three times as many as were taken. Start from all zero.
size_t tn_utf8_mend(tn_utf8_mender *mender, uint8_t byte, uint8_t *out);
// The text ends here: an incomplete character becomes U+FFFD. Returns the bytes written (0 or 3).
size_t tn_utf8_mend_end(tn_utf8_mender *mender, uint8_t *out);

#endif
