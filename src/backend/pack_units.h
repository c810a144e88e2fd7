// Single rows of quantised dense weights to units of 16 bytes, as GPUs read them; how the units of several rows lie is each backend's.
// Of 256 columns each:
//   Q8_0  16 units of 16 int8 codes, then a unit of 8 f16 scales.
//   Q4_0  8 units of codes 0..15 (nibble i of byte j of word s of unit u is column 32u + 8s + 4i + j), then a unit of 8 f16 scales.
//   Q6_K  8 units of the codes' low 4 bits as in Q4_0, 4 units of their high 2 bits (bit pair i of byte j of word s of unit u is column
//         64u + 16s + 4i + j), a unit of the 16 int8 factors; the f32 scale lies elsewhere.
// A last, short block is filled up with zeros.
#ifndef TN_BACKEND_PACK_UNITS_H
#define TN_BACKEND_PACK_UNITS_H

#include "format/dtype.h"

// Where the units of a row go: unit u to dst + u * step words.
typedef struct tn_unit_row {
    uint32_t *dst;
    size_t step;
} tn_unit_row;

static inline void tn_unit_store(const tn_unit_row *row, size_t unit, const void *bytes)
{
    __builtin_memcpy(row->dst + unit * row->step, bytes, 16);
}

enum { TN_UNIT_BLOCK_COLS = 256, TN_Q8_0_UNITS = 17, TN_Q4_0_UNITS = 9, TN_Q6_K_UNITS = 13 };

// A row of floats: to F32 (any dense type), F16 or BF16 elements with FL, in file order, in `dst`; n_cols of them, and zeros behind, up to
// n_padded.
void tn_pack_floats(tn_dtype from, const void *src, tn_dtype to, uint32_t n_cols, uint32_t n_padded, void *dst);
// Rows of blocks as in a file; n_cols a multiple of the type's block.
void tn_pack_units_q8_0(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row);
void tn_pack_units_q4_0(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row);
// Scale of block b to scales[b * scale_step].
void tn_pack_units_q6_k(const uint8_t *src, uint32_t n_cols, const tn_unit_row *row, uint32_t *scales, size_t scale_step);

#endif
