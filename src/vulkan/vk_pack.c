// Canonical weights to the layouts of vk_pack.h: sizes, and groups of rows.
#include "vulkan/vk_pack.h"

#include "backend/pack_source.h"
#include "backend/pack_units.h"
#include "base/checked.h"
#include "base/exact_math.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and packed weights are little-endian");

enum { GROUP_ROWS = 16, CHUNK_COLS = 64, UNIT_WORDS = 4, UNIT_BYTES = 16, ROW_ELEMENTS = 32 };

static tn_vk_layout layout_of(const tn_weight_source *source)
{
    if (source->kind == TN_WEIGHT_TERNARY) return TN_VK_LAYOUT_TERNARY;
    if (source->kind == TN_WEIGHT_TABLE) return TN_VK_LAYOUT_TABLE;
    if (source->n_rows == 1 && tn_dtype_get(source->dtype)->block_elements == 1)
        return TN_VK_LAYOUT_F32; // gains, which shaders read as f32
    switch (source->dtype) {
    case TN_DTYPE_F16: return TN_VK_LAYOUT_F16;
    case TN_DTYPE_BF16: return TN_VK_LAYOUT_BF16;
    case TN_DTYPE_Q8_0: return TN_VK_LAYOUT_Q8_0;
    case TN_DTYPE_Q4_0: return TN_VK_LAYOUT_Q4_0;
    case TN_DTYPE_Q6_K: return TN_VK_LAYOUT_Q6_K;
    default: return TN_VK_LAYOUT_F32;
    }
}

static uint32_t n_units_of(tn_vk_layout layout, uint32_t n_cols)
{
    const uint64_t blocks = ((uint64_t)n_cols + TN_UNIT_BLOCK_COLS - 1) / TN_UNIT_BLOCK_COLS;
    const uint64_t elements = ((uint64_t)n_cols + ROW_ELEMENTS - 1) / ROW_ELEMENTS * ROW_ELEMENTS;
    switch (layout) {
    case TN_VK_LAYOUT_TERNARY: return (uint32_t)(((uint64_t)n_cols + CHUNK_COLS - 1) / CHUNK_COLS);
    case TN_VK_LAYOUT_F32: return (uint32_t)(elements / 4);
    case TN_VK_LAYOUT_F16:
    case TN_VK_LAYOUT_BF16: return (uint32_t)(elements / 8);
    case TN_VK_LAYOUT_Q8_0: return (uint32_t)(blocks * TN_Q8_0_UNITS);
    case TN_VK_LAYOUT_Q4_0: return (uint32_t)(blocks * TN_Q4_0_UNITS);
    case TN_VK_LAYOUT_Q6_K: return (uint32_t)(blocks * TN_Q6_K_UNITS);
    case TN_VK_LAYOUT_TABLE: break;
    }
    return 0;
}

// False where a size does not fit into 64 bits, in bytes.
static bool sizes_of(const tn_weight_source *source, tn_vk_weight_shape *s)
{
    uint64_t row_words = (uint64_t)s->n_units * UNIT_WORDS, scales, bytes;
    if (s->layout == TN_VK_LAYOUT_TABLE) row_words = s->n_cols;
    s->group_words = row_words * s->interleave; // below 2^38
    if (s->layout == TN_VK_LAYOUT_Q6_K) s->scale_words = (uint64_t)s->n_blocks * s->interleave;
    if (s->layout == TN_VK_LAYOUT_TERNARY && source->scale_kind == TN_SCALE_ROW) s->scale_words = s->interleave;
    if (!tn_ckd_mul(s->group_words, s->n_groups, &s->scales_at) || !tn_ckd_mul(s->scale_words, s->n_groups, &scales)) return false;
    if (s->layout == TN_VK_LAYOUT_TERNARY && s->scale_words == 0) scales = 1;
    return tn_ckd_add(s->scales_at, scales, &s->n_words) && tn_ckd_round_up(s->n_words, UNIT_WORDS, &s->n_words) &&
           tn_ckd_mul(s->n_words, sizeof(uint32_t), &bytes);
}

tn_status tn_vk_weight_shape_of(const tn_weight_source *source, tn_vk_weight_shape *out_shape)
{
    *out_shape = (tn_vk_weight_shape){0};
    TN_TRY(tn_pack_source_check(source, "Vulkan"));
    tn_vk_weight_shape s = {.layout = layout_of(source), .n_rows = source->n_rows, .n_cols = source->n_cols};
    const bool alone = s.layout == TN_VK_LAYOUT_TABLE || (s.layout != TN_VK_LAYOUT_TERNARY && source->n_rows == 1);
    s.interleave = alone ? 1 : GROUP_ROWS;
    s.n_groups = (uint32_t)(((uint64_t)s.n_rows + s.interleave - 1) / s.interleave);
    s.n_units = n_units_of(s.layout, s.n_cols);
    s.padded_bytes = (uint64_t)s.n_units * UNIT_BYTES;
    if (s.layout == TN_VK_LAYOUT_Q6_K) s.n_blocks = s.n_cols / TN_UNIT_BLOCK_COLS;
    if (!sizes_of(source, &s)) return tn_pack_source_too_large(source);
    *out_shape = s;
    return TN_OK;
}

