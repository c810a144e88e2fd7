// Turns tokenizer.json (byte-level BPE) into a GGUF vocabulary: tokens by id, kinds, merges, special ids, pre-tokenizer name.
#include "model/hf_tokenizer.h"

#include "base/alloc.h"
#include "base/file_map.h"
#include "base/log.h"
#include "format/json.h"
#include "ternion/tokenizer.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MAX_JSON_BYTES = 1 << 28, PAD_NAME_BYTES = 32 };

#define RETRY "get another copy of the checkpoint"

// The expressions of the two pre-tokenizers, in the spellings that checkpoints have.
static const struct {
    const char *regex, *pre;
} PRES[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     "llama-bpe"},
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
};

typedef struct source {
    const char *path;
    const tn_json *root, *model, *vocab;
    const tn_log *log;
} source;

static bool is_text(const tn_json *object, const char *key, const char *text)
{
    tn_str v;
    return tn_json_str(tn_json_get(object, key), &v) && tn_str_is(v, text);
}

static bool is_empty_text(const tn_json *value)
{
    tn_str v;
    return tn_json_absent(value) || (tn_json_str(value, &v) && v.len == 0);
}

// ---- the kind of tokenizer ----

static tn_status check_model(const source *s)
{
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(s->model, "type"), &type);
    // Files of the first versions of the format have no type and are BPE where they have merges.
    if (!tn_str_is(type, "BPE") && !(type.len == 0 && tn_json_is_array(tn_json_get(s->model, "merges")))) {
        return tn_fail(TN_UNSUPPORTED, "'%s': a tokenizer of type '%.*s' is not converted by this version; byte-level BPE is", s->path,
                       TN_STR_ARGS(type));
    }
    if (tn_json_is_true(tn_json_get(s->model, "byte_fallback"))) {
        return tn_fail(TN_UNSUPPORTED,
                       "'%s': a SentencePiece tokenizer (byte_fallback) is not converted by this version; byte-level BPE is", s->path);
    }
    if (!is_empty_text(tn_json_get(s->model, "continuing_subword_prefix")) || !is_empty_text(tn_json_get(s->model, "end_of_word_suffix"))) {
        return tn_fail(TN_UNSUPPORTED, "'%s': a BPE with subword prefixes or suffixes is not converted; byte-level BPE is", s->path);
    }
    const tn_json *normalizer = tn_json_get(s->root, "normalizer");
    if (!tn_json_absent(normalizer)) {
        tn_json_str(tn_json_get(normalizer, "type"), &type);
        return tn_fail(TN_UNSUPPORTED, "'%s': a normalizer ('%.*s') is not converted by this version; tokenizers without one are", s->path,
                       TN_STR_ARGS(type));
    }
    if (!tn_json_is_object(s->vocab) || !tn_json_is_array(tn_json_get(s->model, "merges"))) {
        return tn_fail(TN_BAD_FILE, "'%s' has no vocabulary or no merges; " RETRY, s->path);
    }
    return TN_OK;
}

static tn_status split_name(const source *s, const tn_json *split, const char **out_pre)
{
    tn_str regex = {"", 0};
    if (!tn_json_str(tn_json_get(tn_json_get(split, "pattern"), "Regex"), &regex)) {
        return tn_fail(TN_UNSUPPORTED, "'%s': its pre-tokenizer splits at a fixed text, which is not converted by this version", s->path);
    }
    // Keeping what matches, or removing what does not: the same, for expressions that match everything.
    const bool invert = tn_json_is_true(tn_json_get(split, "invert"));
    const bool keeps = (is_text(split, "behavior", "Isolated") && !invert) || (is_text(split, "behavior", "Removed") && invert);
    for (size_t i = 0; keeps && i < sizeof(PRES) / sizeof(PRES[0]); i++) {
        if (!tn_str_is(regex, PRES[i].regex)) continue;
        *out_pre = PRES[i].pre;
        return TN_OK;
    }
    return tn_fail(TN_UNSUPPORTED, "'%s': the pre-tokenizer expression \"%.*s\" is not known here; those of llama-bpe and gpt-2 are",
                   s->path, TN_STR_ARGS(regex));
}

