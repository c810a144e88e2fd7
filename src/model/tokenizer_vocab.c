// Building a tokenizer of a vocabulary: what all kinds of vocabularies share.
#include "model/tokenizer_vocab.h"

#include "base/alloc.h"
#include "base/log.h"

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

// Whether a token of this kind is found in text only where the caller asks for special tokens.
static bool is_special_kind(uint8_t kind) { return kind == TN_TOKEN_CONTROL || kind == TN_TOKEN_UNKNOWN; }

static tn_status check_vocab(const tn_vocab *vocab, uint64_t *out_bytes)
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
    *out_bytes = bytes;
    return TN_OK;
}

static tn_status check_special_id(const char *name, int32_t id, int32_t n_tokens)
{
    if (id == TN_TOKEN_NONE || (id >= 0 && id < n_tokens)) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "%s is token %d of a vocabulary of %d: give one of them, or none", name, id, n_tokens);
}

static const tn_vocab_ops *ops_of(tn_vocab_model model) { return model == TN_VOCAB_SPM ? &tn_vocab_spm_ops : &tn_vocab_bpe_ops; }

// Copies the tokens' bytes and settles their kinds. `mergeable[i]`: merging may make token i.
static void fill_pieces(tn_tokenizer *t, const tn_vocab *vocab, bool *mergeable, const tn_log *log)
{
    const tn_vocab_ops *ops = ops_of(vocab->model);
    char *at = t->bytes;
    for (int32_t i = 0; i < t->n_tokens; i++) {
        tn_str text = vocab->tokens[i];
        size_t len = 0;
        t->kinds[i] = vocab->kinds ? (uint8_t)vocab->kinds[i] : ops->kind(vocab, i);
        t->ends[i] = is_end_text(text);
        if (t->ends[i] && t->kinds[i] != TN_TOKEN_CONTROL) {
            // Else a user's text could end the answer, and the answer's end would be shown.
            tn_log_write(log, TN_LOG_WARN, "token %d is %.*s but not marked as a control token; it is taken for one", i, TN_STR_ARGS(text));
            t->kinds[i] = TN_TOKEN_CONTROL;
        }
        mergeable[i] = ops->piece(text, t->kinds[i], at, &len);
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

static void mark_ends(tn_tokenizer *t, const int32_t *end_ids, size_t n_end_ids)
{
    if (t->eos != TN_TOKEN_NONE) t->ends[t->eos] = true;
    for (size_t i = 0; i < n_end_ids; i++) {
        if (end_ids[i] != TN_TOKEN_NONE) t->ends[end_ids[i]] = true;
    }
}

tn_status tn_tokenizer_build(const tn_vocab *vocab, const int32_t *end_ids, size_t n_end_ids, const tn_log *log,
                             tn_tokenizer **out_tokenizer)
{
    tn_status status;
    tn_tokenizer *t = NULL;
    bool *mergeable = NULL, *wanted = NULL;
    uint64_t n_bytes = 0;
    *out_tokenizer = NULL;
    TN_TRY(check_vocab(vocab, &n_bytes));
    TN_TRY(check_special_id("BOS", vocab->bos, vocab->n_tokens));
    TN_TRY(check_special_id("EOS", vocab->eos, vocab->n_tokens));
    TN_TRY(check_special_id("the unknown token", vocab->unknown, vocab->n_tokens));
    for (size_t i = 0; i < n_end_ids; i++) TN_TRY(check_special_id("a token that ends an answer", end_ids[i], vocab->n_tokens));
    TN_TRY(ops_of(vocab->model)->check(vocab));
    size_t n = (size_t)vocab->n_tokens;
    TN_TRY_GOTO(tn_alloc_zero(1, sizeof *t, &t));
    t->model = vocab->model;
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->pieces, &t->pieces));
    TN_TRY_GOTO(tn_alloc((size_t)n_bytes, 1, &t->bytes));
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->kinds, &t->kinds));
    TN_TRY_GOTO(tn_alloc(n, sizeof *t->ends, &t->ends));
    TN_TRY_GOTO(tn_alloc(n, sizeof *mergeable, &mergeable));
    TN_TRY_GOTO(tn_alloc(n, sizeof *wanted, &wanted));
    t->n_tokens = vocab->n_tokens;
    t->bos = vocab->bos;
    t->eos = vocab->eos;
    t->add_bos = vocab->add_bos && vocab->bos != TN_TOKEN_NONE;
    t->add_eos = vocab->add_eos && vocab->eos != TN_TOKEN_NONE;
    fill_pieces(t, vocab, mergeable, log);
    mark_ends(t, end_ids, n_end_ids);
    TN_TRY_GOTO(fill_specials(t, wanted));
    TN_TRY_GOTO(ops_of(t->model)->finish(t, vocab, mergeable, log));
    *out_tokenizer = t;
    t = NULL;
fail:
    tn_free(mergeable);
    tn_free(wanted);
    tn_tokenizer_destroy(t);
    return status;
}

tn_status tn_tokenizer_create(const tn_vocab *vocab, tn_tokenizer **out_tokenizer)
{
    return tn_tokenizer_build(vocab, NULL, 0, NULL, out_tokenizer);
}

void tn_tokenizer_destroy(tn_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    ops_of(tokenizer->model)->destroy(tokenizer);
    tn_special_deinit(&tokenizer->user_defined);
    tn_special_deinit(&tokenizer->specials);
    tn_free(tokenizer->pieces);
    tn_free(tokenizer->bytes);
    tn_free(tokenizer->kinds);
    tn_free(tokenizer->ends);
    tn_free(tokenizer);
}
