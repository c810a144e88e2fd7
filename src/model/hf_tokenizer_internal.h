// Shared by the files that read a checkpoint's tokenizer; nobody else includes it.
#ifndef TN_MODEL_HF_TOKENIZER_INTERNAL_H
#define TN_MODEL_HF_TOKENIZER_INTERNAL_H

#include "format/json.h"
#include "model/hf_tokenizer.h"

#define TN_HF_RETRY "get another copy of the checkpoint"

// A file that is being read. Borrows all; without a tokenizer.json the JSON values are NULL.
typedef struct tn_hf_source {
    const char *path;
    const tn_json *root, *model, *vocab;
    const tn_log *log;
} tn_hf_source;

// Whether `object` has this text under `key`.
bool tn_hf_is_text(const tn_json *object, const char *key, const char *text);
// Puts a token into the table.  Errors: BAD_FILE (id outside it or taken by another text, empty text).
tn_status tn_hf_put_token(const tn_hf_source *s, tn_hf_tokenizer *t, tn_str text, uint64_t id, int32_t kind);
// The parts of one merge, which is a text "left right" or a pair.  Errors: BAD_FILE.
tn_status tn_hf_merge_parts(const tn_hf_source *s, const tn_json *merge, size_t index, tn_str *left, tn_str *right);
int32_t tn_hf_find_id(const tn_hf_tokenizer *t, tn_str text); // TN_HF_ID_NONE where there is none

// hf_pre.c: the name of the pre-tokenizer of a byte-level BPE, by the structure and expressions of tokenizer.json. After the tokens are
// read, whose number tells Falcon3.  Errors: UNSUPPORTED (normalizer or pre-tokenizer that is not known, shown in the message).
tn_status tn_hf_read_pre(const tn_hf_source *s, tn_hf_tokenizer *t);

// hf_spm.c: SentencePiece. From tokenizer.json: its normalizer and pre-tokenizer, kinds of tokens, scores from the order of merges.
// Errors: UNSUPPORTED, BAD_FILE, OUT_OF_MEMORY.
bool tn_hf_is_spm(const tn_hf_source *s);
tn_status tn_hf_spm_check(const tn_hf_source *s, tn_hf_tokenizer *t);
tn_status tn_hf_spm_scores(const tn_hf_source *s, tn_hf_tokenizer *t);
// From tokenizer.model: tokens, kinds, scores and special ids. The texts live in t->model_bytes.
tn_status tn_hf_spm_read_model(const char *path, const tn_log *log, tn_hf_tokenizer *t);

#endif