// Looks at one pre-tokenizer. `*byte_level` becomes true when it is the byte-level step.
static tn_status read_step(const source *s, const tn_json *step, const char **out_pre, bool *byte_level)
{
    if (is_text(step, "type", "Split") && !*out_pre && !*byte_level) return split_name(s, step, out_pre);
    if (is_text(step, "type", "ByteLevel") && !*byte_level) {
        *byte_level = true;
        if (tn_json_is_true(tn_json_get(step, "add_prefix_space"))) {
            return tn_fail(TN_UNSUPPORTED, "'%s': a tokenizer that adds a space before the text is not converted by this version", s->path);
        }
        const tn_json *use_regex = tn_json_get(step, "use_regex");
        const bool regex = tn_json_absent(use_regex) || tn_json_is_true(use_regex);
        if (regex && *out_pre)
            return tn_fail(TN_UNSUPPORTED, "'%s': its pre-tokenizer splits twice, which is not converted by this version", s->path);
        if (regex) *out_pre = "gpt-2";
        return TN_OK;
    }
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(step, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': the pre-tokenizer step '%.*s' is not converted by this version; Split and ByteLevel are", s->path,
                   TN_STR_ARGS(type));
}

static tn_status read_pre(const source *s, const char **out_pre)
{
    const tn_json *pre = tn_json_get(s->root, "pre_tokenizer"), *steps = tn_json_get(pre, "pretokenizers");
    bool byte_level = false;
    *out_pre = NULL;
    if (is_text(pre, "type", "Sequence")) {
        for (size_t i = 0; i < tn_json_size(steps); i++) TN_TRY(read_step(s, tn_json_at(steps, i), out_pre, &byte_level));
    } else if (!tn_json_absent(pre)) {
        TN_TRY(read_step(s, pre, out_pre, &byte_level));
    }
    if (!byte_level || !*out_pre) {
        return tn_fail(
            TN_UNSUPPORTED,
            "'%s': no byte-level pre-tokenizer with a known expression (a SentencePiece tokenizer?); byte-level BPE is converted", s->path);
    }
    // GGUF has no key for it: readers emit whole-word tokens without merging for llama-bpe, and only there.
    const bool ignores = tn_json_is_true(tn_json_get(s->model, "ignore_merges"));
    if (ignores != (strcmp(*out_pre, "llama-bpe") == 0)) {
        tn_log_write(s->log, TN_LOG_WARN,
                     "'%s': ignore_merges is %s, but readers of GGUF files with pre-tokenizer %s assume the opposite: some words may "
                     "be tokenised otherwise",
                     s->path, ignores ? "true" : "false", *out_pre);
    }
    return TN_OK;
}

// ---- tokens ----

static tn_status put_token(const source *s, tn_hf_tokenizer *t, tn_str text, const tn_json *id_value, int32_t kind)
{
    uint64_t id = 0;
    if (!tn_json_u64(id_value, &id) || id >= t->n_tokens) {
        return tn_fail(TN_BAD_FILE, "'%s': token '%.*s' has no id below config.json's vocab_size of %zu; " RETRY, s->path,
                       TN_STR_ARGS(text), t->n_tokens);
    }
    if (t->tokens[id].data && !tn_str_eq(t->tokens[id], text)) {
        return tn_fail(TN_BAD_FILE, "'%s': tokens '%.*s' and '%.*s' have the same id %llu; " RETRY, s->path, TN_STR_ARGS(t->tokens[id]),
                       TN_STR_ARGS(text), (unsigned long long)id);
    }
    if (text.len == 0) return tn_fail(TN_BAD_FILE, "'%s': token %llu is empty; " RETRY, s->path, (unsigned long long)id);
    t->tokens[id] = text;
    t->kinds[id] = kind;
    return TN_OK;
}

