// Canonical weights to the layouts of kernel.h, 16 rows at a time.
#include "cpu/pack.h"

#include "base/checked.h"
#include "base/exact_math.h"
#include "cpu/pack_q6_k.h"
#include "cpu/t5.h"
#include "cpu/tmpl/matmul_half.h"

#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and packed weights are little-endian");

enum { GROUP_ROWS = 16, ALIGNMENT = 64, Q8_0_BYTES = 34, Q4_0_BYTES = 18, Q8_0_ELEMENTS = 32 };

// Sizes of a packed weight, all from its source. pack_layout has checked that none overflows.
typedef struct shape {
    tn_cpu_layout layout;
    uint64_t source_row_bytes; // as read_rows writes it
    uint64_t stride_bytes;     // of a panel or a row
    uint64_t scales_offset;    // T2_16, T5_16: end of the codes
    uint32_t block_cols;       // T2_16, T5_16: columns of a block
    uint64_t screen_offset;    // ROWS_Q8_16: the panels of the copy, and their norms
    uint64_t norms_offset;
    uint64_t screen_panel_bytes;
    uint64_t size_bytes;
} shape;

static uint64_t n_groups(const tn_weight_source *source) { return ((uint64_t)source->n_rows + GROUP_ROWS - 1) / GROUP_ROWS; }

// False where a size does not fit into 64 bits.
static bool shape_panels(uint64_t block_bytes, uint64_t n_blocks, uint64_t groups, uint64_t bytes_after, shape *s)
{
    if (!tn_ckd_mul(block_bytes, n_blocks, &s->stride_bytes)) return false;
    if (!tn_ckd_mul(s->stride_bytes, groups, &s->scales_offset)) return false;
    return tn_ckd_add(s->scales_offset, bytes_after, &s->size_bytes);
}

static bool shape_rows(const tn_weight_source *source, shape *s)
{
    s->layout = TN_CPU_LAYOUT_ROWS;
    s->stride_bytes = s->source_row_bytes;
    // Rows of blocks lie as close as in the file; kernels of element types read whole vectors.
    const bool blocks = tn_dtype_get(source->dtype)->block_elements > 1;
    if (!blocks && !tn_ckd_round_up(s->source_row_bytes, ALIGNMENT, &s->stride_bytes)) return false;
    if (!tn_ckd_mul(s->stride_bytes, source->n_rows, &s->size_bytes)) return false;
    return tn_ckd_round_up(s->size_bytes, ALIGNMENT, &s->size_bytes);
}

// Rows, panels, norms.
static bool shape_screened(const tn_weight_source *source, shape *s)
{
    uint64_t panels_bytes, norms_bytes;
    s->layout = TN_CPU_LAYOUT_ROWS_Q8_16;
    s->screen_offset = s->size_bytes;
    return tn_ckd_mul(source->n_cols / TN_SCREEN_GROUP, (uint64_t)TN_Q8_BLOCK_BYTES, &s->screen_panel_bytes) &&
           tn_ckd_mul(s->screen_panel_bytes, n_groups(source), &panels_bytes) &&
           tn_ckd_mul(n_groups(source), (uint64_t)TN_SCREEN_NORM_BYTES, &norms_bytes) &&
           tn_ckd_add(s->screen_offset, panels_bytes, &s->norms_offset) && tn_ckd_add(s->norms_offset, norms_bytes, &s->size_bytes);
}

static bool shape_of(const tn_weight_source *source, tn_cpu_layout ternary, shape *s)
{
    const uint64_t cols = source->n_cols, groups = n_groups(source);
    *s = (shape){0};
    if (source->kind == TN_WEIGHT_TERNARY) {
        s->layout = ternary;
        s->block_cols = ternary == TN_CPU_LAYOUT_T5_16 ? TN_T5_COLS : TN_T2_COLS;
        s->source_row_bytes = cols;
        return shape_panels(TN_T2_BLOCK_BYTES, (cols + s->block_cols - 1) / s->block_cols, groups, groups * GROUP_ROWS * sizeof(float), s);
    }
    s->source_row_bytes = tn_dtype_row_bytes(source->dtype, cols);
    if (source->dtype == TN_DTYPE_Q8_0) {
        s->layout = TN_CPU_LAYOUT_Q8_16;
        return shape_panels(TN_Q8_BLOCK_BYTES, cols / Q8_0_ELEMENTS, groups, 0, s);
    }
    if (source->dtype == TN_DTYPE_Q4_0) {
        s->layout = TN_CPU_LAYOUT_Q4_16;
        return shape_panels(TN_Q4_BLOCK_BYTES, cols / Q8_0_ELEMENTS, groups, 0, s);
    }
    if (source->dtype == TN_DTYPE_Q6_K) {
        s->layout = TN_CPU_LAYOUT_Q6_16;
        return shape_panels(TN_Q6_BLOCK_BYTES, cols / TN_Q6_K_ELEMENTS, groups, 0, s);
    }
    if (!shape_rows(source, s)) return false;
    return source->screening == TN_SCREENING_NONE || !tn_cpu_screen_fits(source) || shape_screened(source, s);
}

