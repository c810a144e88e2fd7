// The ids of tensor types in files: forks gave some ids different meanings, so a meaning is looked up by id and dialect.
#ifndef TN_FORMAT_FILE_TYPE_H
#define TN_FORMAT_FILE_TYPE_H

#include "format/dtype.h"

// Families of writers that agree on every id. One bit each.
typedef enum tn_dialect {
    TN_DIALECT_UPSTREAM = 1,     // llama.cpp and what follows it
    TN_DIALECT_BITNET = 2,       // the BitNet fork
    TN_DIALECT_IK = 4,           // ik_llama
    TN_DIALECT_PRISM = 8,        // PrismML's branches until mid 2026
    TN_DIALECT_PRISM_FIRST = 16, // PrismML's first branch
    TN_DIALECT_VLUT = 32,        // vlut.cpp
    TN_DIALECT_ALL = 63,
} tn_dialect;

typedef enum tn_size_rule {
    TN_SIZE_ROWS,    // rows of whole blocks, each row with `extra_bytes` more
    TN_SIZE_TAIL,    // whole blocks over the tensor, then `extra_bytes` once
    TN_SIZE_TL2,     // the BitNet fork's formula for TL2
    TN_SIZE_UNKNOWN, // cannot be computed
} tn_size_rule;

typedef struct tn_file_type {
    uint32_t id;
    unsigned dialects; // in which this id has this meaning
    const char *name;
    tn_dtype dtype; // OTHER: known, not read
    tn_size_rule size_rule;
    uint32_t block_elements, block_bytes, extra_bytes; // 0 where unknown
} tn_file_type;

// The meaning of `id` in any of `dialects` (the first listed); NULL where there is none.   Threads: any.
const tn_file_type *tn_file_type_find(uint32_t id, unsigned dialects);
// Whether the meaning of `id` depends on the dialect.
bool tn_file_type_is_ambiguous(uint32_t id);
// Bytes of a tensor with rows of ne0 elements, n in all; 0 for a type of unknown size. False where such a tensor cannot exist: the
// elements do not fill blocks, or the size overflows. Records nothing: it is also asked of meanings that are only tried.
bool tn_file_type_size(const tn_file_type *type, uint64_t ne0, uint64_t n, uint64_t *out_bytes);

#endif
