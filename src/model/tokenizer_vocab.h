// The insides of a tokenizer, for the files that build and run it.
#ifndef TN_MODEL_TOKENIZER_VOCAB_H
#define TN_MODEL_TOKENIZER_VOCAB_H

#include "model/bpe.h"
#include "model/pretokenizer.h"
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
    const tn_pretokenizer *pre;
    tn_bpe bpe;
    tn_special_set user_defined; // cut out of every text
    tn_special_set specials;     // those and the control tokens: cut out where the caller asks for it
};

// tn_tokenizer_create_bpe with what only model files know: further ids that end an answer (TN_TOKEN_NONE is skipped) and the log
// for warnings.
tn_status tn_tokenizer_build(const tn_bpe_vocab *vocab, const int32_t *end_ids, size_t n_end_ids, const tn_log *log,
                             tn_tokenizer **out_tokenizer);

#endif
