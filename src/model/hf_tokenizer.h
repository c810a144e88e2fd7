// The tokenizer files of a Hugging Face checkpoint as the vocabulary that a GGUF file stores.
#ifndef TN_MODEL_HF_TOKENIZER_H
#define TN_MODEL_HF_TOKENIZER_H

#include "base/str.h"
#include "model/hf_config.h"

// Plain data once read; owned by the caller until deinit.
typedef struct tn_hf_tokenizer {
    const char *model; // tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece)
    const char *pre;   // tokenizer.ggml.pre: "llama-bpe", "gpt-2", "qwen2", "falcon", "falcon3", "falcon_e"; "default" for SentencePiece
    tn_str *tokens;    // [n_tokens]: config.json's vocab_size; ids that no token has are named [PAD<id>]
    int32_t *kinds;    // [n_tokens] tn_token_kind
    size_t n_tokens;
    tn_str *merges; // [n_merges] "left right"
    size_t n_merges;
    float *scores;              // [n_tokens] SentencePiece; NULL: BPE
    int32_t bos, eos, unk, pad; // TN_HF_ID_NONE: none
    bool add_bos, add_eos;
    bool add_space_prefix; // SentencePiece
    char *chat_template;   // NULL: none
    // private: what the texts above live in
    void *documents[2];
    char *arena;
    uint8_t *model_bytes;
    bool has_pad_names; // a token of tokenizer.model is named like padding
} tn_hf_tokenizer;

// Reads tokenizer.json or, for SentencePiece, tokenizer.model (which goes first where both are there), and tokenizer_config.json and
// chat_template.jinja where they exist.  Errors: NOT_FOUND, IO, BAD_FILE, UNSUPPORTED (another kind of tokenizer, an unknown pre-tokenizer:
// the message shows it), OUT_OF_MEMORY.
tn_status tn_hf_tokenizer_read(const char *dir, const tn_hf_config *config, const tn_log *log, tn_hf_tokenizer *out);
void tn_hf_tokenizer_deinit(tn_hf_tokenizer *tokenizer);

#endif
