// Second copies of packed ternary weights, made from the panels, for products of which only some rows or columns are wanted: R2_256 and
// C2_256 of kernel.h.
#ifndef TN_CPU_SPARSE_COPY_H
#define TN_CPU_SPARSE_COPY_H

#include "cpu/pack.h"

typedef enum tn_cpu_sparse_kind { TN_CPU_SPARSE_ROWS, TN_CPU_SPARSE_COLUMNS } tn_cpu_sparse_kind;

// A copy of a weight in strips of 256 * n_lines rows, which are made independently of each other. (Of R2_256 strips are only that.)
typedef struct tn_cpu_sparse_copy {
    tn_cpu_sparse_kind kind;
    uint32_t n_lines; // of a column of a strip
    tn_cpu_weight w;  // what it is made from
} tn_cpu_sparse_copy;

uint32_t tn_cpu_sparse_n_strips(const tn_cpu_sparse_copy *copy);
// False where the size does not fit into 64 bits. A multiple of 64.
bool tn_cpu_sparse_bytes(const tn_cpu_sparse_copy *copy, uint64_t *out_bytes);
// Bytes of one row of R2_256, and of a strip of C2_256.
size_t tn_cpu_sparse_row_bytes(const tn_cpu_sparse_copy *copy);
size_t tn_cpu_sparse_strip_bytes(const tn_cpu_sparse_copy *copy);
// Fills one strip of `bytes` (start of the whole copy).   Threads: any, on different strips.
void tn_cpu_sparse_fill_strip(const tn_cpu_sparse_copy *copy, uint32_t strip, uint8_t *bytes);

#endif
