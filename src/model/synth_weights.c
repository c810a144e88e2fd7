// Random weights in their file form, at the speed of memory.
//
// Packing every value would be slower than a disk. So a few hundred rows are made value by value and packed by the type's own writer; a
// tensor's rows are put together from them, grain by grain: each few bytes of a row come from the same place of a packed row that is
// chosen at random. All packed rows have one scale, and no type spreads a value over two grains, so every mixture is a valid row; with
// hundreds of choices a grain no two rows are alike. This needs to know nothing of how a type packs.
//
// The numbers come from splitmix64 as a function of seed, tensor and unit, so any part can be made alone, and anywhere the same.
#include "model/synth_weights.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "format/dense.h"
#include "format/ternary.h"

#include <string.h>

enum {
    POOL_UNITS = 256, // a random byte chooses
    TOGETHER = 4,     // rows of a unit where the tensor's rows can be divided so: some types interleave four rows
    GRAIN = 8,        // bytes; dense types have grains of whole blocks
};

// Of 65536 random values, as many give the code 0: 38 %. Trained models have about as many: 38.8 % of the default model's weights are 0.
#define ZERO_BELOW    24904u
#define NONZERO_SHARE (1.0 - ZERO_BELOW / 65536.0)

// ---- random numbers ----

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t key_of(uint64_t a, uint64_t b) { return mix(a + mix(b + 0x9e3779b97f4a7c15u)); }

// Number `at` of a key's sequence.
static uint64_t random_at(uint64_t key, uint64_t at) { return mix(key + (at + 1) * 0x9e3779b97f4a7c15u); }

static void random_codes(uint64_t key, size_t n, int8_t *codes)
{
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = random_at(key, i / 4) >> (16 * (i % 4)) & 0xffff;
        codes[i] = r < ZERO_BELOW ? 0 : (r & 1) ? 1 : -1;
    }
}

// A sum of four uniform numbers: mean 0, variance 1, nearly normal, and exact on every machine.
static float random_normal(uint64_t key, uint64_t at)
{
    const uint64_t r = random_at(key, at);
    const int32_t sum = (int32_t)(r & 0xffff) + (int32_t)(r >> 16 & 0xffff) + (int32_t)(r >> 32 & 0xffff) + (int32_t)(r >> 48);
    return (float)(sum - 2 * 0xffff) * 0x1.bb67aep-16f; // sqrt(3) / 65536
}

// ---- magnitudes ----
// Every product of a normalised row has the magnitude that the default model's have: queries and keys 1.2, the others about 1, so that
// the attention's scores vary by 1.4 and each block adds 0.7 or 1 to a residual stream that begins at 2 / sqrt(width) and grows with the
// root of the depth. The last norm's gain makes logits vary by 2.5.

// Square root by Newton's method: the C library's is not the same everywhere.
static double square_root(double x)
{
    double y = x > 1 ? x : 1;
    for (int i = 0; i < 64; i++) y = 0.5 * (y + x / y);
    return y;
}

static float magnitude(const tn_synth_shape *shape, tn_synth_role role, uint32_t n_cols)
{
    const double unit = 1 / square_root(NONZERO_SHARE * n_cols); // makes products of rows of magnitude 1 as large
    switch (role) {
    case TN_SYNTH_EMBEDDING:
    case TN_SYNTH_OWN_HEAD: return (float)(2 / square_root(shape->n_embd));
    case TN_SYNTH_GAINS: return 1.0f;
    case TN_SYNTH_HEAD_GAINS: return 1.25f;
    case TN_SYNTH_QUERY_KEY: return (float)(1.2 * unit);
    case TN_SYNTH_INNER: return (float)unit;
    case TN_SYNTH_ATTENTION_OUT: return (float)(0.7 * unit);
    case TN_SYNTH_DOWN: return (float)(shape->sub_norms ? unit : unit / 0.6); // 0.6: what gates of SiLU leave
    }
    return 1.0f;
}

// ---- pools ----

