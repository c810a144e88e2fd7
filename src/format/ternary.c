// Ternary tensors of files: what can be opened, their scales, rows and where a bad code lies; absmean ternarisation of master weights.
#include "format/dense.h"
#include "format/ternary_internal.h"

#define NAME_MAX_SHOWN 200
#define PLACE(t)       (int)((t)->name_len < NAME_MAX_SHOWN ? (t)->name_len : NAME_MAX_SHOWN), (t)->name
#define ANOTHER_COPY   "get another copy of the file"

// FL of docs/design/0001-numerics.md: what is below 2^-50 counts as zero.
static float flush(float z) { return (z < 0 ? -z : z) < 0x1p-50f ? 0.0f : z; }

static bool is_bn(tn_dtype dtype) { return dtype == TN_DTYPE_IQ1_BN || dtype == TN_DTYPE_IQ2_BN || dtype == TN_DTYPE_IQ2_BN_R4; }
static bool is_tl(tn_dtype dtype) { return dtype == TN_DTYPE_TL1 || dtype == TN_DTYPE_TL2; }
static bool is_tq(tn_dtype dtype) { return dtype == TN_DTYPE_TQ1_0 || dtype == TN_DTYPE_TQ2_0; }

// ---- options ----

static const struct {
    const char *name;
    uint32_t block; // elements: element j in byte j % (block / 4), bits 6 - 2 (j / (block / 4)); rows4: four rows to a byte
} i2s_layouts[] = {[TN_I2S_X86] = {"x86", 128}, [TN_I2S_ARM] = {"arm", 64}, [TN_I2S_ROWS4] = {"rows4", 4}, [TN_I2S_SEQ] = {"seq", 4}};

uint32_t tn_i2s_block(tn_i2s_layout layout) { return i2s_layouts[layout].block; }

uint32_t tn_ternary_block(tn_dtype dtype, const tn_ternary_options *options)
{
    if (dtype == TN_DTYPE_I2_S) return tn_i2s_block(options ? options->i2s_layout : TN_I2S_X86);
    return tn_dtype_get(dtype)->block_elements;
}

tn_status tn_i2s_layout_parse(const char *name, tn_i2s_layout *out_layout)
{
    *out_layout = TN_I2S_X86;
    if (name == NULL) return TN_OK;
    for (size_t i = 0; i < sizeof i2s_layouts / sizeof i2s_layouts[0]; i++) {
        if (strcmp(name, i2s_layouts[i].name) != 0) continue;
        *out_layout = (tn_i2s_layout)i;
        return TN_OK;
    }
    return tn_fail(TN_INVALID_ARGUMENT, "there is no I2_S layout '%.100s'; there are x86 (the usual one), arm, rows4 and seq", name);
}

// Takes over what of the options concerns t's type, and checks that its shape allows it. Messages name no tensor.
static tn_status apply_options(tn_ternary_tensor *t, const tn_ternary_options *options)
{
    const tn_ternary_options defaults = {0};
    if (options == NULL) options = &defaults;
    if (is_tl(t->dtype)) return tn_tl_choose_tiles(t, options->tl_preset);
    const bool rows4 = t->dtype == TN_DTYPE_IQ2_BN_R4 || (t->dtype == TN_DTYPE_I2_S && options->i2s_layout == TN_I2S_ROWS4);
    if (rows4 && t->n_rows % 4 != 0) {
        return tn_fail(TN_UNSUPPORTED, "%s stores rows by fours, and there are %u; use another type or layout",
                       tn_dtype_get(t->dtype)->name, (unsigned)t->n_rows);
    }
    if (t->dtype != TN_DTYPE_I2_S) return TN_OK;
    t->i2s_layout = options->i2s_layout;
    const uint32_t block = tn_i2s_block(t->i2s_layout);
    if (t->n_cols % block == 0) return TN_OK;
    return tn_fail(TN_UNSUPPORTED,
                   "rows of %u weights are not whole blocks of the %u of I2_S in %s order%s; otherwise use another type of this model",
                   (unsigned)t->n_cols, (unsigned)block, i2s_layouts[t->i2s_layout].name,
                   t->i2s_layout == TN_I2S_X86 ? ": a program built for ARM wrote such a file, choose that order (--i2s-layout arm)" : "");
}

