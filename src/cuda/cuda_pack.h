// Layouts of packed weights on CUDA devices, and making them.
//
// TERNARY  codes w + 1 in 2 bits, in tiles of 16 rows x 128 columns, 512 bytes each: tile (R, b) of row tile R and column block b is number
//          R * n_blocks + b. Lane l of a warp (g = l / 4, t = l % 4) owns 16 bytes at 16 l of it; byte j, bit pair s of word
//            0: row g,     column 32t + 8s + j          1: row g + 8, the same column
//            2: row g,     column 32t + 8s + 4 + j      3: row g + 8, the same column
//          so that (word r >> 2s) & 0x03030303 is register r of the A fragment of mma.m16n8k32 for k step s, with its k index mapped to
//          the natural columns above, the words as they are are A of mma.m16n8k256 of single bits, and a lane's activations for the whole
//          block are the 32 natural bytes at 32t. Rows and columns beyond the matrix have code 1. Then, from a multiple of 256 bytes, the
//          scales: f32, one, or one a row padded to whole tiles with 0.
// FLOATS   (F32, F16, BF16, with FL): units of 16 bytes, E = 4 or 8 elements. Element e of a row is element (e / 32) % E of unit
//          (e / (32 E)) * 32 + e % 32: lane l of a warp finds elements l, l + 32, l + 64, .. side by side. Rows are padded with zeros to
//          whole 32 E. A weight of one row (gains) and types without kernels of their own are dequantised to F32 first.
// Q8_0     rows in groups of 32; unit u of the rows of a group lie side by side: unit (g, u, r) is number (g * n_units + u) * 32 + r. Of
//          256 columns: 16 units of 16 int8 codes, then a unit of 8 f16 scales.
// Q4_0     the same: 8 units of codes 0..15 (nibble i of byte j of word s of unit u is column 32u + 8s + 4i + j), then a unit of 8 f16
//          scales.
// Q6_K     the same: 8 units of the codes' low 4 bits as in Q4_0, 4 units of their high 2 bits (bit pair i of byte j of word s of unit u is
//          column 64u + 16s + 4i + j), a unit of the 16 int8 factors; from a multiple of 256 bytes after all units the f32 scales: of block
//          b of row r is number (g * n_blocks + b) * 32 + r. Codes are 0..63 (value + 32).
//          Quantised rows are padded to whole blocks of 256 with zero scales; rows to whole groups with zeros.
// TABLE    f32 as it is.
#ifndef TN_CUDA_CUDA_PACK_H
#define TN_CUDA_CUDA_PACK_H

#include "cuda/cuda_device.h"

typedef enum tn_cuda_layout {
    TN_CUDA_LAYOUT_TERNARY,
    TN_CUDA_LAYOUT_F32,
    TN_CUDA_LAYOUT_F16,
    TN_CUDA_LAYOUT_BF16,
    TN_CUDA_LAYOUT_Q8_0,
    TN_CUDA_LAYOUT_Q4_0,
    TN_CUDA_LAYOUT_Q6_K,
    TN_CUDA_LAYOUT_TABLE
} tn_cuda_layout;

// Where the parts of a packed weight lie.
typedef struct tn_cuda_weight_shape {
    tn_cuda_layout layout;
    uint32_t n_rows, n_cols;
    uint32_t n_units;           // of 16 bytes, of a row; TERNARY: column blocks of 128
    uint32_t n_blocks;          // Q6_K: of 256 columns; TERNARY: of 128
    uint32_t group_rows;        // rows that are packed together: 16 (tiles), 32, or 1
    uint64_t group_bytes;       // of a group's units or tiles
    uint64_t scales_bytes;      // where the scales begin, in bytes from the start; 0: there are none of their own
    uint64_t group_scale_bytes; // of a group's scales; TERNARY with one scale: 0
    uint64_t n_bytes;           // of all, a multiple of 256
    uint64_t padded_bytes;      // that packing needs behind a group's rows: a row of floats in whole units
    uint32_t n_groups;
} tn_cuda_weight_shape;

// Errors: UNSUPPORTED (a type that has no form here), BAD_FILE (empty, rows that are no whole blocks, larger than any memory).
tn_status tn_cuda_weight_shape_of(const tn_weight_source *source, tn_cuda_weight_shape *out_shape);
// Packs row groups [first_group, first_group + n_groups): their units or tiles into dst, their scales, if they have some of their own, into
// dst_scales. `scratch`: of tn_pack_scratch_of, aligned to 64.   Threads: any, on different memory.   Errors: those of read_rows.
tn_status tn_cuda_pack_rows(const tn_cuda_weight_shape *shape, const tn_weight_source *source, uint32_t first_group, uint32_t n_groups,
                            void *scratch, uint8_t *dst, uint8_t *dst_scales);

// The backend table's functions. Packing runs on several threads and streams to the device behind them.
tn_status tn_cuda_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout);
tn_status tn_cuda_weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes);

#endif
