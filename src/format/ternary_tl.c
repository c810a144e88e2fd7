// TL1 and TL2: codes ordered for table look-ups, in tiles whose sizes were fixed when the writing program was built and are not in the
// file.
//
// TL1: a nibble holds 3*w0 + w1 + 4 of two neighbours in a row. TL2: most columns go by threes, a nibble holds |9*w0 + 3*w1 + w2| and a bit
// elsewhere its sign; the columns that fill no tile go by twos as in TL1. One f32 scale in the last 32 bytes of the tensor.
#include "format/ternary_internal.h"

#include <stdio.h>

// What a build was made for: rows BM x columns BK a tile, bm rows a step.
struct tn_tl_tiles {
    tn_dtype dtype;
    uint32_t n_rows, n_cols, BM, BK, bm;
};

enum { N_TILES_MAX = 8, TAIL = 32, TL2_ROWS = 32 };

struct tn_tl_preset {
    const char *name;
    tn_tl_tiles tiles[N_TILES_MAX]; // n_rows 0: the list has ended
};

#define TL1(m, k, BM, BK, bm)                                                                                                              \
    {                                                                                                                                      \
        TN_DTYPE_TL1, m, k, BM, BK, bm                                                                                                     \
    }
#define TL2(m, k, BM, BK)                                                                                                                  \
    {                                                                                                                                      \
        TN_DTYPE_TL2, m, k, BM, BK, TL2_ROWS                                                                                               \
    }
// The kernel configurations that come with bitnet.cpp. For TL1 of Llama3-8B its files and its setup script disagree: both are here.
static const tn_tl_preset presets[] = {
    {"bitnet_b1_58-large",
     {TL1(1536, 4096, 256, 128, 32), TL1(1536, 1536, 128, 64, 64), TL1(4096, 1536, 256, 128, 32), TL2(1536, 4096, 256, 96),
      TL2(1536, 1536, 128, 192), TL2(4096, 1536, 256, 96)}},
    {"bitnet_b1_58-3B",
     {TL1(3200, 8640, 160, 64, 32), TL1(3200, 3200, 320, 128, 64), TL1(8640, 3200, 320, 64, 32), TL2(3200, 8640, 160, 96),
      TL2(3200, 3200, 320, 96), TL2(8640, 3200, 320, 96)}},
    {"Llama3-8B-1.58",
     {TL1(14336, 4096, 256, 128, 64), TL1(4096, 14336, 256, 128, 32), TL1(1024, 4096, 128, 64, 64), TL1(4096, 4096, 128, 64, 32),
      TL2(14336, 4096, 256, 96), TL2(4096, 14336, 128, 96), TL2(1024, 4096, 256, 96), TL2(4096, 4096, 128, 96)}},
    {"Llama3-8B-1.58-setup",
     {TL1(14336, 4096, 256, 128, 32), TL1(4096, 14336, 128, 64, 64), TL1(1024, 4096, 256, 128, 32), TL1(4096, 4096, 128, 64, 64)}},
};
#undef TL1
#undef TL2
#define N_PRESETS (sizeof presets / sizeof presets[0])

static const char *preset_names(char buffer[128])
{
    size_t at = 0;
    for (size_t i = 0; i < N_PRESETS; i++) at += (size_t)snprintf(buffer + at, 128 - at, "%s%s", i ? ", " : "", presets[i].name);
    return buffer;
}

const char *tn_tl_preset_name(const tn_tl_preset *preset) { return preset ? preset->name : "none"; }

tn_status tn_tl_preset_find(const char *name, const tn_tl_preset **out_preset)
{
    *out_preset = NULL;
    if (name == NULL) return TN_OK;
    for (size_t i = 0; i < N_PRESETS; i++) {
        if (strcmp(name, presets[i].name) != 0) continue;
        *out_preset = &presets[i];
        return TN_OK;
    }
    char names[128];
    return tn_fail(TN_INVALID_ARGUMENT, "there is no preset '%.100s' for TL1 and TL2; there are %s", name, preset_names(names));
}

tn_status tn_tl_choose_tiles(tn_ternary_tensor *t, const tn_tl_preset *preset)
{
    const char *type = tn_dtype_get(t->dtype)->name;
    char names[128];
    if (preset == NULL) {
        return tn_fail(TN_UNSUPPORTED, "%s files do not say how they are tiled; name the writer's kernel preset (--tl-preset): %s", type,
                       preset_names(names));
    }
    for (size_t i = 0; i < N_TILES_MAX && preset->tiles[i].n_rows != 0; i++) {
        const tn_tl_tiles *tiles = &preset->tiles[i];
        if (tiles->dtype != t->dtype || tiles->n_rows != t->n_rows || tiles->n_cols != t->n_cols) continue;
        t->tiles = tiles;
        return TN_OK;
    }
    return tn_fail(TN_UNSUPPORTED, "preset '%s' has no %s tiles for %u rows of %u; choose the preset that the file was made with: %s",
                   preset->name, type, (unsigned)t->n_rows, (unsigned)t->n_cols, preset_names(names));
}