// ---- opening ----

// `what` and `index` say where in the tensor the scale stands.
static tn_status check_scale(const tn_ternary_tensor *t, float scale, const char *what, uint64_t index)
{
    const float a = scale < 0 ? -scale : scale;
    if (a < 0x1p56f) return TN_OK; // false for NaN
    return tn_fail(TN_BAD_FILE, "tensor '%.*s': the scale of %s %llu is %g, which no weight can have; " ANOTHER_COPY, PLACE(t), what,
                   (unsigned long long)index, (double)scale);
}

// The scale that all blocks with a non-zero code share; 0 where no block has one.
static tn_status tq_scale(const tn_ternary_tensor *t, float *out_scale)
{
    const size_t bytes = tn_dtype_get(t->dtype)->block_bytes;
    const uint64_t n_blocks = (uint64_t)t->n_rows * t->n_cols / tn_dtype_get(t->dtype)->block_elements;
    uint64_t first = n_blocks;
    float scale = 0;
    for (uint64_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = t->data + b * bytes;
        const float d = tn_f16_to_f32(tn_ternary_load_u16(block + bytes - 2));
        TN_TRY(check_scale(t, d, "block", b));
        if ((first != n_blocks && d == scale) || tn_tq_block_is_zero(t->dtype, block)) continue;
        if (first == n_blocks) {
            first = b;
            scale = d;
        } else {
            return tn_fail(
                TN_UNSUPPORTED,
                "tensor '%.*s': its blocks have different scales (block %llu: %g, block %llu: %g); grouped scales are not read yet, "
                "convert the model with one scale a tensor",
                PLACE(t), (unsigned long long)first, (double)scale, (unsigned long long)b, (double)d);
        }
    }
    *out_scale = scale;
    return TN_OK;
}

static tn_status check_shape(const tn_gguf_tensor *tensor)
{
    const int len = (int)(tensor->name.len < 200 ? tensor->name.len : 200);
    const uint64_t n_cols = tensor->ne[0], n_rows = tensor->n_dims > 1 ? tensor->ne[1] : 1;
    for (uint32_t i = 2; i < tensor->n_dims; i++) {
        if (tensor->ne[i] != 1) {
            return tn_fail(TN_UNSUPPORTED, "tensor '%.*s': a ternary tensor of %u dimensions is not read; this model needs a later version",
                           len, tensor->name.data, (unsigned)tensor->n_dims);
        }
    }
    if (n_cols == 0 || n_rows == 0 || n_cols > INT32_MAX || n_rows > INT32_MAX) {
        return tn_fail(TN_BAD_FILE, "tensor '%.*s': shape %llu x %llu is out of range; get another copy of the file", len,
                       tensor->name.data, (unsigned long long)n_cols, (unsigned long long)n_rows);
    }
    uint64_t bytes = 0;
    if (tn_dtype_size(tensor->dtype, n_cols, n_cols * n_rows, &bytes) != TN_OK) {
        return tn_fail_prefix("tensor '%.*s': ", len, tensor->name.data);
    }
    if (bytes != tensor->size_bytes) {
        return tn_fail(TN_BAD_FILE, "tensor '%.*s': has %llu bytes where its shape needs %llu; get another copy of the file", len,
                       tensor->name.data, (unsigned long long)tensor->size_bytes, (unsigned long long)bytes);
    }
    return TN_OK;
}

// The scale of a type that has one a tensor, in its tail.
static tn_status tail_scale(const tn_ternary_tensor *t, float *out_scale)
{
    const uint32_t tail = tn_dtype_get(t->dtype)->tail_bytes;
    memcpy(out_scale, t->data + t->size_bytes - tail, sizeof(*out_scale));
    const float a = *out_scale < 0 ? -*out_scale : *out_scale;
    if (a < 0x1p56f) return TN_OK; // false for NaN
    return tn_fail(TN_BAD_FILE, "tensor '%.*s': its scale is %g, which no weight can have; " ANOTHER_COPY, PLACE(t), (double)*out_scale);
}

