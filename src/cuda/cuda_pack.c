// Canonical weights to the layouts of cuda_pack.h: sizes, and groups of rows.
#include "cuda/cuda_pack.h"

#include "backend/pack_source.h"
#include "backend/pack_units.h"
#include "base/checked.h"
#include "base/exact_math.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and packed weights are little-endian");

enum { TILE_ROWS = 16, TILE_COLS = 128, TILE_BYTES = 512, QUANT_ROWS = 32, UNIT_BYTES = 16, LANES = 32, ALIGNMENT = 256 };

static tn_cuda_layout layout_of(const tn_weight_source *source)
{
    if (source->kind == TN_WEIGHT_TERNARY) return TN_CUDA_LAYOUT_TERNARY;
    if (source->kind == TN_WEIGHT_TABLE) return TN_CUDA_LAYOUT_TABLE;
    if (source->n_rows == 1 && tn_dtype_get(source->dtype)->block_elements == 1) return TN_CUDA_LAYOUT_F32; // gains, read as f32
    switch (source->dtype) {
    case TN_DTYPE_F16: return TN_CUDA_LAYOUT_F16;
    case TN_DTYPE_BF16: return TN_CUDA_LAYOUT_BF16;
    case TN_DTYPE_Q8_0: return TN_CUDA_LAYOUT_Q8_0;
    case TN_DTYPE_Q4_0: return TN_CUDA_LAYOUT_Q4_0;
    case TN_DTYPE_Q6_K: return TN_CUDA_LAYOUT_Q6_K;
    default: return TN_CUDA_LAYOUT_F32;
    }
}

static bool is_floats(tn_cuda_layout layout)
{
    return layout == TN_CUDA_LAYOUT_F32 || layout == TN_CUDA_LAYOUT_F16 || layout == TN_CUDA_LAYOUT_BF16;
}

// Elements of floats in a unit.
static uint32_t unit_elements(tn_cuda_layout layout) { return layout == TN_CUDA_LAYOUT_F32 ? 4 : 8; }

// Units of a row and rows of a group; all below 2^33 bytes a row.
static void count_units(tn_cuda_weight_shape *s)
{
    static const uint32_t units_of_block[] = {
        [TN_CUDA_LAYOUT_Q8_0] = TN_Q8_0_UNITS, [TN_CUDA_LAYOUT_Q4_0] = TN_Q4_0_UNITS, [TN_CUDA_LAYOUT_Q6_K] = TN_Q6_K_UNITS};
    const uint64_t n_cols = s->n_cols;
    s->group_rows = 1;
    if (s->layout == TN_CUDA_LAYOUT_TERNARY) {
        s->group_rows = TILE_ROWS;
        s->n_units = s->n_blocks = (uint32_t)((n_cols + TILE_COLS - 1) / TILE_COLS);
        s->group_bytes = (uint64_t)s->n_blocks * TILE_BYTES;
    } else if (s->layout == TN_CUDA_LAYOUT_TABLE) {
        s->group_bytes = n_cols * sizeof(float);
    } else if (is_floats(s->layout)) {
        const uint64_t chunk = (uint64_t)LANES * unit_elements(s->layout);
        s->n_units = (uint32_t)((n_cols + chunk - 1) / chunk * LANES);
        s->group_bytes = s->padded_bytes = (uint64_t)s->n_units * UNIT_BYTES;
    } else {
        const uint64_t blocks = (n_cols + TN_UNIT_BLOCK_COLS - 1) / TN_UNIT_BLOCK_COLS;
        s->group_rows = QUANT_ROWS;
        s->n_units = (uint32_t)(blocks * units_of_block[s->layout]);
        s->group_bytes = (uint64_t)s->n_units * UNIT_BYTES * QUANT_ROWS;
        if (s->layout == TN_CUDA_LAYOUT_Q6_K) s->n_blocks = (uint32_t)blocks;
    }
    s->n_groups = (uint32_t)(((uint64_t)s->n_rows + s->group_rows - 1) / s->group_rows);
}