static tn_status read_added(const source *s, tn_hf_tokenizer *t)
{
    const tn_json *added = tn_json_get(s->root, "added_tokens");
    bool strips = false;
    for (size_t i = 0; i < tn_json_size(added); i++) {
        const tn_json *token = tn_json_at(added, i), *id = tn_json_get(token, "id");
        tn_str text = {"", 0};
        uint64_t number = 0, vocab_number = 0;
        if (!tn_json_str(tn_json_get(token, "content"), &text))
            return tn_fail(TN_BAD_FILE, "'%s': added token %zu has no text; " RETRY, s->path, i);
        if (tn_json_u64(tn_json_get(s->vocab, text.data), &vocab_number) && tn_json_u64(id, &number) && number != vocab_number) {
            return tn_fail(TN_BAD_FILE, "'%s': token '%.*s' has two ids, %llu and %llu; " RETRY, s->path, TN_STR_ARGS(text),
                           (unsigned long long)vocab_number, (unsigned long long)number);
        }
        const bool special = tn_json_is_true(tn_json_get(token, "special"));
        TN_TRY(put_token(s, t, text, id, special ? TN_TOKEN_CONTROL : TN_TOKEN_USER_DEFINED));
        strips = strips || tn_json_is_true(tn_json_get(token, "lstrip")) || tn_json_is_true(tn_json_get(token, "rstrip"));
    }
    if (strips) {
        tn_log_write(s->log, TN_LOG_WARN,
                     "'%s': some added tokens swallow spaces around them, which GGUF files cannot say: prompts with such tokens may "
                     "be tokenised otherwise",
                     s->path);
    }
    return TN_OK;
}

// Names for ids without a token: vocab_size is often rounded up.
static tn_status name_padding(const source *s, tn_hf_tokenizer *t, char *names)
{
    for (size_t id = 0; id < t->n_tokens; id++) {
        if (t->tokens[id].data) continue;
        snprintf(names, PAD_NAME_BYTES, "[PAD%zu]", id);
        if (tn_json_get(s->vocab, names))
            return tn_fail(TN_BAD_FILE, "'%s': '%s' is a token, but id %zu has none; " RETRY, s->path, names, id);
        t->tokens[id] = tn_str_of(names);
        t->kinds[id] = TN_TOKEN_UNUSED;
        names += PAD_NAME_BYTES;
    }
    return TN_OK;
}

// Bytes of one merge as text "left right"; its parts in left and right.
static tn_status merge_parts(const source *s, const tn_json *merge, size_t index, tn_str *left, tn_str *right)
{
    if (tn_json_str(merge, left)) { // "left right"
        const char *space = left->len > 1 ? memchr(left->data + 1, ' ', left->len - 1) : NULL;
        if (space) {
            right->data = space + 1;
            right->len = left->len - (size_t)(space + 1 - left->data);
            left->len = (size_t)(space - left->data);
            if (right->len > 0 && !memchr(right->data, ' ', right->len)) return TN_OK;
        }
    } else if (tn_json_size(merge) == 2 && tn_json_str(tn_json_at(merge, 0), left) && tn_json_str(tn_json_at(merge, 1), right)) {
        const bool spaces = memchr(left->data, ' ', left->len) || memchr(right->data, ' ', right->len);
        if (left->len > 0 && right->len > 0 && !spaces) return TN_OK;
    }
    return tn_fail(TN_BAD_FILE, "'%s': merge %zu is not a pair of tokens; " RETRY, s->path, index);
}

// Fills tokens, kinds and merges; joined merges and padding names live in one arena of known size.
static tn_status read_vocabulary(const source *s, tn_hf_tokenizer *t)
{
    const tn_json *merges = tn_json_get(s->model, "merges"), *id = NULL;
    t->n_merges = tn_json_size(merges);
    TN_TRY(tn_alloc_zero(t->n_tokens, sizeof(*t->tokens), &t->tokens));
    TN_TRY(tn_alloc_zero(t->n_tokens, sizeof(*t->kinds), &t->kinds));
    TN_TRY(tn_alloc_zero(t->n_merges, sizeof(*t->merges), &t->merges));
    void *at = NULL;
    tn_str text, left, right;
    while (tn_json_next(s->vocab, &at, &text, &id)) {
        uint64_t number = 0;
        if (tn_json_u64(id, &number) && number < t->n_tokens && t->tokens[number].data) {
            return tn_fail(TN_BAD_FILE, "'%s': tokens '%.*s' and '%.*s' have the same id %llu; " RETRY, s->path,
                           TN_STR_ARGS(t->tokens[number]), TN_STR_ARGS(text), (unsigned long long)number);
        }
        TN_TRY(put_token(s, t, text, id, TN_TOKEN_NORMAL));
    }
    TN_TRY(read_added(s, t));
    size_t bytes = 0;
    for (size_t i = 0; i < t->n_tokens; i++) bytes += t->tokens[i].data ? 0 : PAD_NAME_BYTES;
    const size_t padding = bytes;
    for (size_t i = 0; i < t->n_merges; i++) {
        TN_TRY(merge_parts(s, tn_json_at(merges, i), i, &left, &right));
        bytes += left.len + 1 + right.len;
    }
    TN_TRY(tn_alloc(bytes, 1, &t->arena));
    TN_TRY(name_padding(s, t, t->arena));
    char *put = t->arena + padding;
    for (size_t i = 0; i < t->n_merges; i++) {
        TN_TRY(merge_parts(s, tn_json_at(merges, i), i, &left, &right));
        t->merges[i].data = put;
        t->merges[i].len = left.len + 1 + right.len;
        memcpy(put, left.data, left.len);
        put[left.len] = ' ';
        memcpy(put + left.len + 1, right.data, right.len);
        put += t->merges[i].len;
    }
    return TN_OK;
}

