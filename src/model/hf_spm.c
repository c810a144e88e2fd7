// SentencePiece vocabularies: from tokenizer.model, or from the tokenizer.json that was made of one.
#include "base/alloc.h"
#include "base/file_map.h"
#include "base/log.h"
#include "format/protobuf.h"
#include "model/hf_tokenizer_internal.h"
#include "model/spm.h"
#include "ternion/tokenizer.h"

#include <stdlib.h>

#define SPACE "\xe2\x96\x81" // U+2581, which stands for a space

enum { MODEL_BYTES_MAX = 1 << 26, MODEL_KIND_BPE = 2 };

// ---- tokenizer.json ----

bool tn_hf_is_spm(const tn_hf_source *s) { return tn_json_is_true(tn_json_get(s->model, "byte_fallback")); }

static tn_status unknown_step(const tn_hf_source *s, const char *what, const tn_json *step)
{
    tn_str type = {"", 0};
    tn_json_str(tn_json_get(step, "type"), &type);
    return tn_fail(TN_UNSUPPORTED, "'%s': a SentencePiece tokenizer (byte_fallback) with the %s '%.*s' is not converted by this version",
                   s->path, what, TN_STR_ARGS(type));
}

// One of: a space before every piece of text; spaces to U+2581.
static tn_status check_normalizer(const tn_hf_source *s, const tn_json *step, tn_hf_tokenizer *t)
{
    if (tn_hf_is_text(step, "type", "Prepend") && tn_hf_is_text(step, "prepend", SPACE)) {
        t->add_space_prefix = true;
        return TN_OK;
    }
    const bool replaces = tn_hf_is_text(step, "type", "Replace") && tn_hf_is_text(tn_json_get(step, "pattern"), "String", " ") &&
                          tn_hf_is_text(step, "content", SPACE);
    return replaces ? TN_OK : unknown_step(s, "normalizer", step);
}

static tn_status check_metaspace(const tn_hf_source *s, const tn_json *pre, tn_hf_tokenizer *t)
{
    const tn_json *split = tn_json_get(pre, "split"), *prefix = tn_json_get(pre, "add_prefix_space");
    if (!tn_hf_is_text(pre, "type", "Metaspace") || !tn_hf_is_text(pre, "replacement", SPACE)) return unknown_step(s, "pre-tokenizer", pre);
    if (!tn_json_is_bool(split) || tn_json_is_true(split)) {
        return tn_fail(TN_UNSUPPORTED, "'%s': a SentencePiece tokenizer that splits at every space is not converted by this version",
                       s->path);
    }
    t->add_space_prefix =
        tn_json_is_true(prefix) || tn_hf_is_text(pre, "prepend_scheme", "first") || tn_hf_is_text(pre, "prepend_scheme", "always");
    if (tn_hf_is_text(pre, "prepend_scheme", "first")) {
        tn_log_write(
            s->log, TN_LOG_WARN,
            "'%s' puts a space before the first text only; readers of GGUF files put one behind every special token too: prompts with "
            "such tokens may be tokenised otherwise",
            s->path);
    }
    return TN_OK;
}

tn_status tn_hf_spm_check(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    const tn_json *normalizer = tn_json_get(s->root, "normalizer"), *pre = tn_json_get(s->root, "pre_tokenizer");
    t->add_space_prefix = false;
    if (tn_hf_is_text(normalizer, "type", "Sequence")) {
        const tn_json *steps = tn_json_get(normalizer, "normalizers");
        for (size_t i = 0; i < tn_json_size(steps); i++) TN_TRY(check_normalizer(s, tn_json_at(steps, i), t));
    } else if (!tn_json_absent(normalizer)) {
        TN_TRY(check_normalizer(s, normalizer, t));
    }
    return tn_json_absent(pre) ? TN_OK : check_metaspace(s, pre, t);
}

// The id of the token that a merge makes.  Errors: BAD_FILE where there is none, OUT_OF_MEMORY.
static tn_status merged_id(const tn_hf_source *s, size_t n_tokens, tn_str left, tn_str right, tn_text *buffer, uint64_t *out_id)
{
    buffer->len = 0;
    *out_id = UINT64_MAX;
    TN_TRY(tn_text_append(buffer, left.data, left.len));
    TN_TRY(tn_text_append(buffer, right.data, right.len));
    if (tn_json_u64(tn_json_get(s->vocab, buffer->data), out_id) && *out_id < n_tokens) return TN_OK;
    return tn_fail(TN_BAD_FILE, "'%s': a merge makes '%.200s', which is no token; " TN_HF_RETRY, s->path, buffer->data);
}

// Ranks of the tokens that merges make, in the order of their first merge. `rank` holds -1 for the others.
static tn_status rank_merges(const tn_hf_source *s, tn_hf_tokenizer *t, int32_t *rank, int32_t *out_next)
{
    const tn_json *merges = tn_json_get(s->model, "merges");
    tn_text buffer = {0};
    tn_str left, right;
    uint64_t id;
    tn_status status = TN_OK;
    *out_next = 0;
    for (size_t i = 0; i < tn_json_size(merges); i++) {
        TN_TRY_GOTO(tn_hf_merge_parts(s, tn_json_at(merges, i), i, &left, &right));
        TN_TRY_GOTO(merged_id(s, t->n_tokens, left, right, &buffer, &id));
        if (rank[id] < 0) rank[id] = (*out_next)++;
    }
fail:
    tn_text_deinit(&buffer);
    return status;
}

