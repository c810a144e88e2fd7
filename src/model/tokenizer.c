// Text to tokens and back: the public functions over a built vocabulary.
#include "base/alloc.h"
#include "model/tokenizer_vocab.h"

// Words that came before, with their tokens. It belongs to one call, so that the tokenizer stays immutable; a word that falls
// into a slot in use replaces what was there.
#define CACHED_IDS_MAX 10
typedef struct cached_word {
    const uint8_t *bytes; // in the text; NULL: free
    uint64_t hash;
    uint32_t len, n_ids;
    int32_t ids[CACHED_IDS_MAX];
} cached_word;

// Text shorter than this has too few words that come again; and no cache is larger than a core's own memory.
enum { CACHE_TEXT_MIN = 1024, CACHE_WORDS_MIN = 64, CACHE_WORDS_MAX = 4096 };

typedef struct encoder {
    const tn_tokenizer *tokenizer;
    int32_t *tokens;
    size_t capacity, n;
    tn_bpe_scratch scratch;
    tn_id_list word; // tokens of the word at hand
    cached_word *cache;
    size_t n_cached;
} encoder;

static tn_status emit(encoder *e, const int32_t *ids, size_t n)
{
    if (n > INT32_MAX - e->n) return tn_fail(TN_INVALID_ARGUMENT, "the text has more than %d tokens: encode it in parts", INT32_MAX);
    for (size_t i = 0; i < n && e->n + i < e->capacity; i++) e->tokens[e->n + i] = ids[i];
    e->n += n;
    return TN_OK;
}

static tn_status start_cache(encoder *e, size_t text_len)
{
    if (text_len < CACHE_TEXT_MIN) return TN_OK;
    size_t n = CACHE_WORDS_MIN;
    while (n < CACHE_WORDS_MAX && n < text_len / 16) n *= 2;
    TN_TRY(tn_alloc_zero(n, sizeof *e->cache, &e->cache));
    e->n_cached = n;
    return TN_OK;
}

static tn_status encode_word(encoder *e, const uint8_t *bytes, size_t len)
{
    const tn_tokenizer *t = e->tokenizer;
    uint64_t hash = tn_bpe_hash(bytes, len);
    if (t->pre->ignore_merges) {
        int32_t id = tn_bpe_find_token(&t->bpe, bytes, len, hash);
        if (id >= 0) return emit(e, &id, 1);
    }
    cached_word *slot = e->n_cached ? &e->cache[hash & (e->n_cached - 1)] : NULL;
    if (slot && slot->bytes && slot->hash == hash && slot->len == len && memcmp(slot->bytes, bytes, len) == 0) {
        return emit(e, slot->ids, slot->n_ids);
    }
    e->word.n = 0;
    TN_TRY(tn_bpe_encode_word(&t->bpe, &e->scratch, bytes, len, &e->word));
    if (slot && e->word.n <= CACHED_IDS_MAX && len <= UINT32_MAX) {
        *slot = (cached_word){bytes, hash, (uint32_t)len, (uint32_t)e->word.n, {0}};
        for (size_t i = 0; i < e->word.n; i++) slot->ids[i] = e->word.ids[i];
    }
    return emit(e, e->word.ids, e->word.n);
}

// Encodes text between special tokens.
static tn_status encode_plain(encoder *e, const uint8_t *text, size_t len)
{
    tn_pre_cursor cursor;
    const uint8_t *word;
    size_t word_len;
    tn_pre_start(&cursor, e->tokenizer->pre, text, len);
    while (tn_pre_next(&cursor, &word, &word_len)) TN_TRY(encode_word(e, word, word_len));
    return TN_OK;
}

static tn_status encode_text(encoder *e, const uint8_t *text, size_t len, bool parse_special)
{
    const tn_tokenizer *t = e->tokenizer;
    tn_special_matches matches = {0};
    tn_status status = tn_special_find(parse_special ? &t->specials : &t->user_defined, text, len, &matches);
    size_t at = 0;
    for (size_t i = matches.n; i-- > 0 && status == TN_OK;) {
        status = encode_plain(e, text + at, matches.items[i].at - at);
        if (status == TN_OK) status = emit(e, &matches.items[i].id, 1);
        at = matches.items[i].at + matches.items[i].len;
    }
    if (status == TN_OK) status = encode_plain(e, text + at, len - at);
    tn_free(matches.items);
    return status;
}

tn_status tn_tokenizer_encode(const tn_tokenizer *tokenizer, const char *text, size_t text_len, unsigned flags, int32_t *tokens,
                              size_t capacity, size_t *out_n)
{
    TN_REQUIRE(out_n);
    *out_n = 0;
    TN_REQUIRE(tokenizer);
    const uint8_t *bytes = (const uint8_t *)(text ? text : "");
    encoder e = {.tokenizer = tokenizer, .tokens = tokens, .capacity = capacity};
    tn_status status;
    if ((!text && text_len > 0) || (!tokens && capacity > 0)) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s is NULL but not empty: correct the call", text ? "the room for tokens" : "the text");
    }
    if (flags & ~(unsigned)(TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL)) {
        return tn_fail(TN_INVALID_ARGUMENT, "flags 0x%x for encoding are not all known: correct the call", flags);
    }
    bool add_special = flags & TN_ENCODE_ADD_SPECIAL;
    TN_TRY_GOTO(start_cache(&e, text_len));
    if (add_special && tokenizer->add_bos) TN_TRY_GOTO(emit(&e, &tokenizer->bos, 1));
    TN_TRY_GOTO(encode_text(&e, bytes, text_len, flags & TN_ENCODE_PARSE_SPECIAL));
    if (add_special && tokenizer->add_eos) TN_TRY_GOTO(emit(&e, &tokenizer->eos, 1));
    *out_n = e.n;
fail:
    tn_bpe_scratch_deinit(&e.scratch);
    tn_free(e.word.ids);
    tn_free(e.cache);
    return status;
}

static bool has_token(const tn_tokenizer *tokenizer, int32_t token) { return token >= 0 && token < tokenizer->n_tokens; }

tn_status tn_tokenizer_decode_token(const tn_tokenizer *tokenizer, int32_t token, bool special, char *bytes, size_t capacity,
                                    size_t *out_len)
{
    TN_REQUIRE(out_len);
    *out_len = 0;
    TN_REQUIRE(tokenizer);
    if (capacity) TN_REQUIRE(bytes);
    if (!has_token(tokenizer, token)) {
        return tn_fail(TN_INVALID_ARGUMENT, "token %d of a vocabulary of %d: give one of 0 to %d", token, tokenizer->n_tokens,
                       tokenizer->n_tokens - 1);
    }
    uint8_t kind = tokenizer->kinds[token];
    bool shown = special || kind == TN_TOKEN_NORMAL || kind == TN_TOKEN_BYTE || kind == TN_TOKEN_USER_DEFINED;
    if (!shown) return TN_OK;
    tn_str piece = tokenizer->pieces[token];
    size_t n = piece.len < capacity ? piece.len : capacity;
    if (n > 0) memcpy(bytes, piece.data, n);
    *out_len = piece.len;
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
const char *tn_tokenizer_pre(const tn_tokenizer *tokenizer) { return tokenizer->pre->name; }