// ---- special tokens around the text ----

static int32_t find_id(const tn_hf_tokenizer *t, tn_str text)
{
    for (size_t i = 0; i < t->n_tokens; i++) {
        if (tn_str_eq(t->tokens[i], text)) return (int32_t)i;
    }
    return TN_HF_ID_NONE;
}

// A token named in tokenizer_config.json: a text, or an object with the text in "content".
static int32_t named_id(const tn_hf_tokenizer *t, const tn_json *config, const char *key)
{
    const tn_json *value = tn_json_get(config, key);
    tn_str text;
    if (tn_json_is_object(value)) value = tn_json_get(value, "content");
    return tn_json_str(value, &text) ? find_id(t, text) : TN_HF_ID_NONE;
}

static tn_status read_template(const source *s, const tn_json *processor, tn_hf_tokenizer *t)
{
    const tn_json *single = tn_json_get(processor, "single");
    bool after_text = false;
    for (size_t i = 0; i < tn_json_size(single); i++) {
        const tn_json *piece = tn_json_at(single, i);
        tn_str name;
        if (tn_json_get(piece, "Sequence")) {
            after_text = true;
            continue;
        }
        if (!tn_json_str(tn_json_get(tn_json_get(piece, "SpecialToken"), "id"), &name)) {
            return tn_fail(TN_BAD_FILE, "'%s': part %zu of its post-processor is not understood; " RETRY, s->path, i);
        }
        const int32_t id = find_id(t, name);
        int32_t *const expected = after_text ? &t->eos : &t->bos;
        bool *const adds = after_text ? &t->add_eos : &t->add_bos;
        if (*expected == TN_HF_ID_NONE) *expected = id;
        if (id == TN_HF_ID_NONE || id != *expected || *adds) {
            return tn_fail(TN_UNSUPPORTED, "'%s': its post-processor adds '%.*s', which is neither a BOS before nor an EOS after the text",
                           s->path, TN_STR_ARGS(name));
        }
        *adds = true;
    }
    return TN_OK;
}

static tn_status read_processor(const source *s, const tn_json *processor, tn_hf_tokenizer *t)
{
    if (tn_json_absent(processor) || is_text(processor, "type", "ByteLevel")) return TN_OK;
    if (is_text(processor, "type", "TemplateProcessing")) return read_template(s, processor, t);
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(processor, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': the post-processor '%.*s' is not converted by this version; TemplateProcessing and ByteLevel are",
                   s->path, TN_STR_ARGS(type));
}

static tn_status read_specials(const source *s, const tn_json *config, tn_hf_tokenizer *t)
{
    if (t->bos == TN_HF_ID_NONE) t->bos = named_id(t, config, "bos_token");
    if (t->eos == TN_HF_ID_NONE) t->eos = named_id(t, config, "eos_token");
    const tn_json *processor = tn_json_get(s->root, "post_processor");
    if (is_text(processor, "type", "Sequence")) {
        const tn_json *steps = tn_json_get(processor, "processors");
        for (size_t i = 0; i < tn_json_size(steps); i++) TN_TRY(read_processor(s, tn_json_at(steps, i), t));
    } else if (!tn_json_absent(processor)) {
        TN_TRY(read_processor(s, processor, t));
    } else {
        t->add_bos = t->bos != TN_HF_ID_NONE && tn_json_is_true(tn_json_get(config, "add_bos_token"));
        t->add_eos = t->eos != TN_HF_ID_NONE && tn_json_is_true(tn_json_get(config, "add_eos_token"));
    }
    return TN_OK;
}