// SentencePiece merges the pair whose result has the highest score, so a token's score is minus its rank among the results of merges.
// Single characters, which nothing merges to, come behind in the order of their ids, as SentencePiece has them; bytes and control tokens
// have 0.
tn_status tn_hf_spm_scores(const tn_hf_source *s, tn_hf_tokenizer *t)
{
    int32_t *rank = NULL, next = 0;
    TN_TRY(tn_alloc_zero(t->n_tokens, sizeof(*t->scores), &t->scores));
    TN_TRY(tn_alloc(t->n_tokens, sizeof(*rank), &rank));
    for (size_t i = 0; i < t->n_tokens; i++) rank[i] = -1;
    const tn_status status = rank_merges(s, t, rank, &next);
    tn_str unk;
    if (tn_json_str(tn_json_get(s->model, "unk_token"), &unk)) t->unk = tn_hf_find_id(t, unk);
    const tn_json *added = tn_json_get(s->root, "added_tokens");
    for (size_t i = 0; i < tn_json_size(added); i++) { // they have no score, whether they are in the vocabulary or beside it
        uint64_t id;
        if (tn_json_u64(tn_json_get(tn_json_at(added, i), "id"), &id) && id < t->n_tokens && rank[id] < 0) rank[id] = INT32_MIN;
    }
    for (size_t i = 0; status == TN_OK && i < t->n_tokens; i++) {
        if (!t->tokens[i].data || rank[i] == INT32_MIN) continue;
        if (tn_spm_byte_of_name(t->tokens[i]) >= 0) {
            t->kinds[i] = TN_TOKEN_BYTE;
        } else if ((int32_t)i != t->unk) {
            t->scores[i] = -(float)(rank[i] < 0 ? next++ : rank[i]);
        }
    }
    if (t->unk != TN_HF_ID_NONE) t->kinds[t->unk] = TN_TOKEN_UNKNOWN;
    tn_free(rank);
    return status;
}

// ---- tokenizer.model ----

// Numbers of the fields that matter, in SentencePiece's sentencepiece_model.proto.
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_KIND = 3 };
enum { TRAINER_KIND = 3, TRAINER_SPACE_BEHIND = 24, TRAINER_BYTE_FALLBACK = 35, TRAINER_UNK = 40, TRAINER_BOS = 41, TRAINER_EOS = 42 };
enum { NORMALIZER_CHARS = 2, NORMALIZER_SPACE_PREFIX = 3, NORMALIZER_REMOVE_SPACES = 4, NORMALIZER_ESCAPE_SPACES = 5 };

typedef struct model_reader {
    tn_hf_source s;
    tn_hf_tokenizer *t;
    size_t n_pieces;
    uint64_t kind; // of the model
    int64_t unk, bos, eos;
    bool space_behind, byte_fallback, has_chars, remove_spaces, keeps_spaces;
} model_reader;

static tn_status fail_damaged(const model_reader *r)
{
    return tn_fail(TN_BAD_FILE, "'%s' is not a SentencePiece model, or a damaged one; " TN_HF_RETRY, r->s.path);
}

