// Rounds the rows of a float head to int8 and measures what that leaves: docs/design/0007-two-stage-head.md.
#include "cpu/pack_screen.h"

#include "base/exact_math.h"
#include "cpu/tmpl/matmul_half.h"

enum { PANEL_ROWS = 16, GROUPS_OF_4 = TN_SCREEN_GROUP / 4 };

// A row with larger values (or infinities, or NaN) is not screened: sums of its squares could overflow.
#define ABS_BITS_2P100 0x71800000u
// Norms are sums of at most 2^32 squares in f64, whose roundings this outweighs, with those of the norm itself to f32.
static const double norm_slack = 1 + 0x1p-18;

bool tn_cpu_screen_fits(const tn_weight_source *source)
{
    const bool is_float = source->dtype == TN_DTYPE_F32 || source->dtype == TN_DTYPE_F16 || source->dtype == TN_DTYPE_BF16;
    return source->kind == TN_WEIGHT_DENSE && is_float && source->n_rows > 1 && source->n_cols % TN_SCREEN_GROUP == 0;
}

// As tn_widen_f16, in a form that compilers turn into vectors.
static inline float widen_f16_flat(uint16_t h)
{
    const int32_t magnitude = h & 0x7fff, normal = (magnitude << 13) + (112 << 23);
    const float subnormal = tn_float((uint32_t)((magnitude << 13) + (113 << 23))) - 0x1p-14f; // exact; of others it is not used
    const int32_t is_subnormal = -(int32_t)(magnitude < 0x400), is_special = -(int32_t)(magnitude >= 0x7c00);
    const uint32_t bits = (uint32_t)((normal + (is_special & (112 << 23))) & ~is_subnormal) | (tn_bits(subnormal) & (uint32_t)is_subnormal);
    return tn_float(bits | (uint32_t)(h & 0x8000) << 16);
}

// Elements [k, k + 32) of a row. Returns their largest absolute bits.
static uint32_t read_group(tn_dtype dtype, const uint8_t *row, uint32_t k, float w[TN_SCREEN_GROUP])
{
    uint16_t half[TN_SCREEN_GROUP];
    if (dtype == TN_DTYPE_F32) {
        memcpy(w, row + 4 * (size_t)k, TN_SCREEN_GROUP * sizeof *w);
    } else {
        memcpy(half, row + 2 * (size_t)k, sizeof half);
        if (dtype == TN_DTYPE_F16) {
            for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) w[i] = widen_f16_flat(half[i]);
        } else {
            for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) w[i] = tn_widen_bf16(half[i]);
        }
    }
    uint32_t absmax = 0;
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) absmax = tn_abs_bits(w[i]) > absmax ? tn_abs_bits(w[i]) : absmax;
    return absmax;
}

// Sums of squares of a row.
typedef struct squares {
    double residual, codes;
    bool is_too_large;
} squares;

// Quantises 32 elements and adds to the row's sums what was stored and what it is wrong by; both differences are exact in f64.
static float quantise(const float w[TN_SCREEN_GROUP], uint32_t absmax, uint8_t codes[TN_SCREEN_GROUP], squares *sums)
{
    memset(codes, 128, TN_SCREEN_GROUP);
    if (absmax >= ABS_BITS_2P100) sums->is_too_large = true;
    if (absmax == 0 || sums->is_too_large) return 0.0f;
    const float wanted = tn_float(absmax) * (float)(1.0 / 127.0);
    const float scale = wanted > TN_SCREEN_SCALE_MIN ? wanted : TN_SCREEN_SCALE_MIN;
    const float to_codes = tn_recip(scale);
    int32_t q[TN_SCREEN_GROUP], sum_of_squares = 0;
    double r[TN_SCREEN_GROUP], even = 0, odd = 0;
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) q[i] = tn_round_int(w[i] * to_codes);
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) r[i] = (double)w[i] - ((double)scale * q[i]);
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i += 2) {
        even += r[i] * r[i];
        odd += r[i + 1] * r[i + 1];
    }
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) sum_of_squares += q[i] * q[i];
    for (uint32_t i = 0; i < TN_SCREEN_GROUP; i++) codes[i] = (uint8_t)(q[i] + 128);
    sums->residual += even + odd;
    sums->codes += ((double)scale * scale) * sum_of_squares;
    return scale;
}

// At least the root of a sum of squares, as f32.
static float norm_of(double sum)
{
    const double norm = tn_cpu_sqrt_up(sum) * norm_slack;
    return norm < 0x1p127 ? (float)norm : __builtin_inff();
}

void tn_cpu_pack_screen(tn_dtype dtype, const uint8_t *rows, size_t row_stride, uint32_t n_rows, uint32_t n_cols, uint8_t *panel,
                        float *norms)
{
    squares sums[PANEL_ROWS] = {{0}};
    for (uint32_t k = 0; k < n_cols; k += TN_SCREEN_GROUP, panel += TN_Q8_BLOCK_BYTES) {
        float scales[PANEL_ROWS] = {0};
        if (n_rows < PANEL_ROWS) memset(panel + 64, 128, TN_Q8_BLOCK_BYTES - 64);
        for (uint32_t r = 0; r < n_rows; r++) {
            float w[TN_SCREEN_GROUP];
            uint8_t codes[TN_SCREEN_GROUP];
            const uint32_t absmax = read_group(dtype, rows + r * row_stride, k, w);
            scales[r] = quantise(w, absmax, codes, &sums[r]);
            for (uint32_t g = 0; g < GROUPS_OF_4; g++) memcpy(panel + 64 + 64 * g + 4 * r, codes + 4 * g, 4);
        }
        memcpy(panel, scales, sizeof scales);
    }
    for (uint32_t r = 0; r < PANEL_ROWS; r++) {
        norms[r] = sums[r].is_too_large ? __builtin_inff() : norm_of(sums[r].residual);
        norms[PANEL_ROWS + r] = norm_of(sums[r].codes);
    }
}