// False where a size does not fit into 64 bits.
static bool sizes_of(const tn_weight_source *source, tn_cuda_weight_shape *s)
{
    uint64_t units, scales = 0;
    count_units(s);
    const bool has_scales = s->layout == TN_CUDA_LAYOUT_TERNARY || s->layout == TN_CUDA_LAYOUT_Q6_K;
    if (s->layout == TN_CUDA_LAYOUT_Q6_K) s->group_scale_bytes = (uint64_t)s->n_blocks * QUANT_ROWS * sizeof(float);
    if (s->layout == TN_CUDA_LAYOUT_TERNARY && source->scale_kind == TN_SCALE_ROW) s->group_scale_bytes = TILE_ROWS * sizeof(float);
    if (!tn_ckd_mul(s->group_bytes, s->n_groups, &units) || !tn_ckd_round_up(units, ALIGNMENT, &units)) return false;
    if (has_scales) {
        s->scales_bytes = units;
        if (!tn_ckd_mul(s->group_scale_bytes, s->n_groups, &scales)) return false;
        if (s->group_scale_bytes == 0) scales = sizeof(float);
    }
    return tn_ckd_add(units, scales, &s->n_bytes) && tn_ckd_round_up(s->n_bytes, ALIGNMENT, &s->n_bytes);
}

tn_status tn_cuda_weight_shape_of(const tn_weight_source *source, tn_cuda_weight_shape *out_shape)
{
    *out_shape = (tn_cuda_weight_shape){0};
    TN_TRY(tn_pack_source_check(source, "CUDA"));
    tn_cuda_weight_shape s = {.layout = layout_of(source), .n_rows = source->n_rows, .n_cols = source->n_cols};
    if (!sizes_of(source, &s)) return tn_pack_source_too_large(source);
    *out_shape = s;
    return TN_OK;
}

// ---- ternary ----