static float float_of(uint64_t value)
{
    const uint32_t bits = (uint32_t)value;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static tn_status read_piece(model_reader *r, tn_str message)
{
    tn_protobuf at = tn_protobuf_of(message);
    tn_protobuf_field field;
    tn_protobuf_step step;
    tn_str text = {"", 0};
    float score = 0;
    uint64_t kind = TN_TOKEN_NORMAL;
    while ((step = tn_protobuf_next(&at, &field)) == TN_PROTOBUF_FIELD) {
        if (field.number == PIECE_TEXT && field.wire == TN_WIRE_BYTES) text = field.bytes;
        if (field.number == PIECE_SCORE && field.wire == TN_WIRE_32) score = float_of(field.value);
        if (field.number == PIECE_KIND && field.wire == TN_WIRE_VARINT) kind = field.value;
    }
    if (step == TN_PROTOBUF_BAD || kind < TN_TOKEN_NORMAL || kind > TN_TOKEN_BYTE || !(score > -1e30f && score < 1e30f))
        return fail_damaged(r);
    const size_t id = r->n_pieces++;
    TN_TRY(tn_hf_put_token(&r->s, r->t, text, id, (int32_t)kind)); // kinds have the same numbers in both formats
    r->t->scores[id] = score;
    if (text.len > 4 && memcmp(text.data, "[PAD", 4) == 0) r->t->has_pad_names = true;
    return TN_OK;
}

static bool read_trainer(model_reader *r, tn_str message)
{
    tn_protobuf at = tn_protobuf_of(message);
    tn_protobuf_field field;
    tn_protobuf_step step;
    while ((step = tn_protobuf_next(&at, &field)) == TN_PROTOBUF_FIELD) {
        if (field.wire != TN_WIRE_VARINT) continue;
        switch (field.number) {
        case TRAINER_KIND: r->kind = field.value; break;
        case TRAINER_SPACE_BEHIND: r->space_behind = field.value != 0; break;
        case TRAINER_BYTE_FALLBACK: r->byte_fallback = field.value != 0; break;
        case TRAINER_UNK: r->unk = (int64_t)field.value; break; // negative ones are ten bytes of two's complement
        case TRAINER_BOS: r->bos = (int64_t)field.value; break;
        case TRAINER_EOS: r->eos = (int64_t)field.value; break;
        default: break;
        }
    }
    return step == TN_PROTOBUF_END;
}

static bool read_normalizer(model_reader *r, tn_str message)
{
    tn_protobuf at = tn_protobuf_of(message);
    tn_protobuf_field field;
    tn_protobuf_step step;
    while ((step = tn_protobuf_next(&at, &field)) == TN_PROTOBUF_FIELD) {
        if (field.number == NORMALIZER_CHARS && field.wire == TN_WIRE_BYTES) r->has_chars = field.bytes.len > 0;
        if (field.wire != TN_WIRE_VARINT) continue;
        if (field.number == NORMALIZER_SPACE_PREFIX) r->t->add_space_prefix = field.value != 0;
        if (field.number == NORMALIZER_REMOVE_SPACES) r->remove_spaces = field.value != 0;
        if (field.number == NORMALIZER_ESCAPE_SPACES) r->keeps_spaces = field.value == 0;
    }
    return step == TN_PROTOBUF_END;
}

static tn_status check_kind(const model_reader *r)
{
    if (r->n_pieces == 0) return fail_damaged(r);
    const char *why = NULL;
    if (r->kind != MODEL_KIND_BPE) why = "is not a BPE (unigram, word and character models are not)";
    if (r->has_chars) why = "normalises characters, which GGUF files cannot say, so that it is not";
    if (r->space_behind) why = "puts spaces behind words and is not";
    if (r->keeps_spaces) why = "keeps spaces as they are and is not";
    if (!r->byte_fallback) why = why ? why : "has no byte tokens for unknown characters and is not";
    if (why) return tn_fail(TN_UNSUPPORTED, "'%s': the SentencePiece model %s converted by this version", r->s.path, why);
    if (r->remove_spaces) {
        tn_log_write(r->s.log, TN_LOG_WARN,
                     "'%s' drops repeated spaces, which readers of GGUF files do not: texts with such spaces are tokenised otherwise",
                     r->s.path);
    }
    return TN_OK;
}

// A special id of the model, where config.json names none.
static void default_id(const model_reader *r, int64_t id, int32_t *target)
{
    if (*target == TN_HF_ID_NONE && id >= 0 && (uint64_t)id < r->n_pieces) *target = (int32_t)id;
}

static tn_status read_model(model_reader *r, tn_str message)
{
    tn_protobuf at = tn_protobuf_of(message);
    tn_protobuf_field field;
    tn_protobuf_step step;
    while ((step = tn_protobuf_next(&at, &field)) == TN_PROTOBUF_FIELD) {
        if (field.wire != TN_WIRE_BYTES) continue;
        if (field.number == MODEL_PIECES) TN_TRY(read_piece(r, field.bytes));
        if (field.number == MODEL_TRAINER && !read_trainer(r, field.bytes)) return fail_damaged(r);
        if (field.number == MODEL_NORMALIZER && !read_normalizer(r, field.bytes)) return fail_damaged(r);
    }
    if (step == TN_PROTOBUF_BAD) return fail_damaged(r);
    TN_TRY(check_kind(r));
    default_id(r, r->unk, &r->t->unk);
    default_id(r, r->bos, &r->t->bos);
    default_id(r, r->eos, &r->t->eos);
    return TN_OK;
}

tn_status tn_hf_spm_read_model(const char *path, const tn_log *log, tn_hf_tokenizer *t)
{
    // What a model means that does not say otherwise: unigram, 0 1 2, a space before, repeated spaces dropped.
    model_reader r = {.s = {.path = path, .log = log}, .t = t, .kind = 1, .unk = 0, .bos = 1, .eos = 2, .remove_spaces = true};
    tn_file_map map = {0};
    TN_TRY(tn_alloc_zero(t->n_tokens, sizeof(*t->scores), &t->scores));
    TN_TRY(tn_file_map_open(path, &map));
    tn_status status = TN_OK;
    t->add_space_prefix = true;
    const size_t n = map.size_bytes; // copied: the tokens' texts outlive the mapping
    if (n == 0 || n > MODEL_BYTES_MAX) {
        status = fail_damaged(&r);
        goto fail;
    }
    TN_TRY_GOTO(tn_alloc(n, 1, &t->model_bytes));
    memcpy(t->model_bytes, map.data, n);
    TN_TRY_GOTO(tn_file_map_check(&map, path));
    status = read_model(&r, (tn_str){(const char *)t->model_bytes, n});
fail:
    tn_file_map_close(&map);
    return status;
}
