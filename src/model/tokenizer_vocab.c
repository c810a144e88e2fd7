// Building a tokenizer of a byte-level BPE vocabulary.
#include "model/tokenizer_vocab.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/log.h"
#include "model/unicode.h"

// Token texts that end an answer in the models of today, whatever their files' special ids say.
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "</s>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<end_of_utterance>",
    "<turn|>",
    "<|tool_response>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
};

static bool is_end_text(tn_str text)
{
    for (size_t i = 0; i < sizeof end_texts / sizeof end_texts[0]; i++) {
        if (tn_str_is(text, end_texts[i])) return true;
    }
    return false;
}

// The byte that a character of the byte-to-unicode alphabet stands for, or -1. The printable bytes stand for themselves; the 68
// others, in order, are U+0100 and on.
static int byte_of_char(uint32_t c)
{
    if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF)) return (int)c;
    if (c < 0x100 || c > 0x143) return -1;
    uint32_t nth = c - 0x100;
    if (nth <= 0x20) return (int)nth;
    return nth <= 0x42 ? (int)(0x7F + nth - 0x21) : 0xAD;
}

// Turns text of the byte-to-unicode alphabet into bytes (never more than it has). False where it is not of that alphabet.
static bool decode_alphabet(tn_str text, char *out, size_t *out_len)
{
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t c;
        at += tn_utf8_decode((const uint8_t *)text.data + at, text.len - at, &c);
        int byte = byte_of_char(c);
        if (byte < 0) return false;
        out[n++] = (char)(uint8_t)byte;
    }
    *out_len = n;
    return true;
}

static bool is_text_kind(uint8_t kind) { return kind == TN_TOKEN_NORMAL || kind == TN_TOKEN_BYTE; }

// Whether a token of this kind is found in text only where the caller asks for special tokens.
static bool is_special_kind(uint8_t kind) { return kind == TN_TOKEN_CONTROL || kind == TN_TOKEN_UNKNOWN; }

static tn_status check_vocab(const tn_bpe_vocab *vocab, uint64_t *out_bytes)
{
    uint64_t bytes = 0;
    if (vocab->n_tokens < 1 || vocab->n_tokens > TN_VOCAB_TOKENS_MAX) {
        return tn_fail(TN_BAD_FILE, "a vocabulary of %d tokens; ternion reads 1 to %d: get another copy of the model", vocab->n_tokens,
                       TN_VOCAB_TOKENS_MAX);
    }
    for (int32_t i = 0; i < vocab->n_tokens; i++) {
        if (vocab->tokens[i].len > TN_VOCAB_TOKEN_BYTES_MAX) {
            return tn_fail(TN_BAD_FILE, "token %d has %zu bytes; the limit is %d: get another copy of the model", i, vocab->tokens[i].len,
                           TN_VOCAB_TOKEN_BYTES_MAX);
        }
        if (vocab->kinds && (vocab->kinds[i] < TN_TOKEN_NORMAL || vocab->kinds[i] > TN_TOKEN_BYTE)) {
            return tn_fail(TN_BAD_FILE, "token %d has type %d; types are 1 to 6: get another copy of the model", i, vocab->kinds[i]);
        }
        bytes += vocab->tokens[i].len; // below 2^24 * 2^16
    }
    if (vocab->n_merges >= UINT32_MAX) return tn_fail(TN_BAD_FILE, "%zu merges: get another copy of the model", vocab->n_merges);
    *out_bytes = bytes;
    return TN_OK;
}

static tn_status check_special_id(const char *name, int32_t id, int32_t n_tokens)
{
    if (id == TN_TOKEN_NONE || (id >= 0 && id < n_tokens)) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "%s is token %d of a vocabulary of %d: give one of them, or none", name, id, n_tokens);
}

static tn_status find_pre(const char *name, const tn_pretokenizer **out_pre)
{
    *out_pre = tn_pretokenizer_find(name, strlen(name));
    if (*out_pre) return TN_OK;
    tn_text known = {0};
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && tn_pretokenizer_at(i); i++) {
        status = tn_text_printf(&known, "%s%s", i ? ", " : "", tn_pretokenizer_at(i)->name);
    }
    if (status == TN_OK) {
        status = tn_fail(TN_UNSUPPORTED, "pre-tokenizer \"%.100s\" is not known to this version, which has: %s", name, known.data);
    }
    tn_text_deinit(&known);
    return status;
}

