// A made-up byte-level BPE vocabulary of any size.
#ifndef TN_MODEL_SYNTH_VOCAB_H
#define TN_MODEL_SYNTH_VOCAB_H

#include "base/str.h"
#include "model/synth_shape.h"

// Plain data after the build; free with the deinit.
typedef struct tn_synth_vocab {
    tn_str *tokens, *merges; // into `text`
    int32_t *kinds;
    size_t n_tokens, n_merges;
    tn_text text;
    int32_t bos, eos, eot; // TN_TOKEN_NONE where there is none
    bool add_bos;
} tn_synth_vocab;

// Every byte, then all words of two letters, of three, ..., each of them the merge of a shorter word and a letter; special tokens at the
// ids that the family's real vocabulary gives them.  Errors: OUT_OF_MEMORY. Deinitialise in both cases.
tn_status tn_synth_vocab_build(const tn_synth_shape *shape, tn_synth_vocab *out_vocab);
void tn_synth_vocab_deinit(tn_synth_vocab *vocab);

#endif