// ---- nibbles ----

// Two codes of 3*w0 + w1 + 4; sets 1 in the result where the nibble is none.
static unsigned put_pair(unsigned nibble, int sign, int8_t *codes)
{
    if (nibble > 8) {
        codes[0] = codes[1] = (int8_t)(sign * TN_TERNARY_INVALID);
        return 1;
    }
    codes[0] = (int8_t)(sign * ((int)(nibble / 3) - 1));
    codes[1] = (int8_t)(sign * ((int)(nibble % 3) - 1));
    return 0;
}
static unsigned pair_of(const int8_t *codes) { return (unsigned)(3 * codes[0] + codes[1] + 4); }

// Three codes of |9*w0 + 3*w1 + w2|.
static unsigned put_triple(unsigned nibble, int sign, int8_t *codes)
{
    if (nibble > 13) {
        codes[0] = codes[1] = codes[2] = (int8_t)(sign * TN_TERNARY_INVALID);
        return 1;
    }
    const unsigned v = nibble + 13;
    codes[0] = (int8_t)(sign * ((int)(v / 9) - 1));
    codes[1] = (int8_t)(sign * ((int)(v / 3 % 3) - 1));
    codes[2] = (int8_t)(sign * ((int)(v % 3) - 1));
    return 0;
}
static int triple_of(const int8_t *codes) { return 9 * codes[0] + 3 * codes[1] + codes[2]; }

// ---- TL1 ----

// A tile is split into steps of bm rows, a step into runs of 256/bm columns, a run into groups of 16 rows, whose bytes (four columns each)
// stand side by side. This is where row m begins in the first tile of its band of BM rows, and the strides from there.
typedef struct tl1_row {
    size_t at, tile, run; // bytes: start, from tile to tile of the band, from run to run
    uint32_t run_columns;
} tl1_row;

static tl1_row tl1_find(const tn_ternary_tensor *t, uint32_t m)
{
    const tn_tl_tiles *s = t->tiles;
    tl1_row r = {.tile = (size_t)s->BM * s->BK / 4, .run_columns = 256 / s->bm};
    const size_t group = (size_t)r.run_columns / 4 * 16;
    r.run = s->bm / 16 * group;
    r.at = m / s->BM * (t->n_cols / s->BK) * r.tile + m % s->BM / s->bm * (s->BK / r.run_columns) * r.run + m % s->bm / 16 * group + m % 16;
    return r;
}

// The byte of columns k .. k+3, k a multiple of 4.
static size_t tl1_byte(const tn_ternary_tensor *t, const tl1_row *r, uint32_t k)
{
    const uint32_t column = k % t->tiles->BK;
    return r->at + k / t->tiles->BK * r->tile + column / r->run_columns * r->run + column % r->run_columns / 4 * 16;
}

static unsigned tl1_read_row(const tn_ternary_tensor *t, uint32_t m, int sign, int8_t *codes)
{
    const tl1_row r = tl1_find(t, m);
    unsigned bad = 0;
    for (uint32_t k = 0; k < t->n_cols; k += 4) {
        const unsigned byte = t->data[tl1_byte(t, &r, k)];
        bad |= put_pair(byte >> 4, sign, codes + k) | put_pair(byte & 15, sign, codes + k + 2);
    }
    return bad;
}

static void tl1_write_row(const tn_ternary_tensor *t, uint32_t m, const int8_t *codes, uint8_t *out)
{
    const tl1_row r = tl1_find(t, m);
    for (uint32_t k = 0; k < t->n_cols; k += 4) out[tl1_byte(t, &r, k)] = (uint8_t)(pair_of(codes + k) << 4 | pair_of(codes + k + 2));
}

// ---- TL2 ----

// The columns by threes and by twos, where their parts begin, and the row within its 32.
typedef struct tl2_row {
    uint32_t by_threes, by_twos; // columns
    size_t signs_at, pairs_at;   // bytes; triples begin at 0
    size_t band, step;           // of BM rows, of 32 rows in it
    size_t place;                // of its byte among the 32: the two middle groups of eight are swapped
    uint32_t r;                  // row among the 32
} tl2_row;

static tl2_row tl2_find(const tn_ternary_tensor *t, uint32_t m)
{
    static const uint8_t group_place[4] = {0, 2, 1, 3};
    const tn_tl_tiles *s = t->tiles;
    tl2_row r = {.by_twos = t->n_cols % s->BK, .band = m / s->BM, .step = m % s->BM / TL2_ROWS, .r = m % TL2_ROWS};
    r.by_threes = t->n_cols - r.by_twos;
    r.signs_at = (size_t)r.by_threes * t->n_rows / 6;
    r.pairs_at = (size_t)r.by_threes * t->n_rows / 24 * 5;
    r.place = (size_t)group_place[r.r / 8] * 8 + r.r % 8;
    return r;
}