static tn_status check_row_scales(const tn_ternary_tensor *t)
{
    for (uint32_t r = 0; r < t->n_rows; r++) TN_TRY(check_scale(t, tn_bn_row_scale(t, r), "row", r));
    return TN_OK;
}

tn_status tn_ternary_open_as(const tn_gguf_tensor *tensor, const tn_ternary_options *options, tn_ternary_tensor *out)
{
    memset(out, 0, sizeof(*out));
    if (tn_dtype_get(tensor->dtype)->class_ != TN_CLASS_TERNARY) {
        char names[TN_DTYPE_NAMES_BYTES];
        return tn_fail(TN_UNSUPPORTED, "tensor '%.*s': type %s is not ternary; ternary weights are read from %s", TN_STR_ARGS(tensor->name),
                       tensor->type_name ? tensor->type_name : tn_dtype_get(tensor->dtype)->name, tn_dtype_names(TN_CLASS_TERNARY, names));
    }
    TN_TRY(check_shape(tensor));
    tn_ternary_tensor t = {
        .dtype = tensor->dtype,
        .n_rows = (uint32_t)(tensor->n_dims > 1 ? tensor->ne[1] : 1),
        .n_cols = (uint32_t)tensor->ne[0],
        .data = tensor->data,
        .size_bytes = tensor->size_bytes,
        .row_scales = is_bn(tensor->dtype),
        .name = tensor->name.data,
        .name_len = tensor->name.len,
    };
    if (apply_options(&t, options) != TN_OK) return tn_fail_prefix("tensor '%.*s': ", PLACE(&t));
    float scale = 0;
    if (t.row_scales) {
        TN_TRY(check_row_scales(&t));
    } else {
        TN_TRY(is_tq(t.dtype) ? tq_scale(&t, &scale) : tail_scale(&t, &scale));
    }
    t.negate = scale < 0;
    t.scale = flush(t.negate ? -scale : scale);
    *out = t;
    return TN_OK;
}

tn_status tn_ternary_open(const tn_gguf_tensor *tensor, tn_ternary_tensor *out) { return tn_ternary_open_as(tensor, NULL, out); }

void tn_ternary_row_scales(const tn_ternary_tensor *tensor, float *scales)
{
    for (uint32_t r = 0; r < tensor->n_rows; r++) {
        const float scale = tensor->row_scales ? tn_bn_row_scale(tensor, r) : tensor->scale;
        scales[r] = flush(scale < 0 ? -scale : scale);
    }
}

// ---- reading rows ----

static tn_status fail_bad_code(const tn_ternary_tensor *t, uint32_t row, uint32_t n, const int8_t *codes)
{
    const char *what = is_tl(t->dtype) ? "an index that stands for no ternary values" : "code 3, which is no ternary value";
    for (uint32_t r = 0; r < n; r++) {
        for (uint32_t c = 0; c < t->n_cols; c++) {
            const int8_t code = codes[(size_t)r * t->n_cols + c];
            if (code != TN_TERNARY_INVALID && code != -TN_TERNARY_INVALID) continue;
            return tn_fail(TN_BAD_FILE, "tensor '%.*s': row %u column %u has %s; " ANOTHER_COPY, PLACE(t), (unsigned)(row + r), (unsigned)c,
                           what);
        }
    }
    return tn_fail(TN_INTERNAL, "tensor '%.*s': an invalid code was seen but not found; please report it", PLACE(t));
}

tn_status tn_ternary_read_rows(const tn_ternary_tensor *tensor, uint32_t row, uint32_t n, int8_t *codes)
{
    if (row > tensor->n_rows || n > tensor->n_rows - row) {
        return tn_fail(TN_INVALID_ARGUMENT, "tensor '%.*s': rows %u to %llu asked for where it has %u", PLACE(tensor), (unsigned)row,
                       (unsigned long long)row + n, (unsigned)tensor->n_rows);
    }
    unsigned bad;
    if (tensor->dtype == TN_DTYPE_I2_S) {
        bad = tn_i2s_read(tensor, row, n, codes);
    } else if (is_tq(tensor->dtype)) {
        bad = tn_tq_read(tensor, row, n, codes);
    } else if (is_bn(tensor->dtype)) {
        bad = tn_bn_read(tensor, row, n, codes);
    } else {
        bad = tn_tl_read(tensor, row, n, codes);
    }
    return bad == 0 ? TN_OK : fail_bad_code(tensor, row, n, codes);
}