static tn_status allocate_units(tn_synth_pool *pool)
{
    uint64_t one = 0, two = 0, n = 0;
    const uint64_t pool_rows = (uint64_t)POOL_UNITS * pool->n_together;
    if (!tn_ckd_mul(pool_rows, 2 * (uint64_t)pool->n_cols, &n))
        return tn_fail(TN_INVALID_ARGUMENT, "rows are too long; choose fewer values");
    TN_TRY(tn_dtype_size(pool->dtype, pool->n_cols, n / 2, &one));
    TN_TRY(tn_dtype_size(pool->dtype, pool->n_cols, n, &two));
    pool->n_units = POOL_UNITS;
    pool->unit_bytes = (size_t)((two - one) / POOL_UNITS);
    pool->tail_bytes = (size_t)(2 * one - two);
    return tn_alloc((size_t)one, 1, &pool->units);
}

// Half of the rows are the others' negatives, so that the columns of a tensor have no mean that all its rows would share.
static tn_status fill_ternary(tn_synth_pool *pool, uint64_t key, float scale)
{
    const size_t n_rows = POOL_UNITS * pool->n_together, half = n_rows / 2 * pool->n_cols;
    int8_t *codes = NULL;
    TN_TRY(tn_alloc(2 * half, sizeof *codes, &codes));
    random_codes(key, half, codes);
    for (size_t i = 0; i < half; i++) codes[half + i] = (int8_t)-codes[i];
    // A type that interleaves rows refuses a single one, and with it the tensor, whose number of rows does not fit.
    tn_status status = pool->n_together == 1 ? tn_ternary_write(pool->dtype, codes, 1, pool->n_cols, scale, pool->units) : TN_OK;
    if (status == TN_OK) status = tn_ternary_write(pool->dtype, codes, (uint32_t)n_rows, pool->n_cols, scale, pool->units);
    tn_free(codes);
    return status;
}

static tn_status fill_dense(tn_synth_pool *pool, uint64_t key, float scale)
{
    const size_t half = (size_t)POOL_UNITS / 2 * pool->n_together * pool->n_cols;
    float *values = NULL;
    TN_TRY(tn_alloc(2 * half, sizeof *values, &values));
    for (size_t i = 0; i < half; i++) {
        values[i] = random_normal(key, i) * scale;
        values[half + i] = -values[i];
    }
    const tn_status status = tn_dense_from_f32(pool->dtype, values, 2 * half, pool->units);
    tn_free(values);
    return status;
}

// Norm gains vary by a tenth. One unit is the whole vector.
static tn_status fill_gains(tn_synth_pool *pool, uint64_t key, float mean)
{
    float *gains = NULL;
    TN_TRY(tn_alloc(pool->n_cols, sizeof *gains, &gains));
    for (uint32_t i = 0; i < pool->n_cols; i++) gains[i] = mean * (1.0f + 0.1f * random_normal(key, i));
    pool->n_units = 1;
    pool->unit_bytes = (size_t)pool->n_cols * sizeof *gains;
    pool->units = (uint8_t *)gains;
    return TN_OK;
}

static tn_status build_pool(const tn_synth_weights *w, const tn_synth_tensor *t, uint64_t key, tn_synth_pool *pool)
{
    const tn_dtype_info *info = tn_dtype_get(t->dtype);
    const float scale = magnitude(w->shape, t->role, t->n_cols);
    if (t->role == TN_SYNTH_GAINS || t->role == TN_SYNTH_HEAD_GAINS) return fill_gains(pool, key, scale);
    TN_TRY(allocate_units(pool));
    pool->grain_bytes = GRAIN;
    if (info->class_ == TN_CLASS_TERNARY) return fill_ternary(pool, key, scale);
    if (info->block_bytes > GRAIN) pool->grain_bytes = info->block_bytes;
    return fill_dense(pool, key, scale);
}

