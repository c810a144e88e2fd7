// The copy of a float head that screens its rows: int8 panels, and for each row the norms that bound what the copy can be wrong by.
#ifndef TN_CPU_PACK_SCREEN_H
#define TN_CPU_PACK_SCREEN_H

#include "cpu/kernel.h"

#include <string.h>

// Columns that share a scale of the panels (layout Q8_16), and of the activations that are multiplied with them.
#define TN_SCREEN_GROUP 32u
// Scales are 0 or at least this: times the least scale of activations (1e-5 / 127 > 2^-24) no product is below 2^-50, where FL would make
// it 0.
#define TN_SCREEN_SCALE_MIN 0x1p-26f
// Norms of a panel: f32 residual[16], then f32 codes[16].
#define TN_SCREEN_NORM_BYTES 128u

// Where the copy lies. Borrows the packed bytes.
typedef struct tn_cpu_screen {
    const uint8_t *panels; // Q8_16; NULL: there is no copy
    size_t panel_bytes;
    // [panels][2][16]: at least the Euclidean norm of a row minus what its panel holds, and of what its panel holds. A residual of
    // infinity: the panel says nothing of the row. Padding rows: 0.
    const float *norms;
} tn_cpu_screen;

// Whether a source's rows can be screened: float types, whole groups of columns.
bool tn_cpu_screen_fits(const tn_weight_source *source);
// Fills a panel and its norms from up to 16 rows as kernels read them (FL applied). n_cols: a multiple of TN_SCREEN_GROUP.
void tn_cpu_pack_screen(tn_dtype dtype, const uint8_t *rows, size_t row_stride, uint32_t n_rows, uint32_t n_cols, uint8_t *panel,
                        float *norms);

// At least the square root of s >= 0; NaN stays, and what is too large for f64 becomes infinity.
static inline double tn_cpu_sqrt_up(double s)
{
    if (!(s > 0)) return s;
    if (!(s < 0x1p1000)) return (double)__builtin_inff();
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    bits = (bits >> 1) + ((uint64_t)1023 << 51); // within 7 %
    double y;
    memcpy(&y, &bits, sizeof y);
    // (y + s/y) / 2 is at least the root for every y > 0; the last factor makes up for its roundings.
    for (int i = 0; i < 4; i++) y = 0.5 * (y + (s / y));
    return y * (1 + 0x1p-50);
}

#endif