static uint32_t load_u32(const void *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

// Four values -1, 0, +1 as codes 0, 1, 2, a byte each: of v + 1 without carries between bytes the low two bits are right.
static uint32_t codes_of(const int8_t *values)
{
    const uint32_t ones = 0x01010101u;
    return ((load_u32(values) & 3 * ones) + ones) & 3 * ones;
}

// One tile: rows g and g + 8 share lanes 4g to 4g + 3. `rows`: 16 rows of 128 values each.
static void pack_tile(const int8_t *rows, size_t row_step, uint8_t *dst)
{
    for (size_t lane = 0; lane < LANES; lane++) {
        const int8_t *upper = rows + lane / 4 * row_step + 32 * (lane % 4), *lower = upper + 8 * row_step;
        uint32_t words[4];
        for (size_t r = 0; r < 4; r++) {
            const int8_t *row = (r % 2 == 0 ? upper : lower) + r / 2 * 4;
            words[r] = codes_of(row) | codes_of(row + 8) << 2 | codes_of(row + 16) << 4 | codes_of(row + 24) << 6;
        }
        memcpy(dst + lane * UNIT_BYTES, words, sizeof words);
    }
}

// The tiles of up to 16 rows, whatever is missing at their sides being 0.
static void pack_tiles(const tn_cuda_weight_shape *shape, const int8_t *values, uint32_t n_rows, uint8_t *dst)
{
    const size_t n_cols = shape->n_cols;
    for (size_t b = 0; b < shape->n_blocks; b++, dst += TILE_BYTES) {
        const size_t col = b * TILE_COLS, n = n_cols - col < TILE_COLS ? n_cols - col : TILE_COLS;
        if (n_rows == TILE_ROWS && n == TILE_COLS) {
            pack_tile(values + col, n_cols, dst);
            continue;
        }
        int8_t tile[TILE_ROWS * TILE_COLS] = {0};
        for (size_t r = 0; r < n_rows; r++) memcpy(tile + r * TILE_COLS, values + r * n_cols + col, n);
        pack_tile(tile, TILE_COLS, dst);
    }
}

static void pack_row_scales(const tn_weight_source *source, uint32_t row, uint32_t n_rows, uint8_t *dst)
{
    float scales[TILE_ROWS] = {0};
    for (uint32_t r = 0; r < n_rows; r++) scales[r] = tn_fl(source->scales[row + r]);
    memcpy(dst, scales, sizeof scales);
}

// ---- dense ----

// Element e of the padded row to element (e / 32) % E of unit (e / 32E) * 32 + e % 32.
static void spread_floats(const tn_cuda_weight_shape *shape, const uint8_t *padded, uint8_t *dst)
{
    const size_t n = unit_elements(shape->layout), bytes = UNIT_BYTES / n;
    for (size_t unit = 0; unit < shape->n_units; unit++) {
        const uint8_t *src = padded + (unit / LANES * LANES * n + unit % LANES) * bytes;
        for (size_t i = 0; i < n; i++) memcpy(dst + unit * UNIT_BYTES + i * bytes, src + i * LANES * bytes, bytes);
    }
}

static void pack_float_row(const tn_cuda_weight_shape *shape, const tn_weight_source *source, const uint8_t *src, uint8_t *padded,
                           uint8_t *dst)
{
    const tn_dtype to = shape->layout == TN_CUDA_LAYOUT_F16    ? TN_DTYPE_F16
                        : shape->layout == TN_CUDA_LAYOUT_BF16 ? TN_DTYPE_BF16
                                                               : TN_DTYPE_F32;
    tn_pack_floats(source->dtype, src, to, shape->n_cols, shape->n_units * unit_elements(shape->layout), padded);
    spread_floats(shape, padded, dst);
}

static void pack_quantised(const tn_cuda_weight_shape *shape, const tn_weight_source *source, const uint8_t *src, uint32_t n_rows,
                           uint8_t *dst, uint8_t *dst_scales)
{
    if (n_rows < QUANT_ROWS) {
        memset(dst, 0, shape->group_bytes);
        memset(dst_scales, 0, shape->group_scale_bytes);
    }
    for (uint32_t r = 0; r < n_rows; r++, src += tn_pack_source_row_bytes(source)) {
        const tn_unit_row row = {(uint32_t *)(void *)(dst + r * UNIT_BYTES), QUANT_ROWS * UNIT_BYTES / 4};
        switch (shape->layout) {
        case TN_CUDA_LAYOUT_Q8_0: tn_pack_units_q8_0(src, shape->n_cols, &row); break;
        case TN_CUDA_LAYOUT_Q4_0: tn_pack_units_q4_0(src, shape->n_cols, &row); break;
        default: tn_pack_units_q6_k(src, shape->n_cols, &row, (uint32_t *)(void *)dst_scales + r, QUANT_ROWS); break;
        }
    }
}

// ---- groups ----

static tn_status pack_group(const tn_cuda_weight_shape *shape, const tn_weight_source *source, uint32_t group, uint8_t *scratch,
                            uint8_t *dst, uint8_t *dst_scales)
{
    const uint32_t row = group * shape->group_rows, left = shape->n_rows - row, n = left < shape->group_rows ? left : shape->group_rows;
    if (shape->layout == TN_CUDA_LAYOUT_TABLE) return source->read_rows(source, row, 1, dst);
    TN_TRY(source->read_rows(source, row, n, scratch));
    if (is_floats(shape->layout)) {
        tn_pack_scratch parts;
        TN_TRY(tn_pack_scratch_of(source, shape->group_rows, shape->padded_bytes, &parts));
        pack_float_row(shape, source, scratch, scratch + parts.rows_bytes, dst);
    } else if (shape->layout == TN_CUDA_LAYOUT_TERNARY) {
        pack_tiles(shape, (const int8_t *)scratch, n, dst);
        if (shape->group_scale_bytes) pack_row_scales(source, row, n, dst_scales);
    } else {
        pack_quantised(shape, source, scratch, n, dst, dst_scales);
    }
    return TN_OK;
}

tn_status tn_cuda_pack_rows(const tn_cuda_weight_shape *shape, const tn_weight_source *source, uint32_t first_group, uint32_t n_groups,
                            void *scratch, uint8_t *dst, uint8_t *dst_scales)
{
    TN_TRY(tn_pack_groups_check(source, shape->n_groups, first_group, n_groups));
    for (uint32_t i = 0; i < n_groups; i++)
        TN_TRY(
            pack_group(shape, source, first_group + i, scratch, dst + i * shape->group_bytes, dst_scales + i * shape->group_scale_bytes));
    return TN_OK;
}
