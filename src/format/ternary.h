// Ternary tensor types to the one canonical form, values -1, 0, +1 and positive scales, and back.
#ifndef TN_FORMAT_TERNARY_H
#define TN_FORMAT_TERNARY_H

#include "format/gguf.h"

// A ternary tensor in a file, read row by row. Borrows the file's bytes. Plain data: no deinit needed.
typedef struct tn_ternary_tensor {
    tn_dtype dtype;
    uint32_t n_rows, n_cols;
    const uint8_t *data;
    float scale; // one a tensor, >= 0, FL applied (docs/design/0001-numerics.md); a negative scale in the file has its sign moved into the
                 // codes
    bool negate; // private: the sign of the file's scale
    const char *name; // for messages: borrowed text of name_len bytes
    size_t name_len;
} tn_ternary_tensor;

// Reads scale and shape. TQ1_0/TQ2_0: blocks whose codes are all 0 do not count; where the others' scales differ, UNSUPPORTED by name.
// Errors: BAD_FILE (scale not finite, shape), UNSUPPORTED.
tn_status tn_ternary_open(const tn_gguf_tensor *tensor, tn_ternary_tensor *out);
// Writes rows [row, row + n) as values -1, 0, +1 into codes [n][n_cols].   Threads: any.
// Errors: BAD_FILE for a code 3, with its place.
tn_status tn_ternary_read_rows(const tn_ternary_tensor *tensor, uint32_t row, uint32_t n, int8_t *codes);
// Packs codes [n_rows][n_cols] with one scale into the file form of `dtype` (bytes: tn_dtype_size), deterministic in every byte.
// Errors: INVALID_ARGUMENT (n_cols not a multiple of the block; code out of range).
tn_status tn_ternary_write(tn_dtype dtype, const int8_t *codes, uint32_t n_rows, uint32_t n_cols, float scale, uint8_t *out);
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
