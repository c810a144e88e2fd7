// Reads and writes the ternary tensor types I2_S (x86 byte order), TQ1_0 and TQ2_0; absmean ternarisation of master weights.
#include "format/ternary.h"

#include "format/dense.h"

enum {
    I2S_BLOCK = 128, // elements of an I2_S block: 32 bytes, element j in byte j % 32, bits 6 - 2 (j / 32)
    I2S_BYTES = 32,
    I2S_TAIL = 32, // bytes after the codes: the scale as f32, then zeros
    TQ_BLOCK = 256,
    TQ1_BYTES = 54, // 48 bytes of five digits, 4 of four, f16 scale
    TQ2_BYTES = 66, // 64 bytes of four codes, f16 scale
};

#define PLACE(t) (int)((t)->name_len < 200 ? (t)->name_len : 200), (t)->name

static const uint8_t POW3[5] = {1, 3, 9, 27, 81};

static uint16_t load_u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

// FL of docs/design/0001-numerics.md: what is below 2^-50 counts as zero.
static float flush(float z) { return (z < 0 ? -z : z) < 0x1p-50f ? 0.0f : z; }

static size_t block_bytes(tn_dtype dtype) { return dtype == TN_DTYPE_TQ1_0 ? TQ1_BYTES : TQ2_BYTES; }

// ---- one block or run of blocks to codes -1, 0, +1 (times sign); the OR of all invalid codes seen is returned ----

// n codes of I2_S, n a multiple of 128.
static unsigned i2s_unpack(const uint8_t *src, size_t n, int sign, int8_t *codes)
{
    unsigned bad = 0;
    for (size_t b = 0; b < n / I2S_BLOCK; b++) {
        const uint8_t *s = src + b * I2S_BYTES;
        int8_t *c = codes + b * I2S_BLOCK;
        for (size_t m = 0; m < I2S_BYTES; m++) {
            const unsigned v = s[m];
            bad |= v & v >> 1 & 0x55u;
            c[m] = (int8_t)(sign * ((int)(v >> 6) - 1));
            c[m + 32] = (int8_t)(sign * ((int)(v >> 4 & 3) - 1));
            c[m + 64] = (int8_t)(sign * ((int)(v >> 2 & 3) - 1));
            c[m + 96] = (int8_t)(sign * ((int)(v & 3) - 1));
        }
    }
    return bad;
}

static unsigned tq2_unpack(const uint8_t *src, size_t n, int sign, int8_t *codes)
{
    unsigned bad = 0;
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        for (size_t h = 0; h < 2; h++) {
            const uint8_t *s = src + b * TQ2_BYTES + h * 32;
            int8_t *c = codes + b * TQ_BLOCK + h * 128;
            for (size_t m = 0; m < 32; m++) {
                const unsigned v = s[m];
                bad |= v & v >> 1 & 0x55u;
                c[m] = (int8_t)(sign * ((int)(v & 3) - 1));
                c[m + 32] = (int8_t)(sign * ((int)(v >> 2 & 3) - 1));
                c[m + 64] = (int8_t)(sign * ((int)(v >> 4 & 3) - 1));
                c[m + 96] = (int8_t)(sign * ((int)(v >> 6) - 1));
            }
        }
    }
    return bad;
}

// Digit `k` of the base-3 fraction in `byte`, most significant first. Every byte gives valid digits.
static int tq1_digit(uint8_t byte, size_t k)
{
    const unsigned shifted = (unsigned)byte * POW3[k] & 0xffu;
    return (int)(shifted * 3 >> 8);
}

static void tq1_unpack(const uint8_t *src, size_t n, int sign, int8_t *codes)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        const uint8_t *s = src + b * TQ1_BYTES;
        int8_t *c = codes + b * TQ_BLOCK;
        for (size_t k = 0; k < 5; k++) {
            for (size_t m = 0; m < 32; m++) c[k * 32 + m] = (int8_t)(sign * (tq1_digit(s[m], k) - 1));
        }
        for (size_t k = 0; k < 5; k++) {
            for (size_t m = 0; m < 16; m++) c[160 + k * 16 + m] = (int8_t)(sign * (tq1_digit(s[32 + m], k) - 1));
        }
        for (size_t k = 0; k < 4; k++) {
            for (size_t m = 0; m < 4; m++) c[240 + k * 4 + m] = (int8_t)(sign * (tq1_digit(s[48 + m], k) - 1));
        }
    }
}

// ---- opening ----

