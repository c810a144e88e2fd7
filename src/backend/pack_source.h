// What packing on any GPU asks of a weight's source, before groups of its rows become what the device reads.
#ifndef TN_BACKEND_PACK_SOURCE_H
#define TN_BACKEND_PACK_SOURCE_H

#include "graph/op.h"

// Whether a weight can be packed by kernels for ternary values, every dense type and tables of F32. `devices`: "CUDA".
// Errors: BAD_FILE (empty, rows that are no whole blocks), UNSUPPORTED (another type).
tn_status tn_pack_source_check(const tn_weight_source *source, const char *devices);
// BAD_FILE: its packed form is larger than any memory.
tn_status tn_pack_source_too_large(const tn_weight_source *source);
// Bytes of a row as read_rows writes it.
uint64_t tn_pack_source_row_bytes(const tn_weight_source *source);

// Memory for packing a group: its rows as read, then `padded_bytes`, which begin at a multiple of 64.
typedef struct tn_pack_scratch {
    uint64_t rows_bytes, n_bytes;
} tn_pack_scratch;
// Errors: BAD_FILE (larger than any memory).
tn_status tn_pack_scratch_of(const tn_weight_source *source, uint32_t group_rows, uint64_t padded_bytes, tn_pack_scratch *out_scratch);
// INTERNAL where [first, first + n) are not all of a weight's n_groups groups.
tn_status tn_pack_groups_check(const tn_weight_source *source, uint32_t n_groups, uint32_t first, uint32_t n);

#endif
