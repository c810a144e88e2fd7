// Text to tokens, for both kinds of vocabularies: special tokens are cut out, the text between falls into words, each word is merged.
#include "base/alloc.h"
#include "base/checked.h"
#include "model/tokenizer_vocab.h"

// Words that came before, with their tokens. The cache belongs to one call, so that the tokenizer stays immutable; a word that falls
// into a slot in use replaces what was there. Short words only, whose bytes fit into the slot: looking them up in the text, far behind,
// would take longer than merging.
enum { CACHED_BYTES_MAX = 22, CACHED_IDS_MAX = 8, CACHE_LINE = 64 };
typedef struct cached_word {
    uint64_t hash;
    uint8_t len, n_ids; // len 0: free
    uint8_t bytes[CACHED_BYTES_MAX];
    int32_t ids[CACHED_IDS_MAX];
} cached_word;
_Static_assert(sizeof(cached_word) == CACHE_LINE, "one slot is one line of the processor's cache");

// Text shorter than this has too few words that come again; and no cache is larger than a core's own memory.
enum { CACHE_TEXT_MIN = 1024, CACHE_WORDS_MIN = 64, CACHE_WORDS_MAX = 8192 };

typedef struct encoder {
    const tn_tokenizer *tokenizer;
    int32_t *tokens;
    size_t capacity, n;
    tn_bpe_scratch bpe;
    tn_spm_scratch spm;
    tn_id_list word; // tokens of the word at hand
    cached_word *cache;
    size_t n_cached;
    uint8_t *normal; // SPM: the text at hand as merging reads it
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
    TN_TRY(tn_alloc_aligned(n * sizeof *e->cache, CACHE_LINE, &e->cache)); // at most CACHE_WORDS_MAX
    e->n_cached = n;
    return TN_OK;
}

static tn_status merge_word(encoder *e, const uint8_t *bytes, size_t len)
{
    const tn_tokenizer *t = e->tokenizer;
    e->word.n = 0;
    return t->model == TN_VOCAB_SPM ? tn_spm_encode_word(&t->spm.merges, &e->spm, bytes, len, &e->word)
                                    : tn_bpe_encode_word(&t->bpe.merges, &e->bpe, bytes, len, &e->word);
}

static tn_status encode_word(encoder *e, const uint8_t *bytes, size_t len)
{
    const tn_tokenizer *t = e->tokenizer;
    uint64_t hash = tn_piece_hash(bytes, len);
    if (t->model == TN_VOCAB_BPE && t->bpe.pre->ignore_merges) {
        int32_t id = tn_piece_find(&t->bpe.merges.table, bytes, len, hash);
        if (id >= 0) return emit(e, &id, 1);
    }
    cached_word *slot = len <= CACHED_BYTES_MAX && e->n_cached ? &e->cache[hash & (e->n_cached - 1)] : NULL;
    if (slot && slot->hash == hash && slot->len == len && memcmp(slot->bytes, bytes, len) == 0) return emit(e, slot->ids, slot->n_ids);
    TN_TRY(merge_word(e, bytes, len));
    if (slot && e->word.n <= CACHED_IDS_MAX) {
        slot->hash = hash;
        slot->len = (uint8_t)len;
        slot->n_ids = (uint8_t)e->word.n;
        memcpy(slot->bytes, bytes, len);
        for (size_t i = 0; i < e->word.n; i++) slot->ids[i] = e->word.ids[i];
    }
    return emit(e, e->word.ids, e->word.n);
}

static tn_status encode_plain_bpe(encoder *e, const uint8_t *text, size_t len)
{
    tn_pre_cursor cursor;
    const uint8_t *word;
    size_t word_len;
    tn_pre_start(&cursor, e->tokenizer->bpe.pre, text, len);
    while (tn_pre_next(&cursor, &word, &word_len)) TN_TRY(encode_word(e, word, word_len));
    return TN_OK;
}

static tn_status encode_plain_spm(encoder *e, const uint8_t *text, size_t len)
{
    const tn_spm *spm = &e->tokenizer->spm.merges;
    size_t n = tn_spm_normalize(spm, text, len, e->normal), word_len;
    for (size_t at = 0; at < n; at += word_len) {
        word_len = tn_spm_word_len(spm, e->normal + at, n - at);
        TN_TRY(encode_word(e, e->normal + at, word_len));
    }
    return TN_OK;
}

// Encodes text that is first or stands between special tokens; each such text begins anew, with a space in front where SPM wants one.
static tn_status encode_plain(encoder *e, const uint8_t *text, size_t len)
{
    if (len == 0) return TN_OK;
    return e->tokenizer->model == TN_VOCAB_SPM ? encode_plain_spm(e, text, len) : encode_plain_bpe(e, text, len);
}

// Room for the normalized form of any part of the text, which may grow by its prefix.
static tn_status start_normal(encoder *e, size_t text_len)
{
    uint64_t bytes;
    if (e->tokenizer->model != TN_VOCAB_SPM) return TN_OK;
    if (!tn_ckd_add(text_len, 1, &bytes)) bytes = UINT64_MAX;
    return tn_alloc((size_t)bytes, 1, &e->normal);
}

static tn_status encode_text(encoder *e, const uint8_t *text, size_t len, unsigned flags)
{
    const tn_tokenizer *t = e->tokenizer;
    tn_special_matches matches = {0};
    tn_status status = TN_OK;
    if (!(flags & TN_ENCODE_NO_SPECIAL))
        status = tn_special_find(flags & TN_ENCODE_PARSE_SPECIAL ? &t->specials : &t->user_defined, text, len, &matches);
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
    if (flags & ~(unsigned)(TN_ENCODE_ADD_SPECIAL | TN_ENCODE_PARSE_SPECIAL | TN_ENCODE_NO_SPECIAL)) {
        return tn_fail(TN_INVALID_ARGUMENT, "flags 0x%x for encoding are not all known: correct the call", flags);
    }
    if ((flags & TN_ENCODE_PARSE_SPECIAL) && (flags & TN_ENCODE_NO_SPECIAL)) {
        return tn_fail(TN_INVALID_ARGUMENT, "encoding cannot both parse special tokens and not: correct the flags");
    }
    bool add_special = flags & TN_ENCODE_ADD_SPECIAL;
    TN_TRY_GOTO(start_cache(&e, text_len));
    TN_TRY_GOTO(start_normal(&e, text_len));
    if (add_special && tokenizer->add_bos) TN_TRY_GOTO(emit(&e, &tokenizer->bos, 1));
    TN_TRY_GOTO(encode_text(&e, bytes, text_len, flags));
    if (add_special && tokenizer->add_eos) TN_TRY_GOTO(emit(&e, &tokenizer->eos, 1));
    *out_n = e.n;
fail:
    tn_bpe_scratch_deinit(&e.bpe);
    tn_spm_scratch_deinit(&e.spm);
    tn_free(e.word.ids);
    tn_free(e.cache);
    tn_free(e.normal);
    return status;
}
