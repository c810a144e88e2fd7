// What a built vocabulary tells: the bytes of tokens, texts from tokens, special ids.
#include "model/tokenizer_vocab.h"

static bool has_token(const tn_tokenizer *tokenizer, int32_t token) { return token >= 0 && token < tokenizer->n_tokens; }

static tn_status check_token(const tn_tokenizer *tokenizer, int32_t token)
{
    if (has_token(tokenizer, token)) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "token %d of a vocabulary of %d: give one of 0 to %d", token, tokenizer->n_tokens,
                   tokenizer->n_tokens - 1);
}

// What a token shows in text: nothing for a control token, unless its written form is wanted.
static tn_str shown_piece(const tn_tokenizer *tokenizer, int32_t token, bool special)
{
    uint8_t kind = tokenizer->kinds[token];
    bool shown = special || kind == TN_TOKEN_NORMAL || kind == TN_TOKEN_BYTE || kind == TN_TOKEN_USER_DEFINED;
    return shown ? tokenizer->pieces[token] : (tn_str){"", 0};
}

tn_status tn_tokenizer_decode_token(const tn_tokenizer *tokenizer, int32_t token, bool special, char *bytes, size_t capacity,
                                    size_t *out_len)
{
    TN_REQUIRE(out_len);
    *out_len = 0;
    TN_REQUIRE(tokenizer);
    if (capacity) TN_REQUIRE(bytes);
    TN_TRY(check_token(tokenizer, token));
    tn_str piece = shown_piece(tokenizer, token, special);
    size_t n = piece.len < capacity ? piece.len : capacity;
    if (n > 0) memcpy(bytes, piece.data, n);
    *out_len = piece.len;
    return TN_OK;
}

tn_status tn_tokenizer_decode(const tn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens, bool special, char *bytes,
                              size_t capacity, size_t *out_len)
{
    TN_REQUIRE(out_len);
    *out_len = 0;
    TN_REQUIRE(tokenizer);
    if (n_tokens) TN_REQUIRE(tokens);
    if (capacity) TN_REQUIRE(bytes);
    bool has_prefix = tokenizer->model == TN_VOCAB_SPM && tokenizer->spm.merges.add_prefix, at_begin = true;
    size_t len = 0;
    for (size_t i = 0; i < n_tokens; i++) {
        TN_TRY(check_token(tokenizer, tokens[i]));
        uint8_t kind = tokenizer->kinds[tokens[i]];
        bool begins_anew = kind == TN_TOKEN_CONTROL || kind == TN_TOKEN_USER_DEFINED; // encoding cut the text here
        tn_str piece = shown_piece(tokenizer, tokens[i], special);
        if (has_prefix && at_begin && !begins_anew && piece.len > 0 && piece.data[0] == ' ')
            piece = (tn_str){piece.data + 1, piece.len - 1};
        at_begin = begins_anew;
        if (len < capacity) memcpy(bytes + len, piece.data, piece.len < capacity - len ? piece.len : capacity - len);
        len += piece.len; // at most 2^16 each, for tokens that take memory themselves: no overflow
    }
    *out_len = len;
    return TN_OK;
}

int32_t tn_tokenizer_n_vocab(const tn_tokenizer *tokenizer) { return tokenizer->n_tokens; }

tn_token_kind tn_tokenizer_kind(const tn_tokenizer *tokenizer, int32_t token)
{
    return has_token(tokenizer, token) ? (tn_token_kind)tokenizer->kinds[token] : TN_TOKEN_UNUSED;
}

int32_t tn_tokenizer_bos(const tn_tokenizer *tokenizer) { return tokenizer->bos; }
int32_t tn_tokenizer_eos(const tn_tokenizer *tokenizer) { return tokenizer->eos; }
bool tn_tokenizer_adds_bos(const tn_tokenizer *tokenizer) { return tokenizer->add_bos; }
bool tn_tokenizer_is_eog(const tn_tokenizer *tokenizer, int32_t token) { return has_token(tokenizer, token) && tokenizer->ends[token]; }

const char *tn_tokenizer_pre(const tn_tokenizer *tokenizer) { return tokenizer->model == TN_VOCAB_SPM ? "spm" : tokenizer->bpe.pre->name; }