// Copies the tokens' bytes and settles their kinds. `usable[i]`: token i may come out of merging.
static void fill_pieces(tn_tokenizer *t, const tn_bpe_vocab *vocab, bool *usable, const tn_log *log)
{
    char *at = t->bytes;
    for (int32_t i = 0; i < t->n_tokens; i++) {
        tn_str text = vocab->tokens[i];
        size_t len = text.len;
        t->kinds[i] = vocab->kinds ? (uint8_t)vocab->kinds[i] : TN_TOKEN_NORMAL;
        t->ends[i] = is_end_text(text);
        if (t->ends[i] && t->kinds[i] != TN_TOKEN_CONTROL) {
            // Else a user's text could end the answer, and the answer's end would be shown.
            tn_log_write(log, TN_LOG_WARN, "token %d is %.*s but not marked as a control token; it is taken for one", i, TN_STR_ARGS(text));
            t->kinds[i] = TN_TOKEN_CONTROL;
        }
        usable[i] = is_text_kind(t->kinds[i]) && decode_alphabet(text, at, &len);
        if (!usable[i]) memcpy(at, text.data ? text.data : "", len = text.len);
        t->pieces[i] = (tn_str){at, len};
        at += len;
    }
}

static tn_status fill_specials(tn_tokenizer *t, bool *wanted)
{
    for (int32_t i = 0; i < t->n_tokens; i++) wanted[i] = t->kinds[i] == TN_TOKEN_USER_DEFINED;
    TN_TRY(tn_special_init(&t->user_defined, t->pieces, wanted, t->n_tokens));
    for (int32_t i = 0; i < t->n_tokens; i++) wanted[i] = wanted[i] || is_special_kind(t->kinds[i]);
    return tn_special_init(&t->specials, t->pieces, wanted, t->n_tokens);
}

// Adds one line of the list of merges; `buffer` has room for its bytes. Sets *out_skipped where it can make no token.
static tn_status add_merge_line(tn_bpe *bpe, tn_str line, size_t rank, char *buffer, bool *out_skipped)
{
    const char *space = line.len > 1 ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
    if (!space) {
        return tn_fail(TN_BAD_FILE, "merge %zu is \"%.*s\", not two parts with a space between: get another copy of the model", rank,
                       TN_STR_ARGS(line));
    }
    tn_str left = {line.data, (size_t)(space - line.data)}, right = {space + 1, line.len - left.len - 1};
    size_t n_left, n_right;
    *out_skipped = true;
    if (right.len == 0 || !decode_alphabet(left, buffer, &n_left) || !decode_alphabet(right, buffer + n_left, &n_right)) return TN_OK;
    const uint8_t *bytes = (const uint8_t *)buffer;
    int32_t a = tn_bpe_find_symbol(bpe, bytes, n_left), b = tn_bpe_find_symbol(bpe, bytes + n_left, n_right);
    int32_t joined = tn_bpe_find_symbol(bpe, bytes, n_left + n_right);
    if (a < 0 || b < 0 || joined < 0) return TN_OK;
    *out_skipped = false;
    return tn_bpe_add_merge(bpe, a, b, (uint32_t)rank, joined);
}

static tn_status fill_merges(tn_tokenizer *t, const tn_bpe_vocab *vocab, const bool *usable, const tn_log *log)
{
    if (vocab->merges == NULL) return tn_bpe_add_merges_by_id(&t->bpe, usable);
    tn_status status = TN_OK;
    char *buffer = NULL;
    size_t longest = 0, n_skipped = 0, first_skipped = 0;
    for (size_t i = 0; i < vocab->n_merges; i++) longest = vocab->merges[i].len > longest ? vocab->merges[i].len : longest;
    TN_TRY(tn_alloc(longest, 1, &buffer));
    for (size_t i = 0; i < vocab->n_merges && status == TN_OK; i++) {
        bool skipped = false;
        status = add_merge_line(&t->bpe, vocab->merges[i], i, buffer, &skipped);
        if (skipped && n_skipped++ == 0) first_skipped = i;
    }
    tn_free(buffer);
    if (status == TN_OK && n_skipped > 0) {
        // No trainer writes such a merge: they come from vocabularies that were cut down afterwards. Following one would leave
        // text in pieces that have no id, so the two parts stay as they are.
        tn_log_write(log, TN_LOG_WARN, "%zu merges of tokens that are not in the vocabulary are left out, the first is number %zu",
                     n_skipped, first_skipped);
    }
    return status;
}

