// Byte-pair merging: words to token ids, by a ranked list of merges.
#ifndef TN_MODEL_BPE_H
#define TN_MODEL_BPE_H

#include "model/merge.h"
#include "model/piece_table.h"

// What merging needs of a vocabulary. Symbols are token ids, and n_tokens + b for a byte b that no token stands for.
// Immutable after the build; any thread.
typedef struct tn_bpe {
    const tn_str *tokens; // [n_tokens] bytes of each; borrowed
    int32_t n_tokens;
    tn_piece_table table;      // tokens that may come out of text
    struct tn_bpe_pair *pairs; // hash table: (left, right) -> rank, joined
    size_t n_pair_slots, n_pairs;
    int32_t byte_symbols[256];
} tn_bpe;

// Room for merging one word at a time, kept between words. Zero-initialise; one thread.
typedef struct tn_bpe_scratch {
    struct tn_bpe_symbol *symbols;
    size_t capacity;
    tn_merge_heap heap;
} tn_bpe_scratch;

// Prepares a vocabulary without merges. `usable[i]`: token i may come out of text (of equal ones the last wins). Borrows `tokens`.
// On failure everything is freed.  Errors: OUT_OF_MEMORY.
tn_status tn_bpe_init(tn_bpe *bpe, const tn_str *tokens, const bool *usable, int32_t n_tokens);
void tn_bpe_deinit(tn_bpe *bpe);
// The symbol of some bytes, or -1.
int32_t tn_bpe_find_symbol(const tn_bpe *bpe, const uint8_t *bytes, size_t len);
// Adds a merge; of two for one pair the first counts. `rank` < UINT32_MAX.  Errors: OUT_OF_MEMORY.
tn_status tn_bpe_add_merge(tn_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t joined);
// Adds every pair of symbols whose joined bytes are a token, ranked by that token's id (what tiktoken files mean).
tn_status tn_bpe_add_merges_by_id(tn_bpe *bpe, const bool *usable);

// Merges one word and appends its tokens: again and again the adjacent pair of lowest rank, the leftmost of equals, until none is left.
// O(n log n) in the bytes of the word. Bytes that no token stands for give nothing.
// Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (a word of 2^31 bytes or more).
tn_status tn_bpe_encode_word(const tn_bpe *bpe, tn_bpe_scratch *scratch, const uint8_t *word, size_t len, tn_id_list *out);
void tn_bpe_scratch_deinit(tn_bpe_scratch *scratch);

#endif
