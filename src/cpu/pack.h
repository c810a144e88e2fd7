// Canonical weights to the CPU's layouts (kernel.h), in independent groups of 16 rows.
#ifndef TN_CPU_PACK_H
#define TN_CPU_PACK_H

#include "cpu/pack_screen.h"

typedef enum tn_cpu_layout {
    TN_CPU_LAYOUT_T2_16 = 1,
    TN_CPU_LAYOUT_Q8_16,
    TN_CPU_LAYOUT_ROWS,
    TN_CPU_LAYOUT_Q6_16,
    TN_CPU_LAYOUT_T5_16,
    TN_CPU_LAYOUT_Q4_16,
    TN_CPU_LAYOUT_ROWS_Q8_16, // ROWS, then a copy in Q8_16 that screens them, with its norms
} tn_cpu_layout;

// A packed weight as kernels take it. Borrows the packed bytes.
typedef struct tn_cpu_weight {
    tn_cpu_layout layout; // of `data`: ROWS where a copy follows them
    const uint8_t *data;  // first panel or row
    size_t stride_bytes;  // ROWS: a row; else a panel of 16 rows
    uint32_t n_blocks;    // T2_16, T5_16: of a panel
    const float *scales;  // T2_16, T5_16: one a row; else NULL
    tn_dtype dtype;       // of dense elements
    uint32_t n_rows, n_cols;
    tn_cpu_screen screen;
} tn_cpu_weight;

// `ternary`, here and below: the layout of ternary sources, T2_16 or T5_16; of no meaning to others.
// Layout, size and alignment (64) of a source.  Errors: UNSUPPORTED (dtype, by name), BAD_FILE (sizes overflow).
tn_status tn_cpu_pack_layout(const tn_weight_source *source, tn_cpu_layout ternary, tn_weight_layout *out_layout);
void tn_cpu_pack_view(const tn_weight_source *source, tn_cpu_layout ternary, const uint8_t *packed, tn_cpu_weight *out_weight);
#define TN_CPU_PACK_ROWS 16u                                   // of a group
uint32_t tn_cpu_pack_n_groups(const tn_weight_source *source); // ceil(n_rows / 16)
// Bytes of scratch that packing one group needs.
size_t tn_cpu_pack_scratch_bytes(const tn_weight_source *source);
// Packs one group into `packed` (start of the whole weight). FL is applied to DENSE weights and scales.   Threads: any, on different groups
// and scratch.
tn_status tn_cpu_pack_group(const tn_weight_source *source, tn_cpu_layout ternary, uint32_t group, uint8_t *packed, void *scratch);

#endif
