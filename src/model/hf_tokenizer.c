// Turns a checkpoint's tokenizer files into a GGUF vocabulary: tokens by id, kinds, merges or scores, special ids, chat template.
#include "base/alloc.h"
#include "base/file_map.h"
#include "base/log.h"
#include "model/hf_tokenizer_internal.h"
#include "ternion/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_JSON_BYTES = 1 << 28, PAD_NAME_BYTES = 32 };

bool tn_hf_is_text(const tn_json *object, const char *key, const char *text)
{
    tn_str v;
    return tn_json_str(tn_json_get(object, key), &v) && tn_str_is(v, text);
}

static bool is_empty_text(const tn_json *value)
{
    tn_str v;
    return tn_json_absent(value) || (tn_json_str(value, &v) && v.len == 0);
}

static tn_status check_model(const tn_hf_source *s)
{
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(s->model, "type"), &type);
    // Files of the first versions of the format have no type and are BPE where they have merges.
    if (!tn_str_is(type, "BPE") && !(type.len == 0 && tn_json_is_array(tn_json_get(s->model, "merges")))) {
        return tn_fail(TN_UNSUPPORTED, "'%s': a tokenizer of type '%.*s' is not converted by this version; BPE is", s->path,
                       TN_STR_ARGS(type));
    }
    if (!is_empty_text(tn_json_get(s->model, "continuing_subword_prefix")) || !is_empty_text(tn_json_get(s->model, "end_of_word_suffix"))) {
        return tn_fail(TN_UNSUPPORTED, "'%s': a BPE with subword prefixes or suffixes is not converted; byte-level BPE is", s->path);
    }
    if (!tn_json_is_object(s->vocab) || !tn_json_is_array(tn_json_get(s->model, "merges"))) {
        return tn_fail(TN_BAD_FILE, "'%s' has no vocabulary or no merges; " TN_HF_RETRY, s->path);
    }
    return TN_OK;
}

// ---- tokens ----

tn_status tn_hf_put_token(const tn_hf_source *s, tn_hf_tokenizer *t, tn_str text, uint64_t id, int32_t kind)
{
    if (id >= t->n_tokens) {
        return tn_fail(TN_BAD_FILE, "'%s': token '%.*s' has no id below config.json's vocab_size of %zu; " TN_HF_RETRY, s->path,
                       TN_STR_ARGS(text), t->n_tokens);
    }
    if (t->tokens[id].data && !tn_str_eq(t->tokens[id], text)) {
        return tn_fail(TN_BAD_FILE, "'%s': tokens '%.*s' and '%.*s' have the same id %llu; " TN_HF_RETRY, s->path,
                       TN_STR_ARGS(t->tokens[id]), TN_STR_ARGS(text), (unsigned long long)id);
    }
    if (text.len == 0) return tn_fail(TN_BAD_FILE, "'%s': token %llu is empty; " TN_HF_RETRY, s->path, (unsigned long long)id);
    t->tokens[id] = text;
    t->kinds[id] = kind;
    return TN_OK;
}

// An id from JSON; one that no vocabulary has where the value is none.
static uint64_t id_of(const tn_json *value)
{
    uint64_t id = UINT64_MAX;
    tn_json_u64(value, &id);
    return id;
}

// A token beside the vocabulary: special ones are control tokens, but the unknown token stays what it is.
static tn_status put_added(const tn_hf_source *s, tn_hf_tokenizer *t, const tn_json *token, tn_str text, uint64_t id, bool *strips)
{
    const bool is_unknown = id < t->n_tokens && t->kinds[id] == TN_TOKEN_UNKNOWN;
    const int32_t kind = tn_json_is_true(tn_json_get(token, "special")) ? TN_TOKEN_CONTROL : TN_TOKEN_USER_DEFINED;
    TN_TRY(tn_hf_put_token(s, t, text, id, is_unknown ? TN_TOKEN_UNKNOWN : kind));
    *strips = *strips || tn_json_is_true(tn_json_get(token, "lstrip")) || tn_json_is_true(tn_json_get(token, "rstrip"));
    return TN_OK;
}

static void warn_of_strips(const tn_hf_source *s, bool strips)
{
    if (!strips) return;
    tn_log_write(s->log, TN_LOG_WARN,
                 "'%s': some added tokens swallow spaces around them, which GGUF files cannot say: prompts with such tokens may "
                 "be tokenised otherwise",
                 s->path);
}

