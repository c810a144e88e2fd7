// The insides of a tokenizer, for the files that build and run it.
#ifndef TN_MODEL_TOKENIZER_VOCAB_H
#define TN_MODEL_TOKENIZER_VOCAB_H

#include "model/bpe.h"
#include "model/pretokenizer.h"
#include "model/spm.h"
#include "model/tokenizer_internal.h"
#include "model/tokenizer_special.h"

#define TN_VOCAB_TOKENS_MAX      (1 << 24)
#define TN_VOCAB_TOKEN_BYTES_MAX 65536

struct tn_tokenizer {
    tn_str *pieces; // [n_tokens] bytes of each token in text, in `bytes`
    char *bytes;
    uint8_t *kinds; // [n_tokens] tn_token_kind
    bool *ends;     // [n_tokens] end of generation
    int32_t n_tokens;
    int32_t bos, eos;
    bool add_bos, add_eos;
    tn_special_set user_defined; // cut out of every text
    tn_special_set specials;     // those and the control tokens: cut out where the caller asks for it
    tn_vocab_model model;        // says which of the two below is there
    struct {
        const tn_pretokenizer *pre;
        tn_bpe merges;
    } bpe;
    struct {
        tn_spm merges;
        bool *unused; // [n_tokens] of that kind
    } spm;
};

// tn_tokenizer_create with what only model files know: further ids that end an answer (TN_TOKEN_NONE is skipped) and the log
// for warnings.
tn_status tn_tokenizer_build(const tn_vocab *vocab, const int32_t *end_ids, size_t n_end_ids, const tn_log *log,
                             tn_tokenizer **out_tokenizer);

// What the build does in its own way for each kind of vocabulary.
typedef struct tn_vocab_ops {
    // What the common checks leave open.  Errors: BAD_FILE, UNSUPPORTED.
    tn_status (*check)(const tn_vocab *vocab);
    // The kind of a token where the vocabulary names none.
    uint8_t (*kind)(const tn_vocab *vocab, int32_t id);
    // Writes the bytes that a token of this kind has in text, at most as many as its name; true where merging may make it.
    bool (*piece)(tn_str name, uint8_t kind, char *out, size_t *out_len);
    // Builds the tables for merging, behind all else. `mergeable`: as `piece` said.
    tn_status (*finish)(tn_tokenizer *tokenizer, const tn_vocab *vocab, const bool *mergeable, const tn_log *log);
    void (*destroy)(tn_tokenizer *tokenizer);
} tn_vocab_ops;

extern const tn_vocab_ops tn_vocab_bpe_ops, tn_vocab_spm_ops;

// UNSUPPORTED, with the known names, where there is none of this name.
tn_status tn_pretokenizer_require(const char *name, const tn_pretokenizer **out_pre);

#endif
