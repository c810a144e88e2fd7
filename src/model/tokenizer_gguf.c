// Tokenizers from the tokenizer.ggml.* keys of a GGUF file.
#include "base/alloc.h"
#include "base/log.h"
#include "model/tokenizer_vocab.h"

#define KEY(name)           "tokenizer.ggml." name
#define LLAMA3_TOKENS       128256 // the size of Llama 3's vocabulary, which no other family has
#define BPE_DEFAULT_SPECIAL 11     // BOS and EOS of byte-level BPE where the file names none (Falcon's end of text)
#define SPM_DEFAULT_UNKNOWN 0      // and those of SentencePiece
#define SPM_DEFAULT_BOS     1
#define SPM_DEFAULT_EOS     2

// What the keys say; the arrays are owned.
typedef struct gguf_vocab {
    const tn_gguf *gguf;
    const tn_log *log;
    tn_str *tokens, *merges;
    int32_t *kinds;
    float *scores;
    char *pre;
    tn_vocab vocab;
    int32_t ends[2]; // EOT, EOM
} gguf_vocab;

static tn_status read_strings(const gguf_vocab *v, const char *key, size_t n_max, tn_str **out_strings, size_t *out_n)
{
    tn_gguf_array array;
    TN_TRY(tn_gguf_get_array(v->gguf, key, TN_GGUF_STRING, &array));
    if (array.n > n_max) {
        return tn_fail(TN_BAD_FILE, "%s has %llu entries; ternion reads up to %zu: get another copy of %s", key,
                       (unsigned long long)array.n, n_max, tn_gguf_path(v->gguf));
    }
    TN_TRY(tn_alloc((size_t)array.n, sizeof **out_strings, out_strings));
    uint64_t at = 0;
    size_t n = 0;
    while (n < array.n && tn_gguf_array_next(&array, &at, &(*out_strings)[n])) n++;
    *out_n = n;
    return TN_OK;
}

// An array with one entry for each token; absent: n = 0.
static tn_status find_per_token(const gguf_vocab *v, const char *key, tn_gguf_type type, tn_gguf_array *out_array)
{
    memset(out_array, 0, sizeof *out_array);
    if (!tn_gguf_find(v->gguf, key)) return TN_OK;
    TN_TRY(tn_gguf_get_array(v->gguf, key, type, out_array));
    if (out_array->n == (uint64_t)v->vocab.n_tokens) return TN_OK;
    return tn_fail(TN_BAD_FILE, "%s has %llu entries for %d tokens: get another copy of %s", key, (unsigned long long)out_array->n,
                   v->vocab.n_tokens, tn_gguf_path(v->gguf));
}

static int32_t load_i32(const uint8_t *p)
{
    uint32_t u = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    int32_t i;
    memcpy(&i, &u, sizeof i);
    return i;
}

static tn_status read_scores(gguf_vocab *v)
{
    tn_gguf_array array;
    TN_TRY(find_per_token(v, KEY("scores"), TN_GGUF_F32, &array));
    if (v->vocab.model != TN_VOCAB_SPM) return TN_OK; // means nothing to BPE, but must fit
    if (!array.data) {
        return tn_fail(TN_BAD_FILE, "%s has a SentencePiece tokenizer without %s: get another copy", tn_gguf_path(v->gguf), KEY("scores"));
    }
    size_t n = (size_t)array.n;
    TN_TRY(tn_alloc(n, sizeof *v->scores, &v->scores));
    for (size_t i = 0; i < n; i++) {
        int32_t bits = load_i32(array.data + 4 * i);
        memcpy(&v->scores[i], &bits, sizeof bits);
    }
    v->vocab.scores = v->scores;
    return TN_OK;
}

static tn_status read_tokens(gguf_vocab *v)
{
    tn_gguf_array array;
    size_t n;
    TN_TRY(read_strings(v, KEY("tokens"), TN_VOCAB_TOKENS_MAX, &v->tokens, &n));
    v->vocab.tokens = v->tokens;
    v->vocab.n_tokens = (int32_t)n;
    TN_TRY(find_per_token(v, KEY("token_type"), TN_GGUF_I32, &array));
    if (array.n > 0) {
        TN_TRY(tn_alloc(n, sizeof *v->kinds, &v->kinds));
        for (size_t i = 0; i < n; i++) v->kinds[i] = load_i32(array.data + 4 * i);
        v->vocab.kinds = v->kinds;
    }
    TN_TRY(read_scores(v));
    if (v->vocab.model != TN_VOCAB_BPE) return TN_OK;
    TN_TRY(read_strings(v, KEY("merges"), UINT32_MAX - 1, &v->merges, &v->vocab.n_merges));
    v->vocab.merges = v->merges;
    return TN_OK;
}