static tn_status read_added(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    const tn_json *added = tn_json_get(s->root, "added_tokens");
    bool strips = false;
    for (size_t i = 0; i < tn_json_size(added); i++) {
        const tn_json *token = tn_json_at(added, i);
        const uint64_t id = id_of(tn_json_get(token, "id"));
        tn_str text = {"", 0};
        uint64_t vocab_id = 0;
        if (!tn_json_str(tn_json_get(token, "content"), &text))
            return tn_fail(TN_BAD_FILE, "'%s': added token %zu has no text; " TN_HF_RETRY, s->path, i);
        if (tn_json_u64(tn_json_get(s->vocab, text.data), &vocab_id) && id != UINT64_MAX && id != vocab_id) {
            return tn_fail(TN_BAD_FILE, "'%s': token '%.*s' has two ids, %llu and %llu; " TN_HF_RETRY, s->path, TN_STR_ARGS(text),
                           (unsigned long long)vocab_id, (unsigned long long)id);
        }
        TN_TRY(put_added(s, t, token, text, id, &strips));
    }
    warn_of_strips(s, strips);
    return TN_OK;
}

// The added tokens of a checkpoint without tokenizer.json: {"32000": {"content": ...}} in tokenizer_config.json.
static tn_status read_added_decoder(const tn_hf_source *s, const tn_json *config, tn_hf_tokenizer *t)
{
    const tn_json *added = tn_json_get(config, "added_tokens_decoder"), *token;
    bool strips = false;
    void *at = NULL;
    tn_str key, text;
    while (tn_json_next(added, &at, &key, &token)) {
        char *end = NULL;
        const unsigned long long id = strtoull(key.data, &end, 10);
        if (key.len == 0 || *end != '\0' || !tn_json_str(tn_json_get(token, "content"), &text))
            return tn_fail(TN_BAD_FILE, "'%s': added token '%.*s' has no id or no text; " TN_HF_RETRY, s->path, TN_STR_ARGS(key));
        TN_TRY(put_added(s, t, token, text, id, &strips));
    }
    warn_of_strips(s, strips);
    return TN_OK;
}

// Names for ids without a token: vocab_size is often rounded up.
static tn_status name_padding(const tn_hf_source *s, tn_hf_tokenizer *t, char *names)
{
    for (size_t id = 0; id < t->n_tokens; id++) {
        if (t->tokens[id].data) continue;
        snprintf(names, PAD_NAME_BYTES, "[PAD%zu]", id);
        if (tn_json_get(s->vocab, names) || t->has_pad_names)
            return tn_fail(TN_BAD_FILE, "'%s': '%s' is a token, but id %zu has none; " TN_HF_RETRY, s->path, names, id);
        t->tokens[id] = tn_str_of(names);
        t->kinds[id] = TN_TOKEN_UNUSED;
        names += PAD_NAME_BYTES;
    }
    return TN_OK;
}

tn_status tn_hf_merge_parts(const tn_hf_source *s, const tn_json *merge, size_t index, tn_str *left, tn_str *right)
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
    return tn_fail(TN_BAD_FILE, "'%s': merge %zu is not a pair of tokens; " TN_HF_RETRY, s->path, index);
}

static tn_status make_table(tn_hf_tokenizer *t)
{
    TN_TRY(tn_alloc_zero(t->n_tokens, sizeof(*t->tokens), &t->tokens));
    return tn_alloc_zero(t->n_tokens, sizeof(*t->kinds), &t->kinds);
}

static tn_status read_tokens(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    void *at = NULL;
    tn_str text;
    const tn_json *id = NULL;
    while (tn_json_next(s->vocab, &at, &text, &id)) {
        const uint64_t number = id_of(id);
        if (number < t->n_tokens && t->tokens[number].data) {
            return tn_fail(TN_BAD_FILE, "'%s': tokens '%.*s' and '%.*s' have the same id %llu; " TN_HF_RETRY, s->path,
                           TN_STR_ARGS(t->tokens[number]), TN_STR_ARGS(text), (unsigned long long)number);
        }
        TN_TRY(tn_hf_put_token(s, t, text, number, TN_TOKEN_NORMAL));
    }
    return TN_OK;
}