// ---- chat template ----

static tn_status read_jinja(const char *path, char **out_text)
{
    tn_file_map map = {0};
    TN_TRY(tn_file_map_open(path, &map));
    tn_status status = TN_OK;
    if (map.size_bytes > MAX_JSON_BYTES || (map.size_bytes > 0 && memchr(map.data, '\0', map.size_bytes))) {
        status = tn_fail(TN_BAD_FILE, "'%s' is not a text; " RETRY, path);
    } else if (map.size_bytes > 0) {
        status = tn_strdup((const char *)map.data, map.size_bytes, out_text);
    }
    if (status == TN_OK) status = tn_file_map_check(&map, path);
    tn_file_map_close(&map);
    return status;
}

// A text, or a list of named ones of which "default" counts.
static tn_status read_config_template(const tn_json *config, tn_hf_tokenizer *t)
{
    const tn_json *value = tn_json_get(config, "chat_template");
    tn_str text;
    for (size_t i = 0; tn_json_is_array(value) && i < tn_json_size(value); i++) {
        if (is_text(tn_json_at(value, i), "name", "default")) {
            value = tn_json_get(tn_json_at(value, i), "template");
            break;
        }
    }
    return tn_json_str(value, &text) ? tn_strdup(text.data, text.len, &t->chat_template) : TN_OK;
}

static tn_status read_beside(const source *s, const char *dir, tn_hf_tokenizer *t)
{
    tn_text path = {0};
    struct stat info;
    tn_json *config = NULL;
    tn_status status = TN_OK;
    TN_TRY_GOTO(tn_text_printf(&path, "%s/tokenizer_config.json", dir));
    if (stat(path.data, &info) == 0) TN_TRY_GOTO(tn_json_open(path.data, MAX_JSON_BYTES, &config));
    t->documents[1] = config;
    TN_TRY_GOTO(read_specials(s, config, t));
    path.len = 0;
    TN_TRY_GOTO(tn_text_printf(&path, "%s/chat_template.jinja", dir));
    if (stat(path.data, &info) == 0) {
        TN_TRY_GOTO(read_jinja(path.data, &t->chat_template));
    } else {
        TN_TRY_GOTO(read_config_template(config, t));
    }
fail:
    tn_text_deinit(&path);
    return status;
}

// ---- all ----

tn_status tn_hf_tokenizer_read(const char *dir, const tn_hf_config *config, const tn_log *log, tn_hf_tokenizer *out)
{
    memset(out, 0, sizeof(*out));
    out->n_tokens = config->n_vocab;
    out->bos = config->bos;
    out->eos = config->eos;
    tn_text path = {0};
    tn_json *root = NULL;
    tn_status status = TN_OK;
    TN_TRY_GOTO(tn_text_printf(&path, "%s/tokenizer.json", dir));
    TN_TRY_GOTO(tn_json_open(path.data, MAX_JSON_BYTES, &root));
    out->documents[0] = root;
    const tn_json *model = tn_json_get(root, "model");
    const source s = {path.data, root, model, tn_json_get(model, "vocab"), log};
    TN_TRY_GOTO(check_model(&s));
    TN_TRY_GOTO(read_pre(&s, &out->pre));
    TN_TRY_GOTO(read_vocabulary(&s, out));
    TN_TRY_GOTO(read_beside(&s, dir, out));
    tn_text_deinit(&path);
    return TN_OK;
fail:
    tn_text_deinit(&path);
    tn_hf_tokenizer_deinit(out);
    return status;
}

void tn_hf_tokenizer_deinit(tn_hf_tokenizer *tokenizer)
{
    for (size_t i = 0; i < 2; i++) tn_json_destroy(tokenizer->documents[i]);
    tn_free(tokenizer->tokens);
    tn_free(tokenizer->kinds);
    tn_free(tokenizer->merges);
    tn_free(tokenizer->arena);
    tn_free(tokenizer->chat_template);
    memset(tokenizer, 0, sizeof(*tokenizer));
}