static void warn_of_lost_bytes(const tn_tokenizer *t, const tn_log *log)
{
    int n_lost = 0;
    for (int b = 0; b < 256; b++) n_lost += t->bpe.byte_symbols[b] >= t->n_tokens;
    if (n_lost > 0) tn_log_write(log, TN_LOG_WARN, "%d of the 256 bytes have no token: they are lost where text contains them", n_lost);
}

static void mark_ends(tn_tokenizer *t, const int32_t *end_ids, size_t n_end_ids)
{
    if (t->eos != TN_TOKEN_NONE) t->ends[t->eos] = true;
    for (size_t i = 0; i < n_end_ids; i++) {
        if (end_ids[i] != TN_TOKEN_NONE) t->ends[end_ids[i]] = true;
    }
}

tn_status tn_tokenizer_build(const tn_bpe_vocab *vocab, const int32_t *end_ids, size_t n_end_ids, const tn_log *log,
                             tn_tokenizer **out_tokenizer)
{
    tn_status status;
    tn_tokenizer *t = NULL;
    bool *flags = NULL;
    uint64_t n_bytes = 0;
    *out_tokenizer = NULL;
    TN_TRY(check_vocab(vocab, &n_bytes));
    TN_TRY(check_special_id("BOS", vocab->bos, vocab->n_tokens));
    TN_TRY(check_special_id("EOS", vocab->eos, vocab->n_tokens));
    for (size_t i = 0; i < n_end_ids; i++) TN_TRY(check_special_id("a token that ends an answer", end_ids[i], vocab->n_tokens));
    size_t n = (size_t)vocab->n_tokens;
    TN_TRY_GOTO(tn_alloc_zero(1, sizeof *t, &t));
    TN_TRY_GOTO(find_pre(vocab->pre, &t->pre));
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->pieces, &t->pieces));
    TN_TRY_GOTO(tn_alloc((size_t)n_bytes, 1, &t->bytes));
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->kinds, &t->kinds));
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->ends, &t->ends));
    TN_TRY_GOTO(tn_alloc(n, sizeof *flags, &flags));
    t->n_tokens = vocab->n_tokens;
    t->bos = vocab->bos;
    t->eos = vocab->eos;
    t->add_bos = vocab->add_bos && vocab->bos != TN_TOKEN_NONE;
    t->add_eos = vocab->add_eos && vocab->eos != TN_TOKEN_NONE;
    fill_pieces(t, vocab, flags, log);
    mark_ends(t, end_ids, n_end_ids);
    TN_TRY_GOTO(tn_bpe_init(&t->bpe, t->pieces, flags, t->n_tokens));
    TN_TRY_GOTO(fill_merges(t, vocab, flags, log));
    TN_TRY_GOTO(fill_specials(t, flags));
    warn_of_lost_bytes(t, log);
    tn_free(flags);
    *out_tokenizer = t;
    return TN_OK;
fail:
    tn_free(flags);
    tn_tokenizer_destroy(t);
    return status;
}

tn_status tn_tokenizer_create_bpe(const tn_bpe_vocab *vocab, tn_tokenizer **out_tokenizer)
{
    return tn_tokenizer_build(vocab, NULL, 0, NULL, out_tokenizer);
}

void tn_tokenizer_destroy(tn_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    tn_bpe_deinit(&tokenizer->bpe);
    tn_special_deinit(&tokenizer->user_defined);
    tn_special_deinit(&tokenizer->specials);
    tn_free(tokenizer->pieces);
    tn_free(tokenizer->bytes);
    tn_free(tokenizer->kinds);
    tn_free(tokenizer->ends);
    tn_free(tokenizer);
}
