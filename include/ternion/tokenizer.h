// Text to tokens and back.
#ifndef TERNION_TOKENIZER_H
#define TERNION_TOKENIZER_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

// The tokenizer of a model: byte-level BPE ("gpt2" in GGUF), or SentencePiece's BPE with byte fallback ("llama"). Immutable; any thread.
//
// SentencePiece puts a space in front of every text, and of the text behind each special token, where the model says so. It reads U+2581
// as a space, so that this one character comes back as a space; all other bytes come back as they were, also those that are not UTF-8,
// unless the vocabulary has no tokens for bytes (then the unknown token stands for what it lacks).
typedef struct tn_tokenizer tn_tokenizer;

enum {
    TN_ENCODE_ADD_SPECIAL = 1,   // BOS and EOS as the model says
    TN_ENCODE_PARSE_SPECIAL = 2, // control tokens written out in the text become their ids; never for users' text
    TN_ENCODE_NO_SPECIAL = 4,    // nor do user-defined tokens, which are cut out of every text else; not with the flag above
};

typedef enum tn_token_kind {
    TN_TOKEN_NORMAL = 1,
    TN_TOKEN_UNKNOWN = 2,
    TN_TOKEN_CONTROL = 3,
    TN_TOKEN_USER_DEFINED = 4,
    TN_TOKEN_UNUSED = 5,
    TN_TOKEN_BYTE = 6,
} tn_token_kind;

#define TN_TOKEN_NONE (-1)

// Encodes `text` (UTF-8, any bytes; `text_len` bytes). Writes at most `capacity` ids and always the full count, so that a
// call with capacity 0 asks for the size.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (more than 2^31 tokens).
TN_NODISCARD TN_API tn_status tn_tokenizer_encode(const tn_tokenizer *tokenizer, const char *text, size_t text_len, unsigned flags,
                                                  int32_t *tokens, size_t capacity, size_t *out_n);
// The bytes of one token as they appear within a text, with the space that a SentencePiece token may begin with: what to add when a text
// is continued (a control token: its written form when `special`, else nothing).
// Writes at most `capacity` bytes, no terminator, and the full length.  Errors: INVALID_ARGUMENT (no such id).
TN_NODISCARD TN_API tn_status tn_tokenizer_decode_token(const tn_tokenizer *tokenizer, int32_t token, bool special, char *bytes,
                                                        size_t capacity, size_t *out_len);
// The bytes of a whole text from its tokens, without the spaces that encoding put in front of it and behind its special tokens: what
// tn_tokenizer_encode was given. Writes at most `capacity` bytes, no terminator, and the full length.  Errors: INVALID_ARGUMENT (no such
// id).
TN_NODISCARD TN_API tn_status tn_tokenizer_decode(const tn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens, bool special,
                                                  char *bytes, size_t capacity, size_t *out_len);
TN_API int32_t tn_tokenizer_n_vocab(const tn_tokenizer *tokenizer);
TN_API tn_token_kind tn_tokenizer_kind(const tn_tokenizer *tokenizer, int32_t token);
TN_API int32_t tn_tokenizer_bos(const tn_tokenizer *tokenizer); // TN_TOKEN_NONE where there is none
TN_API int32_t tn_tokenizer_eos(const tn_tokenizer *tokenizer);
TN_API bool tn_tokenizer_adds_bos(const tn_tokenizer *tokenizer);
// Whether `token` ends an answer (EOS, EOT, EOM and their relatives).
TN_API bool tn_tokenizer_is_eog(const tn_tokenizer *tokenizer, int32_t token);
// Name of the pre-tokenizer in use, "llama-bpe" for example; "spm" where the tokenizer is SentencePiece, which has none.
TN_API const char *tn_tokenizer_pre(const tn_tokenizer *tokenizer);

// Turns generated tokens into text that may be shown: never half a UTF-8 character, never a part of a stop string. The text continues
// the prompt, so a first SentencePiece token keeps its space.
typedef struct tn_text_stream tn_text_stream;

typedef struct tn_text_stream_params {
    uint32_t struct_size;
    const char *const *stops; // texts that end the answer and are not part of it
    size_t n_stops;
    bool special; // control tokens are written out
} tn_text_stream_params;
#define TN_TEXT_STREAM_PARAMS_INIT TN_PARAMS_INIT(tn_text_stream_params)

// Borrows `tokenizer` until destroyed.  `params` NULL: defaults.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (an empty stop string).
TN_NODISCARD TN_API tn_status tn_text_stream_create(const tn_tokenizer *tokenizer, const tn_text_stream_params *params,
                                                    tn_text_stream **out_stream);
TN_API void tn_text_stream_destroy(tn_text_stream *stream);
// Adds a token. `*out_text` (valid until the next call, `*out_len` bytes) may be shown now. `*out_stopped`: a stop string is complete.
TN_NODISCARD TN_API tn_status tn_text_stream_push(tn_text_stream *stream, int32_t token, const char **out_text, size_t *out_len,
                                                  bool *out_stopped);
// What was held back, at the end of the answer; bytes that form no character come as U+FFFD.
TN_NODISCARD TN_API tn_status tn_text_stream_finish(tn_text_stream *stream, const char **out_text, size_t *out_len);

#ifdef __cplusplus
}
#endif
#endif
