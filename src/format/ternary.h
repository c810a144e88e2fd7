// Ternary tensor types to the one canonical form, values -1, 0, +1 and positive scales, and back.
#ifndef TN_FORMAT_TERNARY_H
#define TN_FORMAT_TERNARY_H

#include "format/gguf.h"

// The order of the codes of an I2_S tensor. It is in no file and sizes do not tell; published files have the first.
typedef enum tn_i2s_layout {
    TN_I2S_X86,   // blocks of 128: a byte has elements j, j+32, j+64, j+96
    TN_I2S_ARM,   // blocks of 64: j, j+16, j+32, j+48; programs built for ARM write it
    TN_I2S_ROWS4, // a byte has one column of four rows
    TN_I2S_SEQ,   // a byte has four neighbours
} tn_i2s_layout;
// "x86", "arm", "rows4", "seq"; NULL: x86.  Errors: INVALID_ARGUMENT, which lists them.
tn_status tn_i2s_layout_parse(const char *name, tn_i2s_layout *out_layout);
uint32_t tn_i2s_block(tn_i2s_layout layout); // elements

// How one build of bitnet.cpp tiled TL1 and TL2 tensors, by shape.
typedef struct tn_tl_preset tn_tl_preset;
typedef struct tn_tl_tiles tn_tl_tiles;
// NULL: none (NULL).  Errors: INVALID_ARGUMENT, which lists the names.
tn_status tn_tl_preset_find(const char *name, const tn_tl_preset **out_preset);

const char *tn_tl_preset_name(const tn_tl_preset *preset); // "none" for NULL

// What files do not say. Zero: the defaults.
typedef struct tn_ternary_options {
    tn_i2s_layout i2s_layout;
    const tn_tl_preset *tl_preset; // NULL: TL1 and TL2 cannot be read or written
} tn_ternary_options;

// What the length of rows must be a multiple of: the type's block, for I2_S that of the order.   `options` NULL: the defaults.
uint32_t tn_ternary_block(tn_dtype dtype, const tn_ternary_options *options);

// A ternary tensor in a file, read row by row. Borrows the file's bytes. Plain data: no deinit needed.
typedef struct tn_ternary_tensor {
    tn_dtype dtype;
    uint32_t n_rows, n_cols;
    const uint8_t *data;
    uint64_t size_bytes;
    bool row_scales; // a scale a row (tn_ternary_row_scales) in place of `scale`
    float scale; // one a tensor, >= 0, FL applied (docs/design/0001-numerics.md); a negative scale in the file has its sign moved into the
                 // codes
    bool negate; // every code is negated: the sign of the file's scale, or of one that multiplies it. Rows' own signs come on top
    tn_i2s_layout i2s_layout; // private, as the next one
    const tn_tl_tiles *tiles;
    const char *name; // for messages: borrowed text of name_len bytes
    size_t name_len;
} tn_ternary_tensor;

// Reads scales and shape. TQ1_0/TQ2_0: blocks whose codes are all 0 do not count; where the others' scales differ, UNSUPPORTED by name.
// Errors: BAD_FILE (scale not finite, shape), UNSUPPORTED (also a shape that the options do not fit).
tn_status tn_ternary_open_as(const tn_gguf_tensor *tensor, const tn_ternary_options *options, tn_ternary_tensor *out);
tn_status tn_ternary_open(const tn_gguf_tensor *tensor, tn_ternary_tensor *out); // with the default options
// The scale of every row, >= 0, FL applied, into scales [n_rows].
void tn_ternary_row_scales(const tn_ternary_tensor *tensor, float *scales);
// Writes rows [row, row + n) as values -1, 0, +1 into codes [n][n_cols].   Threads: any.
// Errors: BAD_FILE for a code 3, with its place.
tn_status tn_ternary_read_rows(const tn_ternary_tensor *tensor, uint32_t row, uint32_t n, int8_t *codes);
// Packs codes [n_rows][n_cols] with one scale into the file form of `dtype` (bytes: tn_dtype_size), deterministic in every byte.
// Errors: INVALID_ARGUMENT (n_cols not a multiple of the block; code or scale out of range), UNSUPPORTED (a shape that the options do not
// fit).
tn_status tn_ternary_write_as(tn_dtype dtype, const tn_ternary_options *options, const int8_t *codes, uint32_t n_rows, uint32_t n_cols,
                              float scale, uint8_t *out);
tn_status tn_ternary_write(tn_dtype dtype, const int8_t *codes, uint32_t n_rows, uint32_t n_cols, float scale,
                           uint8_t *out); // with the default options
// Ternarises master weights [n] (docs/design/0001-numerics.md): scale = max(f32(sequential f64 sum of |w| / n), 1e-5); code = 2|w| > scale
// ? sign : 0. Streaming form: add rows with tn_absmean_add in row-major order, then take the scale.
typedef struct tn_absmean {
    double sum;
    uint64_t n;
} tn_absmean;
void tn_absmean_add(tn_absmean *mean, const float *w, size_t n);
float tn_absmean_scale(const tn_absmean *mean);
void tn_ternarise(const float *w, size_t n, float scale, int8_t *codes);

#endif