// Padding names, and joined merges (none for SentencePiece, which has scores), in one arena of known size.
static tn_status finish_vocabulary(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    const tn_json *merges = t->scores ? NULL : tn_json_get(s->model, "merges");
    tn_str left, right;
    size_t bytes = 0;
    t->n_merges = tn_json_size(merges);
    TN_TRY(tn_alloc_zero(t->n_merges, sizeof(*t->merges), &t->merges));
    for (size_t i = 0; i < t->n_tokens; i++) bytes += t->tokens[i].data ? 0 : PAD_NAME_BYTES;
    const size_t padding = bytes;
    for (size_t i = 0; i < t->n_merges; i++) {
        TN_TRY(tn_hf_merge_parts(s, tn_json_at(merges, i), i, &left, &right));
        bytes += left.len + 1 + right.len;
    }
    TN_TRY(tn_alloc(bytes, 1, &t->arena));
    TN_TRY(name_padding(s, t, t->arena));
    char *put = t->arena + padding;
    for (size_t i = 0; i < t->n_merges; i++) {
        TN_TRY(tn_hf_merge_parts(s, tn_json_at(merges, i), i, &left, &right));
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

int32_t tn_hf_find_id(const tn_hf_tokenizer *t, tn_str text)
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
    return tn_json_str(value, &text) ? tn_hf_find_id(t, text) : TN_HF_ID_NONE;
}

static tn_status read_template(const tn_hf_source *s, const tn_json *processor, tn_hf_tokenizer *t)
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
            return tn_fail(TN_BAD_FILE, "'%s': part %zu of its post-processor is not understood; " TN_HF_RETRY, s->path, i);
        }
        const int32_t id = tn_hf_find_id(t, name);
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

static tn_status read_processor(const tn_hf_source *s, const tn_json *processor, tn_hf_tokenizer *t)
{
    if (tn_json_absent(processor) || tn_hf_is_text(processor, "type", "ByteLevel")) return TN_OK;
    if (tn_hf_is_text(processor, "type", "TemplateProcessing")) return read_template(s, processor, t);
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(processor, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': the post-processor '%.*s' is not converted by this version; TemplateProcessing and ByteLevel are",
                   s->path, TN_STR_ARGS(type));
}

static tn_status read_specials(const tn_hf_source *s, const tn_json *config, tn_hf_tokenizer *t)
{
    if (t->bos == TN_HF_ID_NONE) t->bos = named_id(t, config, "bos_token");
    if (t->eos == TN_HF_ID_NONE) t->eos = named_id(t, config, "eos_token");
    if (t->pad == TN_HF_ID_NONE) t->pad = named_id(t, config, "pad_token");
    const tn_json *processor = tn_json_get(s->root, "post_processor");
    if (tn_hf_is_text(processor, "type", "Sequence")) {
        const tn_json *steps = tn_json_get(processor, "processors");
        for (size_t i = 0; i < tn_json_size(steps); i++) TN_TRY(read_processor(s, tn_json_at(steps, i), t));
    } else if (!tn_json_absent(processor)) {
        TN_TRY(read_processor(s, processor, t));
    } else {
        // transformers' Llama tokenizers add a BOS where nothing is said.
        const tn_json *adds = tn_json_get(config, "add_bos_token");
        t->add_bos = t->bos != TN_HF_ID_NONE && (tn_json_is_true(adds) || (!s->root && tn_json_absent(adds)));
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
        status = tn_fail(TN_BAD_FILE, "'%s' is not a text; " TN_HF_RETRY, path);
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
        if (tn_hf_is_text(tn_json_at(value, i), "name", "default")) {
            value = tn_json_get(tn_json_at(value, i), "template");
            break;
        }
    }
    return tn_json_str(value, &text) ? tn_strdup(text.data, text.len, &t->chat_template) : TN_OK;
}

static tn_status read_chat_template(const char *dir, const tn_json *config, tn_hf_tokenizer *t)
{
    tn_text path = {0};
    struct stat info;
    tn_status status = tn_text_printf(&path, "%s/chat_template.jinja", dir);
    if (status == TN_OK) status = stat(path.data, &info) == 0 ? read_jinja(path.data, &t->chat_template) : read_config_template(config, t);
    tn_text_deinit(&path);
    return status;
}

// ---- all ----

