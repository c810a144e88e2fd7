// Making tokenizers: from a GGUF file's keys, or from a vocabulary at hand.
#ifndef TN_MODEL_TOKENIZER_INTERNAL_H
#define TN_MODEL_TOKENIZER_INTERNAL_H

#include "format/gguf.h"
#include "ternion/tokenizer.h"

typedef enum tn_vocab_model {
    TN_VOCAB_BPE, // byte-level BPE ("gpt2")
    TN_VOCAB_SPM, // SentencePiece's BPE ("llama")
} tn_vocab_model;

// A vocabulary. Borrowed during create.
typedef struct tn_vocab {
    tn_vocab_model model;
    const tn_str *tokens; // [n_tokens]; control and user-defined ones as plain text, others in the byte-to-unicode alphabet (BPE), with
                          // U+2581 for spaces and <0x00> to <0xFF> for bytes (SPM)
    const int32_t *kinds; // [n_tokens] tn_token_kind; NULL: all normal, but for SPM's bytes and special tokens
    int32_t n_tokens;
    int32_t bos, eos, unknown; // TN_TOKEN_NONE: none; `unknown` is SPM's
    bool add_bos, add_eos;
    const tn_str *merges; // BPE: [n_merges] "left right", by rank; NULL: the id of the joined token is its rank (tiktoken files)
    size_t n_merges;
    const char *pre;                                 // BPE: "llama-bpe", "gpt-2"
    const float *scores;                             // SPM: [n_tokens]
    bool add_space_prefix, remove_extra_whitespaces; // SPM
} tn_vocab;

// Returns owned.  Errors: UNSUPPORTED (unknown pre-tokenizer: the message lists those known), BAD_FILE, OUT_OF_MEMORY.
tn_status tn_tokenizer_create(const tn_vocab *vocab, tn_tokenizer **out_tokenizer);

typedef struct tn_tokenizer_gguf_params {
    const char *arch; // general.architecture, to infer a missing pre-tokenizer, with a warning; NULL: not known
    const char *pre;  // pre-tokenizer to take in place of the file's; NULL: the file's
    const tn_log *log;
} tn_tokenizer_gguf_params;

// Reads the tokenizer.ggml.* keys. NOT_FOUND where the file has no tokenizer; UNSUPPORTED, by name, where its kind is not read by this
// version; INVALID_ARGUMENT where a pre-tokenizer is asked for that is not known, or that the kind has no use for.
tn_status tn_tokenizer_create_gguf(const tn_gguf *gguf, const tn_tokenizer_gguf_params *params, tn_tokenizer **out_tokenizer);
void tn_tokenizer_destroy(tn_tokenizer *tokenizer);

#endif