// ---- writing ----

static tn_status check_codes(const int8_t *codes, size_t n, uint32_t n_cols)
{
    for (size_t i = 0; i < n; i++) {
        if (codes[i] >= -1 && codes[i] <= 1) continue;
        return tn_fail(TN_INVALID_ARGUMENT, "row %zu column %zu has value %d; ternary values are -1, 0 and 1", i / n_cols, i % n_cols,
                       codes[i]);
    }
    return TN_OK;
}

static tn_status check_scale_fits(tn_dtype dtype, float scale)
{
    const uint16_t d = tn_f32_to_f16(scale);
    const float magnitude = scale < 0 ? -scale : scale;
    if (!(magnitude < 0x1p56f)) return tn_fail(TN_INVALID_ARGUMENT, "the scale %g is not one that weights can have", (double)scale);
    const bool half = is_tq(dtype) || dtype == TN_DTYPE_IQ1_BN;
    if (!half || ((d & 0x7fff) < 0x7c00 && ((d & 0x7fff) != 0 || magnitude == 0))) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "the scale %g is outside the range of f16, which %s stores; use I2_S", (double)scale,
                   tn_dtype_get(dtype)->name);
}

tn_status tn_ternary_write_as(tn_dtype dtype, const tn_ternary_options *options, const int8_t *codes, uint32_t n_rows, uint32_t n_cols,
                              float scale, uint8_t *out)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    if (info->class_ != TN_CLASS_TERNARY) {
        char names[TN_DTYPE_NAMES_BYTES];
        return tn_fail(TN_INVALID_ARGUMENT, "type %s is not ternary; use one of %s", info->name, tn_dtype_names(TN_CLASS_TERNARY, names));
    }
    if (n_rows == 0 || n_cols == 0 || n_cols % info->block_elements != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s needs rows of a multiple of %u values; these have %u", info->name,
                       (unsigned)info->block_elements, (unsigned)n_cols);
    }
    const size_t n = (size_t)n_rows * n_cols;
    tn_ternary_tensor t = {.dtype = dtype, .n_rows = n_rows, .n_cols = n_cols};
    TN_TRY(tn_dtype_size(dtype, n_cols, n, &t.size_bytes));
    TN_TRY(apply_options(&t, options));
    TN_TRY(check_codes(codes, n, n_cols));
    TN_TRY(check_scale_fits(dtype, scale));
    if (dtype == TN_DTYPE_I2_S) {
        tn_i2s_write(&t, codes, scale, out);
    } else if (is_tq(dtype)) {
        tn_tq_write(&t, codes, scale, out);
    } else if (is_bn(dtype)) {
        tn_bn_write(&t, codes, scale, out);
    } else {
        tn_tl_write(&t, codes, scale, out);
    }
    return TN_OK;
}

tn_status tn_ternary_write(tn_dtype dtype, const int8_t *codes, uint32_t n_rows, uint32_t n_cols, float scale, uint8_t *out)
{
    return tn_ternary_write_as(dtype, NULL, codes, n_rows, n_cols, scale, out);
}

// ---- master weights ----

void tn_absmean_add(tn_absmean *mean, const float *w, size_t n)
{
    double sum = mean->sum;
    for (size_t i = 0; i < n; i++) sum += (double)(w[i] < 0 ? -w[i] : w[i]);
    mean->sum = sum;
    mean->n += n;
}

float tn_absmean_scale(const tn_absmean *mean)
{
    const float scale = mean->n > 0 ? (float)(mean->sum / (double)mean->n) : 0.0f;
    return scale > 1e-5f ? scale : 1e-5f;
}

void tn_ternarise(const float *w, size_t n, float scale, int8_t *codes)
{
    for (size_t i = 0; i < n; i++) codes[i] = (int8_t)((2.0f * w[i] > scale) - (-2.0f * w[i] > scale));
}