tn_status tn_cpu_pack_layout(const tn_weight_source *source, tn_cpu_layout ternary, tn_weight_layout *out_layout)
{
    *out_layout = (tn_weight_layout){0};
    const tn_dtype_info *type = tn_dtype_get(source->dtype);
    if (source->n_rows == 0 || source->n_cols == 0) {
        return tn_fail(TN_BAD_FILE, "%.200s is empty (%u x %u): get another copy of the model", source->name, source->n_rows,
                       source->n_cols);
    }
    if (source->kind != TN_WEIGHT_TERNARY) {
        if (type->class_ != TN_CLASS_DENSE || (source->kind == TN_WEIGHT_TABLE && source->dtype != TN_DTYPE_F32)) {
            char names[TN_DTYPE_NAMES_BYTES];
            return tn_fail(TN_UNSUPPORTED, "%.200s is %s, which the CPU does not take in this place: convert it to one of %s", source->name,
                           type->name, tn_dtype_names(TN_CLASS_DENSE, names));
        }
        if (source->n_cols % type->block_elements != 0) {
            return tn_fail(TN_BAD_FILE,
                           "%.200s has rows of %u elements, not a multiple of the %u of a %s block: get another copy of the model",
                           source->name, source->n_cols, type->block_elements, type->name);
        }
    }
    shape s;
    if (!shape_of(source, ternary, &s)) {
        return tn_fail(TN_BAD_FILE, "the size of %.200s (%u x %u) overflows 64 bits: get another copy of the model", source->name,
                       source->n_rows, source->n_cols);
    }
    *out_layout = (tn_weight_layout){.layout_id = (uint32_t)s.layout,
                                     .size_bytes = s.size_bytes,
                                     .alignment_bytes = ALIGNMENT,
                                     .screen_bytes = s.screen_offset ? s.size_bytes - s.screen_offset : 0};
    return TN_OK;
}

void tn_cpu_pack_view(const tn_weight_source *source, tn_cpu_layout ternary, const uint8_t *packed, tn_cpu_weight *out_weight)
{
    shape s;
    bool fits = shape_of(source, ternary, &s);
    assert(fits);
    (void)fits;
    const bool screened = s.layout == TN_CPU_LAYOUT_ROWS_Q8_16;
    *out_weight = (tn_cpu_weight){.layout = screened ? TN_CPU_LAYOUT_ROWS : s.layout,
                                  .data = packed,
                                  .stride_bytes = s.stride_bytes,
                                  .n_blocks = s.block_cols ? (source->n_cols + s.block_cols - 1) / s.block_cols : 0,
                                  .scales = s.block_cols ? (const float *)(const void *)(packed + s.scales_offset) : NULL,
                                  .dtype = source->dtype,
                                  .n_rows = source->n_rows,
                                  .n_cols = source->n_cols};
    if (!screened) return;
    out_weight->screen = (tn_cpu_screen){.panels = packed + s.screen_offset,
                                         .panel_bytes = s.screen_panel_bytes,
                                         .norms = (const float *)(const void *)(packed + s.norms_offset)};
}

uint32_t tn_cpu_pack_n_groups(const tn_weight_source *source) { return (uint32_t)n_groups(source); }

size_t tn_cpu_pack_scratch_bytes(const tn_weight_source *source)
{
    shape s;
    bool fits = shape_of(source, TN_CPU_LAYOUT_T2_16, &s); // rows are read in the same form for both
    assert(fits);
    (void)fits;
    return GROUP_ROWS * s.source_row_bytes;
}

