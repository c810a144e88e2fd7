// Finding special tokens written out in text, in linear time.
#ifndef TN_MODEL_TOKENIZER_SPECIAL_H
#define TN_MODEL_TOKENIZER_SPECIAL_H

#include "base/str.h"

// A set of token texts. Zero-initialised: empty. Immutable once built; any thread.
typedef struct tn_special_set {
    struct tn_special_node *nodes; // NULL: empty set
    uint32_t n_nodes;
    uint32_t first[256]; // the root's children by byte; 0: none
} tn_special_set;

typedef struct tn_special_match {
    size_t at, len; // bytes of the text
    int32_t id;
} tn_special_match;

// A growing list of matches. Zero-initialise; free `items` with tn_free.
typedef struct tn_special_matches {
    tn_special_match *items;
    size_t n, capacity;
} tn_special_matches;

// Makes the set of the texts with wanted[i]; ids are their indices. Empty texts are left out; of equal ones the last wins.
// On failure the set is empty.  Errors: OUT_OF_MEMORY, BAD_FILE (more than 2^32 bytes of them).
tn_status tn_special_init(tn_special_set *set, const tn_str *texts, const bool *wanted, int32_t n_texts);
void tn_special_deinit(tn_special_set *set);
// Appends the matches in `text`: the leftmost first, of those that begin there the longest, then on behind it. They come in
// REVERSE order, last of the text first.  Errors: OUT_OF_MEMORY.
tn_status tn_special_find(const tn_special_set *set, const uint8_t *text, size_t len, tn_special_matches *out);

#endif
