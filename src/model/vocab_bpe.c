// Byte-level BPE vocabularies: the byte-to-unicode alphabet and the list of merges.
#include "base/alloc.h"
#include "base/log.h"
#include "model/tokenizer_vocab.h"
#include "model/unicode.h"

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

tn_status tn_pretokenizer_require(const char *name, const tn_pretokenizer **out_pre)
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

static tn_status check(const tn_vocab *vocab)
{
    const tn_pretokenizer *pre;
    if (vocab->n_merges >= UINT32_MAX) return tn_fail(TN_BAD_FILE, "%zu merges: get another copy of the model", vocab->n_merges);
    return tn_pretokenizer_require(vocab->pre, &pre);
}

static uint8_t default_kind(const tn_vocab *vocab, int32_t id)
{
    (void)vocab;
    (void)id;
    return TN_TOKEN_NORMAL;
}

// A name that is not of the alphabet stands for itself, and for no text that merging could make.
static bool make_piece(tn_str name, uint8_t kind, char *out, size_t *out_len)
{
    bool is_text = kind == TN_TOKEN_NORMAL || kind == TN_TOKEN_BYTE;
    if (is_text && decode_alphabet(name, out, out_len)) return true;
    memcpy(out, name.data ? name.data : "", name.len);
    *out_len = name.len;
    return false;
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

static tn_status fill_merges(tn_tokenizer *t, const tn_vocab *vocab, const bool *mergeable, const tn_log *log)
{
    if (vocab->merges == NULL) return tn_bpe_add_merges_by_id(&t->bpe.merges, mergeable);
    tn_status status = TN_OK;
    char *buffer = NULL;
    size_t longest = 0, n_skipped = 0, first_skipped = 0;
    for (size_t i = 0; i < vocab->n_merges; i++) longest = vocab->merges[i].len > longest ? vocab->merges[i].len : longest;
    TN_TRY(tn_alloc(longest, 1, &buffer));
    for (size_t i = 0; i < vocab->n_merges && status == TN_OK; i++) {
        bool skipped = false;
        status = add_merge_line(&t->bpe.merges, vocab->merges[i], i, buffer, &skipped);
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
    for (int b = 0; b < 256; b++) n_lost += t->bpe.merges.byte_symbols[b] >= t->n_tokens;
    if (n_lost > 0) tn_log_write(log, TN_LOG_WARN, "%d of the 256 bytes have no token: they are lost where text contains them", n_lost);
}

static tn_status finish(tn_tokenizer *t, const tn_vocab *vocab, const bool *mergeable, const tn_log *log)
{
    TN_TRY(tn_pretokenizer_require(vocab->pre, &t->bpe.pre));
    TN_TRY(tn_bpe_init(&t->bpe.merges, t->pieces, mergeable, t->n_tokens));
    TN_TRY(fill_merges(t, vocab, mergeable, log));
    warn_of_lost_bytes(t, log);
    return TN_OK;
}

static void destroy(tn_tokenizer *t) { tn_bpe_deinit(&t->bpe.merges); }

const tn_vocab_ops tn_vocab_bpe_ops = {check, default_kind, make_piece, finish, destroy};