// A special token's id. What lies outside the vocabulary counts as absent, with a warning: files write -1 there, or count
// tokens that they do not have. *out_present: the key is there.
static tn_status read_special(const gguf_vocab *v, const char *key, int32_t *out_id, bool *out_present)
{
    const tn_gguf_kv *kv = tn_gguf_find(v->gguf, key);
    *out_id = TN_TOKEN_NONE;
    *out_present = kv != NULL;
    if (!kv) return TN_OK;
    bool is_signed = kv->type == TN_GGUF_I8 || kv->type == TN_GGUF_I16 || kv->type == TN_GGUF_I32 || kv->type == TN_GGUF_I64;
    bool is_unsigned = kv->type == TN_GGUF_U8 || kv->type == TN_GGUF_U16 || kv->type == TN_GGUF_U32 || kv->type == TN_GGUF_U64;
    if (!is_signed && !is_unsigned) {
        return tn_fail(TN_BAD_FILE, "%s is of type %s, not an integer: get another copy of %s", key, tn_gguf_type_name(kv->type),
                       tn_gguf_path(v->gguf));
    }
    if (is_signed ? kv->value.i >= 0 && kv->value.i < v->vocab.n_tokens : kv->value.u < (uint64_t)v->vocab.n_tokens) {
        *out_id = is_signed ? (int32_t)kv->value.i : (int32_t)kv->value.u;
    } else {
        tn_log_write(v->log, TN_LOG_WARN, "%s is no token of the vocabulary's %d and is ignored", key, v->vocab.n_tokens);
    }
    return TN_OK;
}

// BOS, EOS or the unknown token with its default in the kind of vocabulary. That of byte-level BPE is taken only where it is a
// control token: elsewhere it is an ordinary one (a comma, in GPT-2's order), and every comma would end the answer.
static tn_status read_special_or_default(const gguf_vocab *v, const char *key, int32_t default_id, int32_t *out_id)
{
    bool present;
    TN_TRY(read_special(v, key, out_id, &present));
    bool usable = v->vocab.n_tokens > default_id;
    if (v->vocab.model == TN_VOCAB_BPE) usable = usable && v->kinds && v->kinds[default_id] == TN_TOKEN_CONTROL;
    if (!present && usable) *out_id = default_id;
    return TN_OK;
}

static tn_status read_flag(const gguf_vocab *v, const char *key, bool default_value, bool *out)
{
    *out = default_value;
    return tn_gguf_find(v->gguf, key) ? tn_gguf_get_bool(v->gguf, key, out) : TN_OK;
}

static tn_status read_specials(gguf_vocab *v)
{
    bool present, spm = v->vocab.model == TN_VOCAB_SPM;
    const tn_pretokenizer *pre = spm ? NULL : tn_pretokenizer_find(v->pre, strlen(v->pre));
    TN_TRY(read_special_or_default(v, KEY("bos_token_id"), spm ? SPM_DEFAULT_BOS : BPE_DEFAULT_SPECIAL, &v->vocab.bos));
    TN_TRY(read_special_or_default(v, KEY("eos_token_id"), spm ? SPM_DEFAULT_EOS : BPE_DEFAULT_SPECIAL, &v->vocab.eos));
    v->vocab.unknown = TN_TOKEN_NONE;
    if (spm) TN_TRY(read_special_or_default(v, KEY("unknown_token_id"), SPM_DEFAULT_UNKNOWN, &v->vocab.unknown));
    TN_TRY(read_special(v, KEY("eot_token_id"), &v->ends[0], &present));
    TN_TRY(read_special(v, KEY("eom_token_id"), &v->ends[1], &present));
    TN_TRY(read_flag(v, KEY("add_bos_token"), spm || (pre && pre->add_bos), &v->vocab.add_bos));
    TN_TRY(read_flag(v, KEY("add_eos_token"), false, &v->vocab.add_eos));
    TN_TRY(read_flag(v, KEY("add_space_prefix"), spm, &v->vocab.add_space_prefix));
    TN_TRY(read_flag(v, KEY("remove_extra_whitespaces"), false, &v->vocab.remove_extra_whitespaces));
    if (v->vocab.add_bos && v->vocab.bos == TN_TOKEN_NONE) {
        tn_log_write(v->log, TN_LOG_WARN, "texts should begin with a BOS token, but the file names none: they begin without");
    }
    return TN_OK;
}