static tn_status check_scale(const tn_ternary_tensor *t, float scale, uint64_t block)
{
    const float a = scale < 0 ? -scale : scale;
    if (a < 0x1p56f) return TN_OK; // false for NaN
    return tn_fail(TN_BAD_FILE, "tensor '%.*s': the scale of block %llu is %g, which no weight can have; get another copy of the file",
                   PLACE(t), (unsigned long long)block, (double)scale);
}

static bool tq_block_is_zero(tn_dtype dtype, const uint8_t *block)
{
    if (dtype == TN_DTYPE_TQ2_0) {
        for (size_t i = 0; i < 64; i++) {
            if (block[i] != 0x55) return false;
        }
        return true;
    }
    // 0x80 is the one byte whose five digits are all 1; of the last four bytes only four digits count.
    for (size_t i = 0; i < 48; i++) {
        if (block[i] != 0x80) return false;
    }
    for (size_t i = 48; i < 52; i++) {
        for (size_t k = 0; k < 4; k++) {
            if (tq1_digit(block[i], k) != 1) return false;
        }
    }
    return true;
}

// The scale that all blocks with a non-zero code share; 0 where no block has one.
static tn_status tq_scale(const tn_ternary_tensor *t, float *out_scale)
{
    const size_t bytes = block_bytes(t->dtype);
    const uint64_t n_blocks = (uint64_t)t->n_rows * t->n_cols / TQ_BLOCK;
    uint64_t first = n_blocks;
    float scale = 0;
    for (uint64_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = t->data + b * bytes;
        const float d = tn_f16_to_f32(load_u16(block + bytes - 2));
        TN_TRY(check_scale(t, d, b));
        if ((first != n_blocks && d == scale) || tq_block_is_zero(t->dtype, block)) continue;
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

tn_status tn_ternary_open(const tn_gguf_tensor *tensor, tn_ternary_tensor *out)
{
    memset(out, 0, sizeof(*out));
    if (tn_dtype_get(tensor->dtype)->class_ != TN_CLASS_TERNARY) {
        return tn_fail(TN_UNSUPPORTED, "tensor '%.*s': type %s is not ternary; ternary weights are read from I2_S, TQ1_0 and TQ2_0",
                       TN_STR_ARGS(tensor->name), tensor->type_name ? tensor->type_name : tn_dtype_get(tensor->dtype)->name);
    }
    TN_TRY(check_shape(tensor));
    tn_ternary_tensor t = {
        .dtype = tensor->dtype,
        .n_rows = (uint32_t)(tensor->n_dims > 1 ? tensor->ne[1] : 1),
        .n_cols = (uint32_t)tensor->ne[0],
        .data = tensor->data,
        .name = tensor->name.data,
        .name_len = tensor->name.len,
    };
    float scale = 0;
    if (t.dtype == TN_DTYPE_I2_S) {
        memcpy(&scale, t.data + (uint64_t)t.n_rows * t.n_cols / 4, sizeof(scale));
        TN_TRY(check_scale(&t, scale, 0));
    } else {
        TN_TRY(tq_scale(&t, &scale));
    }
    t.negate = scale < 0;
    t.scale = flush(t.negate ? -scale : scale);
    *out = t;
    return TN_OK;
}

// ---- reading rows ----

static tn_status fail_code_3(const tn_ternary_tensor *t, uint32_t row, uint32_t n, const int8_t *codes, int sign)
{
    for (uint32_t r = 0; r < n; r++) {
        for (uint32_t c = 0; c < t->n_cols; c++) {
            if (codes[(size_t)r * t->n_cols + c] * sign != 2) continue;
            return tn_fail(TN_BAD_FILE,
                           "tensor '%.*s': row %u column %u has code 3, which is no ternary value; get another copy of the file", PLACE(t),
                           (unsigned)(row + r), (unsigned)c);
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
    const size_t count = (size_t)n * tensor->n_cols, start = (size_t)row * tensor->n_cols;
    const int sign = tensor->negate ? -1 : 1;
    unsigned bad = 0;
    if (tensor->dtype == TN_DTYPE_I2_S) {
        bad = i2s_unpack(tensor->data + start / 4, count, sign, codes);
    } else if (tensor->dtype == TN_DTYPE_TQ2_0) {
        bad = tq2_unpack(tensor->data + start / TQ_BLOCK * TQ2_BYTES, count, sign, codes);
    } else {
        tq1_unpack(tensor->data + start / TQ_BLOCK * TQ1_BYTES, count, sign, codes);
    }
    return bad == 0 ? TN_OK : fail_code_3(tensor, row, n, codes, sign);
}

// ---- writing ----

static void i2s_pack(const int8_t *codes, size_t n, float scale, uint8_t *out)
{
    for (size_t b = 0; b < n / I2S_BLOCK; b++) {
        const int8_t *c = codes + b * I2S_BLOCK;
        uint8_t *o = out + b * I2S_BYTES;
        for (size_t m = 0; m < I2S_BYTES; m++) {
            o[m] = (uint8_t)((c[m] + 1) << 6 | (c[m + 32] + 1) << 4 | (c[m + 64] + 1) << 2 | (c[m + 96] + 1));
        }
    }
    memset(out + n / 4, 0, I2S_TAIL);
    memcpy(out + n / 4, &scale, sizeof(scale));
}

static void tq2_pack(const int8_t *codes, size_t n, uint16_t d, uint8_t *out)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        uint8_t *o = out + b * TQ2_BYTES;
        for (size_t h = 0; h < 2; h++) {
            const int8_t *c = codes + b * TQ_BLOCK + h * 128;
            for (size_t m = 0; m < 32; m++) {
                o[h * 32 + m] = (uint8_t)((c[m] + 1) | (c[m + 32] + 1) << 2 | (c[m + 64] + 1) << 4 | (c[m + 96] + 1) << 6);
            }
        }
        o[64] = (uint8_t)(d & 0xff);
        o[65] = (uint8_t)(d >> 8);
    }
}

// Up to five digits, `stride` apart, as the fraction that tq1_digit reads back; missing ones count as digit 0.
static uint8_t tq1_byte(const int8_t *codes, size_t stride, size_t n_digits)
{
    unsigned v = 0;
    for (size_t k = 0; k < 5; k++) v = v * 3 + (k < n_digits ? (unsigned)(codes[k * stride] + 1) : 0);
    return (uint8_t)((v * 256 + 242) / 243);
}

static void tq1_pack(const int8_t *codes, size_t n, uint16_t d, uint8_t *out)
{
    for (size_t b = 0; b < n / TQ_BLOCK; b++) {
        const int8_t *c = codes + b * TQ_BLOCK;
        uint8_t *o = out + b * TQ1_BYTES;
        for (size_t m = 0; m < 32; m++) o[m] = tq1_byte(c + m, 32, 5);
        for (size_t m = 0; m < 16; m++) o[32 + m] = tq1_byte(c + 160 + m, 16, 5);
        for (size_t m = 0; m < 4; m++) o[48 + m] = tq1_byte(c + 240 + m, 4, 4);
        o[52] = (uint8_t)(d & 0xff);
        o[53] = (uint8_t)(d >> 8);
    }
}

tn_status tn_ternary_write(tn_dtype dtype, const int8_t *codes, uint32_t n_rows, uint32_t n_cols, float scale, uint8_t *out)
{
    const tn_dtype_info *info = tn_dtype_get(dtype);
    const size_t n = (size_t)n_rows * n_cols;
    if (info->class_ != TN_CLASS_TERNARY)
        return tn_fail(TN_INVALID_ARGUMENT, "type %s is not ternary; use I2_S, TQ1_0 or TQ2_0", info->name);
    if (n_rows == 0 || n_cols == 0 || n_cols % info->block_elements != 0) {
        return tn_fail(TN_INVALID_ARGUMENT, "%s needs rows of a multiple of %u values; these have %u", info->name,
                       (unsigned)info->block_elements, (unsigned)n_cols);
    }
    for (size_t i = 0; i < n; i++) {
        if (codes[i] < -1 || codes[i] > 1) {
            return tn_fail(TN_INVALID_ARGUMENT, "row %zu column %zu has value %d; ternary values are -1, 0 and 1", i / n_cols, i % n_cols,
                           codes[i]);
        }
    }
    const uint16_t d = tn_f32_to_f16(scale);
    const float magnitude = scale < 0 ? -scale : scale;
    if (!(magnitude < 0x1p56f)) return tn_fail(TN_INVALID_ARGUMENT, "the scale %g is not one that weights can have", (double)scale);
    if (dtype != TN_DTYPE_I2_S && ((d & 0x7fff) >= 0x7c00 || ((d & 0x7fff) == 0 && magnitude > 0))) {
        return tn_fail(TN_INVALID_ARGUMENT, "the scale %g is outside the range of f16, which %s stores; use I2_S", (double)scale,
                       info->name);
    }
    if (dtype == TN_DTYPE_I2_S) {
        i2s_pack(codes, n, scale, out);
    } else if (dtype == TN_DTYPE_TQ2_0) {
        tq2_pack(codes, n, d, out);
    } else {
        tq1_pack(codes, n, d, out);
    }
    return TN_OK;
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