static tn_status find_pool(tn_synth_weights *w, const tn_synth_tensor *t, uint32_t index, const tn_synth_pool **out_pool)
{
    const bool ternary = tn_dtype_get(t->dtype)->class_ == TN_CLASS_TERNARY;
    const size_t together = ternary && t->n_rows % TOGETHER == 0 ? TOGETHER : 1;
    for (size_t i = 0; i < w->n_pools; i++) {
        const tn_synth_pool *p = &w->pools[i];
        const bool same = p->role == t->role && p->n_cols == t->n_cols && p->n_together == together;
        if (same) {
            *out_pool = p;
            return TN_OK;
        }
    }
    if (w->n_pools == TN_SYNTH_POOLS_MAX) return tn_fail(TN_INTERNAL, "more kinds of tensors than expected; please report it");
    tn_synth_pool *pool = &w->pools[w->n_pools];
    *pool = (tn_synth_pool){.role = t->role, .dtype = t->dtype, .n_cols = t->n_cols, .n_together = together};
    w->n_pools++; // deinit frees what a failing build leaves
    const tn_status status = build_pool(w, t, key_of(w->seed, ~(uint64_t)index), pool);
    if (status != TN_OK) return tn_fail_prefix("tensor '%s': ", t->name);
    *out_pool = pool;
    return TN_OK;
}

void tn_synth_weights_deinit(tn_synth_weights *w)
{
    for (size_t i = 0; i < w->n_pools; i++) tn_free(w->pools[i].units);
    w->n_pools = 0;
}

// ---- tensors ----

tn_status tn_synth_weights_open(tn_synth_weights *w, const tn_synth_tensor *t, uint32_t index, tn_synth_source *out)
{
    *out = (tn_synth_source){.key = key_of(w->seed, index)};
    TN_TRY(find_pool(w, t, index, &out->pool));
    out->units = t->n_rows / out->pool->n_together;
    return TN_OK;
}

size_t tn_synth_unit_bytes(const tn_synth_source *source) { return source->pool->unit_bytes + source->pool->tail_bytes; }

// Whole words of eight grains of eight bytes: the path of nearly all bytes of a model.
static size_t put_words(const tn_synth_pool *pool, uint64_t key, uint8_t *out)
{
    const size_t n_bytes = pool->unit_bytes / (8 * GRAIN) * (8 * GRAIN);
    const uint8_t *units = pool->units;
    for (size_t at = 0, word = 0; at < n_bytes; at += 8 * GRAIN, word++) {
        uint64_t r = random_at(key, word);
        for (size_t g = 0; g < 8; g++, r >>= 8) {
            const size_t offset = at + g * GRAIN;
            memcpy(out + offset, units + (r & 0xff) * pool->unit_bytes + offset, GRAIN);
        }
    }
    return n_bytes;
}

static void put_unit(const tn_synth_pool *pool, uint64_t key, uint8_t *out)
{
    size_t at = pool->grain_bytes == GRAIN ? put_words(pool, key, out) : 0;
    for (size_t grain = at / pool->grain_bytes; at < pool->unit_bytes; grain++) {
        const size_t left = pool->unit_bytes - at, n = left < pool->grain_bytes ? left : pool->grain_bytes;
        const size_t unit = random_at(key, grain / 8) >> (8 * (grain % 8)) & 0xff;
        memcpy(out + at, pool->units + unit * pool->unit_bytes + at, n);
        at += n;
    }
}

size_t tn_synth_source_read(tn_synth_source *source, uint8_t *out, size_t capacity)
{
    const tn_synth_pool *pool = source->pool;
    size_t at = 0;
    for (; source->unit < source->units && capacity - at >= pool->unit_bytes + pool->tail_bytes; source->unit++) {
        if (pool->n_units == 1) {
            memcpy(out + at, pool->units, pool->unit_bytes);
        } else {
            put_unit(pool, key_of(source->key, source->unit), out + at);
        }
        at += pool->unit_bytes;
    }
    if (source->unit == source->units && !source->tail_done) {
        if (pool->tail_bytes > 0) memcpy(out + at, pool->units + pool->n_units * pool->unit_bytes, pool->tail_bytes);
        at += pool->tail_bytes;
        source->tail_done = true;
    }
    return at;
}
