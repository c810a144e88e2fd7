// What gguf.c (one container's bytes) and gguf_file.c (the object, mapped files, shards) share.
#ifndef TN_FORMAT_GGUF_INTERNAL_H
#define TN_FORMAT_GGUF_INTERNAL_H

#include "base/file_map.h"
#include "format/gguf.h"

// tn_gguf_array_next keeps an index and a byte position in its one 64-bit cursor, so both are limited when a file is parsed.
#define TN_GGUF_CURSOR_BYTE_BITS 34
#define TN_GGUF_ARRAY_MAX        ((UINT64_C(1) << (64 - TN_GGUF_CURSOR_BYTE_BITS)) - 1)

// The bytes of one container. Metadata may be a private copy, while tensor data stays in the file's mapping.
typedef struct tn_gguf_source {
    const char *path; // for messages
    const uint8_t *meta;
    size_t meta_bytes; // readable at `meta`
    const uint8_t *data;
    size_t size_bytes; // of the whole container at `data`
} tn_gguf_source;

// One container: a file, or a shard of a split model.
typedef struct tn_gguf_part {
    tn_gguf_kv *kvs;
    size_t n_kv;
    tn_gguf_tensor *tensors;
    size_t n_tensors;
    const tn_str **kv_index, **tensor_index; // names in the order of tn_gguf_index_build
    size_t meta_bytes;                       // from byte 0 to the end of the tensor infos
    // Of gguf_file.c:
    char *path;
    size_t size_bytes;
    tn_file_map map;
    uint8_t *meta_copy;
} tn_gguf_part;

// Fills the directory fields of `part` (which are zero) from `source`, which is borrowed by them. On failure they are zero again.
tn_status tn_gguf_part_parse(tn_gguf_part *part, const tn_gguf_source *source, const tn_log *log);
// Frees the directory fields only.
void tn_gguf_part_clear(tn_gguf_part *part);

// Makes a sorted list of the names that begin each of n elements of `stride` bytes. `*out_duplicate`: the later of two equal names, NULL
// where there is none. Sorting, unlike hashing, has no bad case that a hostile file could choose. Returns owned.
tn_status tn_gguf_index_build(const void *elements, size_t n, size_t stride, const tn_str ***out_index, const tn_str **out_duplicate);
// The element whose name is `name`, NULL where absent.
const void *tn_gguf_index_find(const tn_str *const *index, size_t n, tn_str name);

uint64_t tn_gguf_load(const uint8_t *bytes, size_t n); // little-endian, n <= 8

#endif