// Eight values -1, 0, +1 as codes 0, 1, 2, a byte each.
static uint64_t codes8(const int8_t *values)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t v;
    memcpy(&v, values, sizeof v);
    return ((v & 3 * ones) + ones) & 3 * ones;
}

// A block's values of two rows to their eight bytes, the second row `cols` behind the first.
typedef void pack_block_fn(const int8_t *values, size_t cols, uint8_t *dst);

static uint64_t t2_row(const int8_t *values)
{
    const uint64_t v = codes8(values) | codes8(values + 8) << 4; // values 0-3 and 8-11 in the low half, the others in the high one
    return (v | v >> 30) & UINT32_MAX;
}

static void pack_t2(const int8_t *values, size_t cols, uint8_t *dst)
{
    const uint64_t v = t2_row(values) | t2_row(values + cols) << 32;
    memcpy(dst, &v, sizeof v);
}

static uint64_t t5_states(const int8_t *values)
{
    const uint64_t v = codes8(values) + 9 * codes8(values + 8);
    return (v & UINT32_MAX) + 3 * (v >> 32); // no byte passes 80
}

static void pack_t5(const int8_t *values, size_t cols, uint8_t *dst)
{
    const uint64_t states = t5_states(values) | t5_states(values + cols) << 32;
    const uint64_t fifths = codes8(values + 12) >> 32 | (codes8(values + cols + 12) & ~(uint64_t)UINT32_MAX);
    const uint64_t v = tn_t5_bytes(states, fifths);
    memcpy(dst, &v, sizeof v);
}

// Inlined for each layout, the block's function with it. `values`: 16 rows, zeros where the weight has none.
static inline void pack_panel(const int8_t *values, size_t cols, uint8_t *panel, const size_t block_cols, pack_block_fn *pack_block)
{
    const size_t whole = cols / block_cols, rest = cols % block_cols;
    for (size_t r = 0; r < GROUP_ROWS; r += 2) {
        const int8_t *row = values + r * cols;
        uint8_t *dst = panel + 4 * r;
        for (size_t b = 0; b < whole; b++) pack_block(row + b * block_cols, cols, dst + b * TN_T2_BLOCK_BYTES);
        if (rest == 0) continue;
        int8_t last[2 * TN_T5_COLS] = {0};
        memcpy(last, row + whole * block_cols, rest);
        memcpy(last + block_cols, row + cols + whole * block_cols, rest);
        pack_block(last, block_cols, dst + whole * TN_T2_BLOCK_BYTES);
    }
}

static void pack_ternary(const tn_weight_source *source, const shape *s, uint32_t row0, uint32_t rows, uint8_t *packed, int8_t *values)
{
    uint8_t *panel = packed + row0 / GROUP_ROWS * s->stride_bytes;
    memset(values + rows * s->source_row_bytes, 0, (GROUP_ROWS - rows) * s->source_row_bytes); // padding
    if (s->layout == TN_CPU_LAYOUT_T5_16) {
        pack_panel(values, source->n_cols, panel, TN_T5_COLS, pack_t5);
    } else {
        pack_panel(values, source->n_cols, panel, TN_T2_COLS, pack_t2);
    }
    float scales[GROUP_ROWS] = {0};
    for (uint32_t r = 0; r < rows; r++) scales[r] = tn_fl(source->scales[source->scale_kind == TN_SCALE_ROW ? row0 + r : 0]);
    memcpy(packed + s->scales_offset + row0 * sizeof(float), scales, sizeof scales);
}

// Q8_0 codes become unsigned by their sign bit; Q4_0 bytes hold the two elements that Q4_16's do. Four bytes of a row at a time.
static void pack_q8(const tn_weight_source *source, const shape *s, uint32_t row0, uint32_t rows, uint8_t *packed, const uint8_t *src)
{
    const bool q4 = source->dtype == TN_DTYPE_Q4_0;
    const size_t file_block = q4 ? Q4_0_BYTES : Q8_0_BYTES, block_bytes = q4 ? TN_Q4_BLOCK_BYTES : TN_Q8_BLOCK_BYTES;
    const uint32_t sign_bits = q4 ? 0 : 0x80808080u, n_groups = q4 ? 4 : 8;
    uint8_t *panel = packed + row0 / GROUP_ROWS * s->stride_bytes;
    for (uint32_t b = 0; b < source->n_cols / Q8_0_ELEMENTS; b++, panel += block_bytes) {
        float scales[GROUP_ROWS] = {0};
        if (rows < GROUP_ROWS) memset(panel + 64, q4 ? 0x88 : 128, block_bytes - 64);
        for (uint32_t r = 0; r < rows; r++) {
            const uint8_t *block = src + r * s->source_row_bytes + b * file_block;
            scales[r] = tn_fl(tn_widen_f16(tn_load_u16(block)));
            for (uint32_t g = 0; g < n_groups; g++) {
                uint32_t codes;
                memcpy(&codes, block + 2 + 4 * g, sizeof codes);
                codes ^= sign_bits;
                memcpy(panel + 64 + 64 * g + 4 * r, &codes, sizeof codes);
            }
        }
        memcpy(panel, scales, sizeof scales);
    }
}