static tn_status read_bpe(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    t->model = "gpt2";
    TN_TRY(read_tokens(s, t));
    TN_TRY(read_added(s, t));
    return tn_hf_read_pre(s, t);
}

// SentencePiece: tokenizer.model has the true scores and is read where it is there; tokenizer.json has the order of merges.
static tn_status read_spm(const tn_hf_source *s, const char *model_path, const tn_json *config, tn_hf_tokenizer *t)
{
    t->model = "llama";
    t->pre = "default";
    if (s->root) TN_TRY(tn_hf_spm_check(s, t));
    if (model_path) {
        TN_TRY(tn_hf_spm_read_model(model_path, s->log, t));
    } else {
        TN_TRY(read_tokens(s, t));
        TN_TRY(tn_hf_spm_scores(s, t));
    }
    return s->root ? read_added(s, t) : read_added_decoder(s, config, t);
}

static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

// The JSON documents of `dir`; those that are not there stay NULL.
static tn_status open_documents(const char *dir, const char *json_path, tn_hf_tokenizer *t)
{
    tn_text path = {0};
    tn_json *root = NULL, *config = NULL;
    tn_status status = TN_OK;
    if (is_there(json_path)) TN_TRY_GOTO(tn_json_open(json_path, MAX_JSON_BYTES, &root));
    t->documents[0] = root;
    TN_TRY_GOTO(tn_text_printf(&path, "%s/tokenizer_config.json", dir));
    if (is_there(path.data)) TN_TRY_GOTO(tn_json_open(path.data, MAX_JSON_BYTES, &config));
    t->documents[1] = config;
fail:
    tn_text_deinit(&path);
    return status;
}

static tn_status read_all(const char *dir, const char *json_path, const char *model_path, const tn_log *log, tn_hf_tokenizer *t)
{
    TN_TRY(open_documents(dir, json_path, t));
    const tn_json *root = t->documents[0], *config = t->documents[1], *model = tn_json_get(root, "model");
    const tn_hf_source s = {root ? json_path : model_path, root, model, tn_json_get(model, "vocab"), log};
    const bool has_model = is_there(model_path);
    if (!root && !has_model) {
        return tn_fail_native(TN_NOT_FOUND, errno,
                              "'%s' has neither tokenizer.json nor tokenizer.model; name a Hugging Face folder with its tokenizer", dir);
    }
    if (root) TN_TRY(check_model(&s));
    TN_TRY(make_table(t));
    TN_TRY(!root || tn_hf_is_spm(&s) ? read_spm(&s, has_model ? model_path : NULL, config, t) : read_bpe(&s, t));
    TN_TRY(finish_vocabulary(&s, t));
    TN_TRY(read_specials(&s, config, t));
    return read_chat_template(dir, config, t);
}

tn_status tn_hf_tokenizer_read(const char *dir, const tn_hf_config *config, const tn_log *log, tn_hf_tokenizer *out)
{
    memset(out, 0, sizeof(*out));
    out->n_tokens = config->n_vocab;
    out->bos = config->bos;
    out->eos = config->eos;
    out->pad = config->pad;
    out->unk = TN_HF_ID_NONE;
    out->add_space_prefix = true;
    tn_text json_path = {0}, model_path = {0};
    tn_status status = TN_OK;
    TN_TRY_GOTO(tn_text_printf(&json_path, "%s/tokenizer.json", dir));
    TN_TRY_GOTO(tn_text_printf(&model_path, "%s/tokenizer.model", dir));
    status = read_all(dir, json_path.data, model_path.data, log, out);
fail:
    tn_text_deinit(&json_path);
    tn_text_deinit(&model_path);
    if (status != TN_OK) tn_hf_tokenizer_deinit(out);
    return status;
}

void tn_hf_tokenizer_deinit(tn_hf_tokenizer *tokenizer)
{
    for (size_t i = 0; i < 2; i++) tn_json_destroy(tokenizer->documents[i]);
    tn_free(tokenizer->tokens);
    tn_free(tokenizer->kinds);
    tn_free(tokenizer->merges);
    tn_free(tokenizer->scores);
    tn_free(tokenizer->model_bytes);
    tn_free(tokenizer->arena);
    tn_free(tokenizer->chat_template);
    memset(tokenizer, 0, sizeof(*tokenizer));
}
