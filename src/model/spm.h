// SentencePiece merging ("llama" vocabularies): words to token ids, by the scores of the pieces.
#ifndef TN_MODEL_SPM_H
#define TN_MODEL_SPM_H

#include "model/merge.h"
#include "model/piece_table.h"

// What merging needs of a vocabulary. Spaces are spaces in here, where the vocabulary and SentencePiece write U+2581.
// Immutable after init; any thread.
typedef struct tn_spm {
    tn_piece_table table;    // pieces that merging may make
    uint32_t *ranks;         // [n_tokens] of each piece: the lower, the sooner it is made; equal scores are equal ranks
    const bool *unused;      // [n_tokens] pieces that merging makes but that never come out; borrowed
    int32_t characters[256]; // pieces of one byte; -1: none
    int32_t bytes[256];      // tokens that stand for bytes of characters without a piece; -1: none
    int32_t unknown;         // token for characters with neither; -1: none
    size_t len_max;          // bytes of the longest piece
    uint32_t joins[256][8];  // bit set: byte b may stand behind byte a inside a piece
    bool add_prefix;         // texts get a space in front
    bool trim;               // spaces at the ends of texts go, and of several together one stays
} tn_spm;

// A vocabulary as its pieces' bytes. `pieces` and `unused` are borrowed until deinit, `mergeable` and `scores` during the call.
typedef struct tn_spm_params {
    const tn_str *pieces;  // [n_tokens], U+2581 already replaced by spaces
    const float *scores;   // [n_tokens], no NaN
    const bool *mergeable; // [n_tokens] pieces that merging may make
    const bool *unused;    // [n_tokens] and those of them that never come out
    const int32_t *bytes;  // [256] tokens of bytes; -1: none
    int32_t n_tokens, unknown;
    bool add_prefix, trim;
} tn_spm_params;

// The byte that a token's name like <0x0A> means, or -1.
int tn_spm_byte_of_name(tn_str name);

// Room for merging one word at a time, kept between words. Zero-initialise; one thread.
typedef struct tn_spm_scratch {
    struct tn_spm_symbol *symbols;
    size_t capacity;
    tn_merge_heap heap;
} tn_spm_scratch;

// On failure everything is freed.  Errors: OUT_OF_MEMORY.
tn_status tn_spm_init(tn_spm *spm, const tn_spm_params *params);
void tn_spm_deinit(tn_spm *spm);
// Writes the text as merging reads it: with its prefix, and U+2581 as the space that it means. Returns the bytes written, at most
// len + 1. An empty text stays empty.
size_t tn_spm_normalize(const tn_spm *spm, const uint8_t *text, size_t len, uint8_t *out);
// Bytes (1..len) of the first word of a normalized text; `len` > 0. No piece contains the two bytes on both sides of a word's end, so
// merging words one by one gives the tokens of the whole text.
size_t tn_spm_word_len(const tn_spm *spm, const uint8_t *text, size_t len);
// Merges one word and appends its tokens: again and again the adjacent pair that makes the piece of highest score, the leftmost of
// equals, until none is left. Symbols are characters at first; a byte that belongs to no character is one too. Unused pieces are taken
// apart again; a character that is no piece becomes the tokens of its bytes, else the unknown token, else nothing.
// O(n log n) in the bytes of the word.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (a word of 2^31 bytes or more).
tn_status tn_spm_encode_word(const tn_spm *spm, tn_spm_scratch *scratch, const uint8_t *word, size_t len, tn_id_list *out);
void tn_spm_scratch_deinit(tn_spm_scratch *scratch);

#endif
