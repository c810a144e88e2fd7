// Making tokenizers: from a GGUF file's keys, or from a vocabulary at hand.
#ifndef TN_MODEL_TOKENIZER_INTERNAL_H
#define TN_MODEL_TOKENIZER_INTERNAL_H

#include "format/gguf.h"
#include "ternion/tokenizer.h"

// A byte-level BPE vocabulary. Borrowed during create.
typedef struct tn_bpe_vocab {
    const tn_str *tokens; // [n_tokens], in the byte-to-unicode alphabet (control and user-defined ones as plain text)
    const int32_t *kinds; // [n_tokens] tn_token_kind; NULL: all normal
    int32_t n_tokens;
    const tn_str *merges; // [n_merges] "left right", by rank; NULL: the id of the joined token is its rank (tiktoken files)
    size_t n_merges;
    const char *pre;  // "llama-bpe", "gpt-2"
    int32_t bos, eos; // TN_TOKEN_NONE: none
    bool add_bos, add_eos;
} tn_bpe_vocab;

// Returns owned.  Errors: UNSUPPORTED (unknown pre-tokenizer: the message lists those known), BAD_FILE, OUT_OF_MEMORY.
tn_status tn_tokenizer_create_bpe(const tn_bpe_vocab *vocab, tn_tokenizer **out_tokenizer);
// Reads the tokenizer.ggml.* keys. `arch`: general.architecture, to infer a missing pre-tokenizer, with a warning.
// NOT_FOUND where the file has no tokenizer; UNSUPPORTED, by name, where its kind is not read by this version.
tn_status tn_tokenizer_create_gguf(const tn_gguf *gguf, const char *arch, const tn_log *log, tn_tokenizer **out_tokenizer);
void tn_tokenizer_destroy(tn_tokenizer *tokenizer);

#endif