static uint32_t load_u32(const void *bytes)
{
    uint32_t v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

// 64 values as codes 0, 1, 2.
static void pack_chunk(const int8_t values[CHUNK_COLS], uint32_t unit[4])
{
    const uint32_t ones = 0x01010101u;
    for (size_t s = 0; s < 4; s++) {
        uint32_t word = 0;
        // -1 is 0xff: of v + 1 without carries between bytes the low two bits are right.
        for (size_t i = 0; i < 4; i++) word |= (((load_u32(values + 16 * s + 4 * i) & 3 * ones) + ones) & 3 * ones) << (2 * i);
        unit[s] = word;
    }
}

static void pack_ternary(const int8_t *values, uint32_t n_cols, const tn_unit_row *row)
{
    const size_t whole = n_cols / CHUNK_COLS, rest = n_cols % CHUNK_COLS;
    uint32_t unit[4];
    for (size_t c = 0; c < whole; c++) {
        pack_chunk(values + c * CHUNK_COLS, unit);
        tn_unit_store(row, c, unit);
    }
    if (rest == 0) return;
    int8_t last[CHUNK_COLS] = {0};
    memcpy(last, values + whole * CHUNK_COLS, rest);
    pack_chunk(last, unit);
    tn_unit_store(row, whole, unit);
}

static void pack_elements(const tn_weight_source *source, const tn_vk_weight_shape *shape, const uint8_t *src, uint8_t *padded,
                          const tn_unit_row *row)
{
    const tn_dtype to = shape->layout == TN_VK_LAYOUT_F16    ? TN_DTYPE_F16
                        : shape->layout == TN_VK_LAYOUT_BF16 ? TN_DTYPE_BF16
                                                             : TN_DTYPE_F32;
    const uint32_t unit_elements = to == TN_DTYPE_F32 ? 4 : 8;
    tn_pack_floats(source->dtype, src, to, shape->n_cols, shape->n_units * unit_elements, padded);
    for (size_t u = 0; u < shape->n_units; u++) tn_unit_store(row, u, padded + u * UNIT_BYTES);
}

// One group; `scales`: scale_words of them.
static tn_status pack_group(const tn_vk_weight_shape *shape, const tn_weight_source *source, uint32_t group, uint8_t *scratch,
                            uint32_t *units, uint32_t *scales)
{
    tn_pack_scratch parts;
    TN_TRY(tn_pack_scratch_of(source, shape->interleave, shape->padded_bytes, &parts));
    const uint32_t row0 = group * shape->interleave, left = shape->n_rows - row0;
    const uint32_t rows = left < shape->interleave ? left : shape->interleave;
    if (rows < shape->interleave) {
        memset(units, 0, shape->group_words * sizeof *units);
        memset(scales, 0, shape->scale_words * sizeof *scales);
    }
    if (shape->layout == TN_VK_LAYOUT_TABLE) return source->read_rows(source, row0, 1, units);
    TN_TRY(source->read_rows(source, row0, rows, scratch));
    for (uint32_t r = 0; r < rows; r++) {
        const uint8_t *src = scratch + r * tn_pack_source_row_bytes(source);
        const tn_unit_row row = {units + r * UNIT_WORDS, (size_t)shape->interleave * UNIT_WORDS};
        switch (shape->layout) {
        case TN_VK_LAYOUT_TERNARY: pack_ternary((const int8_t *)src, shape->n_cols, &row); break;
        case TN_VK_LAYOUT_Q8_0: tn_pack_units_q8_0(src, shape->n_cols, &row); break;
        case TN_VK_LAYOUT_Q4_0: tn_pack_units_q4_0(src, shape->n_cols, &row); break;
        case TN_VK_LAYOUT_Q6_K: tn_pack_units_q6_k(src, shape->n_cols, &row, scales + r, shape->interleave); break;
        default: pack_elements(source, shape, src, scratch + parts.rows_bytes, &row); break;
        }
        if (shape->layout == TN_VK_LAYOUT_TERNARY && shape->scale_words) scales[r] = tn_bits(tn_fl(source->scales[row0 + r]));
    }
    return TN_OK;
}

tn_status tn_vk_pack_rows(const tn_vk_weight_shape *shape, const tn_weight_source *source, uint32_t first_group, uint32_t n_groups,
                          void *scratch, uint32_t *dst)
{
    TN_TRY(tn_pack_groups_check(source, shape->n_groups, first_group, n_groups));
    uint32_t *scales = dst + n_groups * shape->group_words;
    for (uint32_t i = 0; i < n_groups; i++)
        TN_TRY(pack_group(shape, source, first_group + i, scratch, dst + i * shape->group_words, scales + i * shape->scale_words));
    return TN_OK;
}