static void fl_f32(uint8_t *row, uint32_t n)
{
    float *v = (float *)(void *)row; // rows are 64-byte aligned
    for (uint32_t i = 0; i < n; i++) v[i] = tn_fl(v[i]);
}

static void fl_bf16(uint8_t *row, uint32_t n)
{
    uint16_t *v = (uint16_t *)(void *)row;
    for (uint32_t i = 0; i < n; i++) v[i] = (v[i] & 0x7fffu) < (TN_ABS_BITS_2M50 >> 16) ? 0 : v[i];
}

// f16 needs no FL, nor do the f16 scales of blocks: their smallest subnormal is 2^-24. A table is taken as it is.
static void pack_rows(const tn_weight_source *source, const shape *s, uint32_t row0, uint32_t rows, uint8_t *packed, const uint8_t *src)
{
    for (uint32_t r = 0; r < rows; r++) {
        uint8_t *dst = packed + ((uint64_t)row0 + r) * s->stride_bytes;
        memcpy(dst, src + r * s->source_row_bytes, s->source_row_bytes);
        memset(dst + s->source_row_bytes, 0, s->stride_bytes - s->source_row_bytes);
        if (source->kind != TN_WEIGHT_DENSE) continue;
        if (source->dtype == TN_DTYPE_F32) fl_f32(dst, source->n_cols);
        if (source->dtype == TN_DTYPE_BF16) fl_bf16(dst, source->n_cols);
    }
}

// The copy of rows that were packed.
static void pack_screen(const tn_weight_source *source, const shape *s, uint32_t row0, uint32_t rows, uint8_t *packed)
{
    const uint64_t panel = row0 / GROUP_ROWS;
    tn_cpu_pack_screen(source->dtype, packed + row0 * s->stride_bytes, s->stride_bytes, rows, source->n_cols,
                       packed + s->screen_offset + panel * s->screen_panel_bytes,
                       (float *)(void *)(packed + s->norms_offset + panel * TN_SCREEN_NORM_BYTES));
}

tn_status tn_cpu_pack_group(const tn_weight_source *source, tn_cpu_layout ternary, uint32_t group, uint8_t *packed, void *scratch)
{
    shape s;
    if (!shape_of(source, ternary, &s) || group >= n_groups(source)) {
        return tn_fail(TN_INTERNAL, "group %u of %.200s does not exist: please report this", group, source->name);
    }
    const uint32_t row0 = group * GROUP_ROWS;
    const uint32_t rows = source->n_rows - row0 < GROUP_ROWS ? source->n_rows - row0 : GROUP_ROWS;
    TN_TRY(source->read_rows(source, row0, rows, scratch));
    switch (s.layout) {
    case TN_CPU_LAYOUT_T2_16:
    case TN_CPU_LAYOUT_T5_16: pack_ternary(source, &s, row0, rows, packed, scratch); break;
    case TN_CPU_LAYOUT_Q8_16:
    case TN_CPU_LAYOUT_Q4_16: pack_q8(source, &s, row0, rows, packed, scratch); break;
    case TN_CPU_LAYOUT_Q6_16: tn_cpu_pack_q6_k(scratch, s.source_row_bytes, rows, source->n_cols, packed + group * s.stride_bytes); break;
    case TN_CPU_LAYOUT_ROWS: pack_rows(source, &s, row0, rows, packed, scratch); break;
    case TN_CPU_LAYOUT_ROWS_Q8_16:
        pack_rows(source, &s, row0, rows, packed, scratch);
        pack_screen(source, &s, row0, rows, packed);
        break;
    }
    return TN_OK;
}
