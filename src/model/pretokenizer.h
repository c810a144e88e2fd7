// Pre-tokenizers: they cut text into the words inside which byte pairs are merged.
#ifndef TN_MODEL_PRETOKENIZER_H
#define TN_MODEL_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_PRE_STAGES_MAX 4

// Returns the bytes (1..len) of the first piece of `text`; `len` > 0. Looks at nothing before or after the text.
typedef size_t (*tn_pre_scan)(const uint8_t *text, size_t len);

// A family of pre-tokenizers under one of its names. Each stage cuts the pieces that the stage before left.
typedef struct tn_pretokenizer {
    const char *name; // as in tokenizer.ggml.pre
    tn_pre_scan stages[TN_PRE_STAGES_MAX];
    size_t n_stages;
    bool ignore_merges; // a word that is a token as a whole is that token, whatever the merges say
    bool add_bos;       // where the file does not say
} tn_pretokenizer;

// NULL where the name is unknown.
const tn_pretokenizer *tn_pretokenizer_find(const char *name, size_t name_len);
// All of them, in a fixed order; NULL behind the last.
const tn_pretokenizer *tn_pretokenizer_at(size_t index);

// Walks over the pieces of a text. Time is linear in the text for every input. Borrows all pointers.
typedef struct tn_pre_cursor {
    const tn_pretokenizer *pre;
    const uint8_t *at;
    const uint8_t *ends[TN_PRE_STAGES_MAX + 1]; // of the text, then of each stage's current piece
} tn_pre_cursor;

void tn_pre_start(tn_pre_cursor *cursor, const tn_pretokenizer *pre, const uint8_t *text, size_t len);
// False at the end of the text. The pieces, put together, are the text.
bool tn_pre_next(tn_pre_cursor *cursor, const uint8_t **out_piece, size_t *out_len);

#endif