// Which step of 32 rows, counting tile by tile, column k of the part by threes lies in.
static size_t tl2_step(const tn_ternary_tensor *t, const tl2_row *r, uint32_t k)
{
    const tn_tl_tiles *s = t->tiles;
    return (r->band * (r->by_threes / s->BK) + k / s->BK) * (s->BM / TL2_ROWS) + r->step;
}
// The byte of columns k .. k+5, k a multiple of 6.
static size_t tl2_triples(const tn_ternary_tensor *t, const tl2_row *r, uint32_t k)
{
    return (tl2_step(t, r, k) * (t->tiles->BK / 6) + k % t->tiles->BK / 6) * 32 + r->place;
}
// The little-endian u16 with the signs of columns k .. k+23 (k a multiple of 24) of this row and of the one 16 rows on, and the bit of a
// triple.
static size_t tl2_signs(const tn_ternary_tensor *t, const tl2_row *r, uint32_t k)
{
    return r->signs_at + (tl2_step(t, r, k) * (t->tiles->BK / 24) + k % t->tiles->BK / 24) * 32 + (size_t)r->r % 16 * 2;
}
static unsigned tl2_sign_bit(const tl2_row *r, uint32_t k) { return 15 - (k % 24 / 3 * 2 + r->r / 16); }
// The byte of columns k .. k+3 of the part by twos, k a multiple of 4 counted from its start.
static size_t tl2_pairs(const tn_ternary_tensor *t, const tl2_row *r, uint32_t k)
{
    const size_t step = (r->band * (r->by_twos / 32) + k / 32) * (t->tiles->BM / TL2_ROWS) + r->step;
    return r->pairs_at + (step * 8 + k % 32 / 4) * 32 + r->place;
}

static unsigned tl2_read_row(const tn_ternary_tensor *t, uint32_t m, int sign, int8_t *codes)
{
    const tl2_row r = tl2_find(t, m);
    unsigned bad = 0, signs = 0;
    for (uint32_t k = 0; k < r.by_threes; k += 6) {
        if (k % 24 == 0) signs = tn_ternary_load_u16(t->data + tl2_signs(t, &r, k));
        const unsigned byte = t->data[tl2_triples(t, &r, k)];
        const int first = signs >> tl2_sign_bit(&r, k) & 1 ? -sign : sign, second = signs >> tl2_sign_bit(&r, k + 3) & 1 ? -sign : sign;
        bad |= put_triple(byte >> 4, first, codes + k) | put_triple(byte & 15, second, codes + k + 3);
    }
    for (uint32_t k = 0; k < r.by_twos; k += 4) {
        const unsigned byte = t->data[tl2_pairs(t, &r, k)];
        bad |= put_pair(byte >> 4, sign, codes + r.by_threes + k) | put_pair(byte & 15, sign, codes + r.by_threes + k + 2);
    }
    return bad;
}

static void tl2_write_row(const tn_ternary_tensor *t, uint32_t m, const int8_t *codes, uint8_t *out)
{
    const tl2_row r = tl2_find(t, m);
    for (uint32_t k = 0; k < r.by_threes; k += 3) {
        const int v = triple_of(codes + k);
        uint8_t *byte = out + tl2_triples(t, &r, k / 6 * 6), *signs = out + tl2_signs(t, &r, k / 24 * 24);
        *byte = (uint8_t)(*byte | (v < 0 ? -v : v) << (k % 6 == 0 ? 4 : 0));
        const unsigned bit = v < 0 ? 1u << tl2_sign_bit(&r, k) : 0;
        signs[0] = (uint8_t)(signs[0] | (bit & 0xff));
        signs[1] = (uint8_t)(signs[1] | bit >> 8);
    }
    codes += r.by_threes;
    for (uint32_t k = 0; k < r.by_twos; k += 4) out[tl2_pairs(t, &r, k)] = (uint8_t)(pair_of(codes + k) << 4 | pair_of(codes + k + 2));
}

// ---- both ----

unsigned tn_tl_read(const tn_ternary_tensor *t, uint32_t row, uint32_t n, int8_t *codes)
{
    const int sign = t->negate ? -1 : 1;
    unsigned bad = 0;
    for (uint32_t m = row; m < row + n; m++, codes += t->n_cols)
        bad |= t->dtype == TN_DTYPE_TL1 ? tl1_read_row(t, m, sign, codes) : tl2_read_row(t, m, sign, codes);
    return bad;
}

void tn_tl_write(const tn_ternary_tensor *t, const int8_t *codes, float scale, uint8_t *out)
{
    memset(out, 0, t->size_bytes); // TL2 books more bytes than it fills
    for (uint32_t m = 0; m < t->n_rows; m++, codes += t->n_cols) {
        if (t->dtype == TN_DTYPE_TL1) {
            tl1_write_row(t, m, codes, out);
        } else {
            tl2_write_row(t, m, codes, out);
        }
    }
    memcpy(out + t->size_bytes - TAIL, &scale, sizeof(scale));
}
