// The table of tensor types: names, block sizes, and what ternion does with each.
#ifndef TN_FORMAT_DTYPE_H
#define TN_FORMAT_DTYPE_H

#include "base/status.h"

typedef enum tn_dtype {
    TN_DTYPE_NONE = 0,
    TN_DTYPE_F32,
    TN_DTYPE_F16,
    TN_DTYPE_BF16,
    TN_DTYPE_Q8_0,
    TN_DTYPE_Q6_K,
    TN_DTYPE_Q5_K,
    TN_DTYPE_Q4_K,
    TN_DTYPE_Q5_1,
    TN_DTYPE_Q5_0,
    TN_DTYPE_Q4_1,
    TN_DTYPE_Q4_0, // dense
    TN_DTYPE_I2_S,
    TN_DTYPE_TQ1_0,
    TN_DTYPE_TQ2_0,
    TN_DTYPE_IQ1_BN,
    TN_DTYPE_IQ2_BN,
    TN_DTYPE_IQ2_BN_R4,
    TN_DTYPE_TL1,
    TN_DTYPE_TL2,   // ternary
    TN_DTYPE_OTHER, // known by name and size at most, not read by this version
} tn_dtype;

typedef enum tn_dtype_class { TN_CLASS_DENSE, TN_CLASS_TERNARY, TN_CLASS_OTHER } tn_dtype_class;

typedef struct tn_dtype_info {
    tn_dtype dtype;
    const char *name; // "Q8_0"
    tn_dtype_class class_;
    uint32_t block_elements, block_bytes; // TL2: 1, 0, its size is a formula
    uint32_t row_bytes_extra;             // on top of each row's blocks: a scale of its own
    uint32_t tail_bytes;                  // on top of the tensor: its scale
} tn_dtype_info;

// Never NULL; for TN_DTYPE_NONE and TN_DTYPE_OTHER block sizes are 0.   Threads: any.
const tn_dtype_info *tn_dtype_get(tn_dtype dtype);
// The type of this name, in capitals or not.  Errors: INVALID_ARGUMENT (the message lists the names).
tn_status tn_dtype_parse(const char *name, tn_dtype *out_dtype);
// The names of a class's types, "F32, F16, ...", written to `buffer`, which is returned.   Threads: any.
#define TN_DTYPE_NAMES_BYTES 96
const char *tn_dtype_names(tn_dtype_class class_, char buffer[TN_DTYPE_NAMES_BYTES]);
// Bytes of a tensor of `dtype` with rows of ne0 elements, n elements in all, with scales of rows and tails.
// Errors: BAD_FILE (ne0 not a multiple of the block, overflow), UNSUPPORTED for NONE and OTHER.
tn_status tn_dtype_size(tn_dtype dtype, uint64_t ne0, uint64_t n, uint64_t *out_bytes);
// Bytes of one row of `n` elements; n must be a multiple of the block. Not for I2_S, TL1 and TL2, whose tensors are no sequence of rows.
size_t tn_dtype_row_bytes(tn_dtype dtype, uint64_t n);

#endif
