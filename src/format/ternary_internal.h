// The ternary types' own files, as ternary.c calls them. All: shapes and options have been checked; sizes fit the bytes.
#ifndef TN_FORMAT_TERNARY_INTERNAL_H
#define TN_FORMAT_TERNARY_INTERNAL_H

#include "format/ternary.h"

// What a reader writes for a code that is no ternary value, so that its place can be found afterwards.
#define TN_TERNARY_INVALID 2

static inline uint16_t tn_ternary_load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

// Readers write rows [row, row + n), each code times the sign of its scale; non-zero: some code is TN_TERNARY_INVALID times a sign.
// Writers pack codes [n_rows][n_cols] of t's shape into `out`, every byte of it.

// I2_S, TQ1_0, TQ2_0 (ternary_codes.c).
unsigned tn_i2s_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes);
void tn_i2s_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out);
unsigned tn_tq_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes);
void tn_tq_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out);
bool tn_tq_block_is_zero(tn_dtype dtype, const uint8_t *block);

// IQ1_BN, IQ2_BN, IQ2_BN_R4 (ternary_bn.c).
unsigned tn_bn_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes);
void tn_bn_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out);
float tn_bn_row_scale(const tn_ternary_tensor *t, uint32_t row); // as in the file

// TL1, TL2 (ternary_tl.c).
unsigned tn_tl_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes);
void tn_tl_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out);
// Finds the preset's tiles for t's type and shape.  Errors: UNSUPPORTED (no preset, or it lacks the shape; says which there are).
tn_status tn_tl_choose_tiles(tn_ternary_tensor *t, const tn_tl_preset *preset);

#endif
