// SentencePiece vocabularies: spaces written as U+2581, bytes written as <0x00> to <0xFF>, scores.
#include "base/alloc.h"
#include "base/log.h"
#include "model/tokenizer_vocab.h"

static tn_status check(const tn_vocab *vocab)
{
    if (!vocab->scores) return tn_fail(TN_BAD_FILE, "the vocabulary has no scores: get another copy of the model");
    for (int32_t i = 0; i < vocab->n_tokens; i++) {
        tn_str name = vocab->tokens[i];
        if (vocab->scores[i] != vocab->scores[i]) {
            return tn_fail(TN_BAD_FILE, "token %d has a score that is not a number: get another copy of the model", i);
        }
        if (vocab->kinds && vocab->kinds[i] == TN_TOKEN_BYTE && tn_spm_byte_of_name(name) < 0) {
            return tn_fail(TN_BAD_FILE, "token %d stands for a byte, but is \"%.*s\", not <0x00> to <0xFF>: get another copy of the model",
                           i, TN_STR_ARGS(name));
        }
    }
    return TN_OK;
}

static uint8_t default_kind(const tn_vocab *vocab, int32_t id)
{
    if (id == vocab->unknown) return TN_TOKEN_UNKNOWN;
    if (id == vocab->bos || id == vocab->eos) return TN_TOKEN_CONTROL;
    return tn_spm_byte_of_name(vocab->tokens[id]) >= 0 ? TN_TOKEN_BYTE : TN_TOKEN_NORMAL;
}

// Copies a name with spaces for U+2581. A space of its own can never be met in text, where all are U+2581: *out_odd.
static size_t copy_name(tn_str name, char *out, bool *out_odd)
{
    size_t n = 0;
    *out_odd = false;
    for (size_t at = 0; at < name.len; at++) {
        bool is_mark = name.len - at >= 3 && memcmp(name.data + at, "\xE2\x96\x81", 3) == 0;
        *out_odd = *out_odd || name.data[at] == ' ';
        out[n++] = is_mark ? ' ' : name.data[at];
        if (is_mark) at += 2;
    }
    return n;
}

static bool make_piece(tn_str name, uint8_t kind, char *out, size_t *out_len)
{
    bool odd = false;
    if (kind == TN_TOKEN_BYTE) {
        out[0] = (char)(uint8_t)tn_spm_byte_of_name(name);
        *out_len = 1;
    } else if (kind == TN_TOKEN_CONTROL || kind == TN_TOKEN_UNKNOWN) {
        memcpy(out, name.data ? name.data : "", name.len);
        *out_len = name.len;
    } else {
        *out_len = copy_name(name, out, &odd);
    }
    return (kind == TN_TOKEN_NORMAL || kind == TN_TOKEN_UNUSED) && name.len > 0 && !odd;
}

static tn_status finish(tn_tokenizer *t, const tn_vocab *vocab, const bool *mergeable, const tn_log *log)
{
    int32_t bytes[256];
    int n_missing = 256;
    for (int b = 0; b < 256; b++) bytes[b] = -1;
    TN_TRY(tn_alloc((size_t)t->n_tokens, sizeof *t->spm.unused, &t->spm.unused));
    for (int32_t i = 0; i < t->n_tokens; i++) {
        t->spm.unused[i] = t->kinds[i] == TN_TOKEN_UNUSED;
        if (t->kinds[i] != TN_TOKEN_BYTE) continue;
        uint8_t byte = (uint8_t)t->pieces[i].data[0];
        n_missing -= bytes[byte] < 0;
        bytes[byte] = i;
    }
    if (n_missing > 0 && vocab->unknown == TN_TOKEN_NONE) {
        tn_log_write(log, TN_LOG_WARN, "%d of the 256 bytes have no token, and there is no unknown token: what they stand for is lost",
                     n_missing);
    }
    const tn_spm_params params = {.pieces = t->pieces,
                                  .scores = vocab->scores,
                                  .mergeable = mergeable,
                                  .unused = t->spm.unused,
                                  .bytes = bytes,
                                  .n_tokens = t->n_tokens,
                                  .unknown = vocab->unknown,
                                  .add_prefix = vocab->add_space_prefix,
                                  .trim = vocab->remove_extra_whitespaces};
    return tn_spm_init(&t->spm.merges, &params);
}

static void destroy(tn_tokenizer *t)
{
    tn_spm_deinit(&t->spm.merges);
    tn_free(t->spm.unused);
}

const tn_vocab_ops tn_vocab_spm_ops = {check, default_kind, make_piece, finish, destroy};
