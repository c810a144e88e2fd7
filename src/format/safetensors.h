// Hugging Face safetensors files: a directory of tensors over a mapping.
#ifndef TN_FORMAT_SAFETENSORS_H
#define TN_FORMAT_SAFETENSORS_H

#include "base/str.h"
#include "format/dtype.h"

typedef struct tn_safetensor {
    const char *name;
    char dtype_name[16]; // as in the file: "BF16"
    tn_dtype dtype;      // F32, F16, BF16; OTHER for the rest (U8 and so on)
    uint32_t n_dims;
    uint64_t shape[4]; // outermost first, as in the file
    uint64_t n_elements;
    const uint8_t *data;
    uint64_t size_bytes;
} tn_safetensor;

// Immutable; any thread.
typedef struct tn_safetensors tn_safetensors;

// Opens model.safetensors in `dir`, or the shards that model.safetensors.index.json names. Lengths, offsets, overlaps and names are all
// checked. Owns the mappings. Returns owned. Errors: NOT_FOUND, IO, BAD_FILE, OUT_OF_MEMORY.
tn_status tn_safetensors_open(const char *dir, tn_safetensors **out);
// Parses one file's bytes (borrowed until destroyed).
tn_status tn_safetensors_parse(const uint8_t *bytes, size_t size, const char *path, tn_safetensors **out);
void tn_safetensors_destroy(tn_safetensors *st);
size_t tn_safetensors_count(const tn_safetensors *st);
const tn_safetensor *tn_safetensors_at(const tn_safetensors *st, size_t index);
const tn_safetensor *tn_safetensors_find(const tn_safetensors *st, const char *name); // NULL where absent
tn_status tn_safetensors_check_intact(const tn_safetensors *st);

#endif
