// RoPE angles: inverse frequencies correctly rounded to f64, sines and cosines rounded once to f32, the same on every machine.
#ifndef TN_MODEL_ROPE_TABLE_H
#define TN_MODEL_ROPE_TABLE_H

#include <stdint.h>

// inverse[i] = theta^(-2i/head_dim) / (scale * factors[i]) as one real number rounded to f64, i < head_dim/2.
// theta > 0, scale > 0; `factors` NULL: all 1.   Own double-double arithmetic of + - * /: no libm, no FMA.
void tn_rope_inverse_frequencies(double theta, double scale, const float *factors, uint32_t head_dim, double *inverse);
// How rope_type "llama3" of a config.json slows low frequencies down.
typedef struct tn_rope_llama3 {
    double factor, low, high; // low < high
    double old_context;       // positions that the model was trained on before
} tn_rope_llama3;
// The factors of rope_freqs.weight [head_dim/2]: 1 for wavelengths below old_context/high, `factor` above old_context/low, else
// 1 / ((1 - s)/factor + s) with s = (old_context/wavelength - low) / (high - low); in f64, rounded once to f32.
void tn_rope_llama3_factors(double theta, uint32_t head_dim, const tn_rope_llama3 *scaling, float *factors);
// sin and cos of `angle` (0 <= angle < 2^30) to 0.501 ulp of f64.
void tn_rope_sincos(double angle, double *out_sin, double *out_cos);
// One row of the table: n_pairs cosines, then n_pairs sines, of position * inverse[i] (one f64 product).
void tn_rope_row(const double *inverse, uint32_t n_pairs, uint32_t position, float *row);

#endif