// The pre-tokenizer's name. Files of before mid 2024 have none: those of BitNet b1.58 2B-4T and everything with Llama 3's
// vocabulary are known; for the rest there is the expression that llama.cpp has for this case.
static tn_status read_pre(gguf_vocab *v, const char *arch)
{
    tn_str name;
    if (tn_gguf_find(v->gguf, KEY("pre"))) {
        TN_TRY(tn_gguf_get_str(v->gguf, KEY("pre"), &name));
    } else {
        bool bitnet = arch && (strcmp(arch, "bitnet-b1.58") == 0 || strcmp(arch, "bitnet-25") == 0);
        name = tn_str_of(bitnet || v->vocab.n_tokens == LLAMA3_TOKENS ? "llama-bpe" : "default");
        tn_log_write(v->log, TN_LOG_WARN, "%s does not name its pre-tokenizer (%s); \"%s\" is taken", tn_gguf_path(v->gguf), KEY("pre"),
                     name.data);
    }
    return tn_strdup(name.data, name.len, &v->pre);
}

// The pre-tokenizer that the caller asks for in place of the file's.
static tn_status override_pre(gguf_vocab *v, const char *pre)
{
    const tn_pretokenizer *found;
    if (v->vocab.model == TN_VOCAB_SPM) {
        return tn_fail(TN_INVALID_ARGUMENT, "the tokenizer of %s is SentencePiece, which has no pre-tokenizer: do not ask for \"%.100s\"",
                       tn_gguf_path(v->gguf), pre);
    }
    tn_status status = tn_pretokenizer_require(pre, &found);
    if (status == TN_UNSUPPORTED) status = tn_fail(TN_INVALID_ARGUMENT, "%s", tn_error_last()->message);
    return status == TN_OK ? tn_strdup(pre, strlen(pre), &v->pre) : status;
}

static tn_status settle_pre(gguf_vocab *v, const tn_tokenizer_gguf_params *params)
{
    if (params->pre) {
        TN_TRY(override_pre(v, params->pre));
    } else if (v->vocab.model == TN_VOCAB_BPE) {
        TN_TRY(read_pre(v, params->arch));
    }
    v->vocab.pre = v->pre;
    return TN_OK;
}

static tn_status read_model(const tn_gguf *gguf, tn_vocab_model *out_model)
{
    tn_str model;
    bool named = tn_gguf_find(gguf, KEY("model")) != NULL;
    if (named) TN_TRY(tn_gguf_get_str(gguf, KEY("model"), &model));
    if (!named || tn_str_is(model, "none") || tn_str_is(model, "no_vocab")) {
        return tn_fail(TN_NOT_FOUND, "%s has no tokenizer (%s): use token ids, or a file with one", tn_gguf_path(gguf), KEY("model"));
    }
    *out_model = tn_str_is(model, "llama") ? TN_VOCAB_SPM : TN_VOCAB_BPE;
    if (tn_str_is(model, "gpt2") || tn_str_is(model, "llama")) return TN_OK;
    return tn_fail(TN_UNSUPPORTED,
                   "%s has a tokenizer of kind \"%.*s\"; this version reads \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece): use "
                   "token ids",
                   tn_gguf_path(gguf), TN_STR_ARGS(model));
}

tn_status tn_tokenizer_create_gguf(const tn_gguf *gguf, const tn_tokenizer_gguf_params *params, tn_tokenizer **out_tokenizer)
{
    gguf_vocab v = {.gguf = gguf, .log = params->log};
    tn_status status;
    *out_tokenizer = NULL;
    TN_TRY(read_model(gguf, &v.vocab.model));
    TN_TRY_GOTO(read_tokens(&v));
    TN_TRY_GOTO(settle_pre(&v, params));
    TN_TRY_GOTO(read_specials(&v));
    status = tn_tokenizer_build(&v.vocab, v.ends, sizeof v.ends / sizeof v.ends[0], params->log, out_tokenizer);
fail:
    tn_free(v.tokens);
    tn_free(v.merges);
    tn_free(v.kinds);
    tn_free(v.scores);
    tn_free(v.pre);
    // Damage shows as a NOT_FOUND key deeper down too; to the caller the file then has a tokenizer, but a broken one.
    return status == TN_NOT_FOUND ? tn_fail(TN_BAD_FILE, "%s names a tokenizer without %s or %s: get another copy", tn_gguf_path(gguf),
                                            KEY("tokens"), KEY("merges"))
                                  : status;
}
