// Attention of the query heads that share one KV head, written once over a strip vocabulary. The including file defines TN_K(op) and
// includes simd_<isa>.h before.
//
// A page of 128 positions is a chunk of the definition. Both of its matrices have the same form, rows of int16 pairs: k has a row for every
// two dimensions with positions as lanes, v a row for every two positions with dimensions as lanes. So one integer tile makes the scores
// (times pairs of q) and the outputs (times pairs of u). Pages outside, heads inside: a page is read from memory once.
// Exact: equals tn_ref_attention bit for bit, head by head.   head_dim: even.
// Reads:  whole strips of 32 lanes, so up to 124 bytes past a row of v: that is the next row or, after the last, the block's scales.
#include "cpu/kernel.h"
#include "cpu/tmpl/exact_strip.h"

#include <stddef.h>
#include <string.h>

#define STRIP    32u
#define PAGE     TN_KV_PAGE_POSITIONS
#define TILE_MAX (TN_DOT_STRIPS * STRIP)

#ifdef __clang__
#define TN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_UNROLL _Pragma("GCC unroll 8")
#endif

// One page of one KV head, by part.
typedef struct kv_page {
    const int16_t *k; // [head_dim/2][128][2]
    const int16_t *v; // [64][head_dim][2]
    const float *k_scale, *v_scale;
    uint32_t count;  // visible positions, 1..128
    ptrdiff_t ahead; // bytes to the page that is computed next, 0 where there is none: its lines are asked for while this one is computed
} kv_page;

// Running state of a head, in scratch: 16 bytes of the 64 that a head has beside its sums.
typedef struct head_state {
    float *o; // [head_dim]
    int32_t m;
    float l;
} head_state;

// acc[h][lane] = sum over rows of m[row][lane] . pairs[h][row], for H heads and S strips of lanes. Meanwhile the same part of the next page
// is asked for, into the second-level cache, and again for each tile of heads, since a core drops what it has no room to wait for (24 pages
// of 5 KV heads of 128 and 20 heads, one core of a Zen 4, AVX512: 12.5 ms; asked for once 15.3; not at all 13.0; into the first-level cache
// 21. AVX2: 13.9, 16.0, 26, 22).
TN_INLINE void dot_tile(const int16_t *m, ptrdiff_t ahead, size_t row_lanes, uint32_t n_rows, const int16_t *pairs, size_t pairs_stride,
                        const int H, const int S, int32_t *acc)
{
    tn_i32s sums[TN_DOT_HEADS][TN_DOT_STRIPS];
    TN_UNROLL
    for (int h = 0; h < H; h++) {
        TN_UNROLL
        for (int s = 0; s < S; s++) sums[h][s] = tn_i_set1(0);
    }
    for (uint32_t row = 0; row < n_rows; row++) {
        const int16_t *lanes = m + row * row_lanes * 2;
        TN_UNROLL
        for (int s = 0; s < S; s++) {
            const int16_t *at = lanes + (size_t)s * STRIP * 2;
            tn_pairs strip = tn_i_load_pairs(at);
            const uintptr_t next = (uintptr_t)at + (uintptr_t)ahead;
            __builtin_prefetch((const void *)next, 0, 2);
            __builtin_prefetch((const void *)(next + 64), 0, 2);
            TN_UNROLL
            for (int h = 0; h < H; h++) sums[h][s] = tn_i_dot_pair(sums[h][s], strip, pairs + (size_t)h * pairs_stride + 2 * row);
        }
    }
    TN_UNROLL
    for (int h = 0; h < H; h++) {
        TN_UNROLL
        for (int s = 0; s < S; s++) tn_i_store(acc + (uint32_t)h * PAGE + (uint32_t)s * STRIP, sums[h][s]);
    }
}

// The same for H heads and 1, 2 or TN_DOT_STRIPS strips.
TN_INLINE void dot_strips(const int16_t *m, ptrdiff_t ahead, size_t row_lanes, uint32_t n_rows, const int16_t *pairs, size_t pairs_stride,
                          const int H, uint32_t strips, int32_t *acc)
{
    switch (strips) {
    case 1: dot_tile(m, ahead, row_lanes, n_rows, pairs, pairs_stride, H, 1, acc); break;
#if TN_DOT_STRIPS > 2
    case 2: dot_tile(m, ahead, row_lanes, n_rows, pairs, pairs_stride, H, 2, acc); break;
#endif
    default: dot_tile(m, ahead, row_lanes, n_rows, pairs, pairs_stride, H, TN_DOT_STRIPS, acc); break;
    }
}

// The same for 1..TN_DOT_HEADS heads; acc [heads][128].
static void dot_pairs(const int16_t *m, ptrdiff_t ahead, size_t row_lanes, uint32_t n_rows, const int16_t *pairs, size_t pairs_stride,
                      uint32_t heads, uint32_t strips, int32_t *acc)
{
    if (heads == TN_DOT_HEADS) {
        dot_strips(m, ahead, row_lanes, n_rows, pairs, pairs_stride, TN_DOT_HEADS, strips, acc);
        return;
    }
    for (uint32_t h = 0; h < heads; h++)
        dot_strips(m, ahead, row_lanes, n_rows, pairs + h * pairs_stride, pairs_stride, 1, strips, acc + h * PAGE);
}

// Strips of the next tile where `left` lanes are left.
static uint32_t strips_for(uint32_t left) { return left > TILE_MAX - STRIP ? TN_DOT_STRIPS : TN_DOT_STRIPS > 2 && left > STRIP ? 2 : 1; }

// Share of one page in the soft maximum of one head.
typedef struct page_share {
    int32_t m;
    float l, u_scale;
} page_share;

// Scores -> exponents, weights, and codes u [128] of the weights times the scales of v; u is 0 from `count` on.
static page_share page_weights(const int32_t *dots, float sq, const kv_page *page, int16_t *u)
{
    float p[PAGE];
    int32_t exponent[PAGE];
    const tn_f32s scale = tn_s_set1(sq), t_max = tn_s_set1(0x1p20f), t_min = tn_s_set1(-0x1p20f);
    tn_i32s m_lanes = tn_i_set1(INT32_MIN);
    for (uint32_t i = 0; i < page->count; i += STRIP) {
        uint32_t left = page->count - i;
        tn_f32s k_scale = left < STRIP ? tn_s_load_n(page->k_scale + i, left) : tn_s_load(page->k_scale + i);
        tn_f32s t = tn_s_mul(tn_i_to_f32(tn_i_load(dots + i)), tn_s_mul(scale, k_scale));
        t = tn_s_min(tn_s_max(t, t_min), t_max);
        tn_i32s n = tn_s_round(t);
        tn_s_store(p + i, tn_s_exp2_poly(tn_s_sub(t, tn_i_to_f32(n))));
        if (left < STRIP) n = tn_i_first_n(n, left, -(1 << 22)); // positions that are not there: weight 0
        tn_i_store(exponent + i, n);
        m_lanes = tn_i_max(m_lanes, n);
    }
    const int32_t m = tn_i_max_all(m_lanes);
    tn_f32s w_max = tn_s_set1(0.0f);
    tn_i32s l = tn_i_set1(0);
    for (uint32_t i = 0; i < page->count; i += STRIP) {
        uint32_t left = page->count - i;
        tn_i32s below = tn_i_sub(tn_i_set1(m), tn_i_load(exponent + i));
        tn_f32s power = tn_s_zero_above(tn_i_pow2(tn_i_sub(tn_i_set1(0), below)), below, 24);
        tn_f32s weight = tn_s_mul(tn_s_load(p + i), power);
        tn_f32s v_scale = left < STRIP ? tn_s_load_n(page->v_scale + i, left) : tn_s_load(page->v_scale + i);
        tn_f32s w = tn_s_mul(weight, v_scale);
        tn_s_store(p + i, w);
        w_max = tn_s_max(w, w_max);
        l = tn_i_add(l, tn_s_round(tn_s_mul(weight, tn_s_set1(0x1p22f))));
    }
    const float W = tn_float(tn_i_max_all_u(tn_s_abs_bits(w_max)));
    const tn_f32s to_codes = tn_s_set1(W > 0.0f ? 4095.0f * tn_recip(W) : 0.0f);
    for (uint32_t i = 0; i < PAGE; i += STRIP) {
        tn_i32s codes = i < page->count ? tn_s_round(tn_s_mul(tn_s_load(p + i), to_codes)) : tn_i_set1(0);
        tn_i_store_i16(u + i, codes);
    }
    return (page_share){m, (float)tn_i_sum(l) * 0x1p-22f, W * (float)(1.0 / 4095.0)};
}

// Adds `count` lanes of a page's integer sums to o, both brought to the larger exponent.
TN_INLINE void combine_lanes(float *o, const int32_t *acc, uint32_t count, float u_scale, bool first, float power, float power_c)
{
    for (uint32_t i = 0; i < count; i += STRIP) {
        uint32_t left = count - i < STRIP ? count - i : STRIP;
        tn_f32s o_c = tn_s_mul(tn_i_to_f32(tn_i_load(acc + i)), tn_s_set1(u_scale));
        if (!first) {
            tn_f32s before = left < STRIP ? tn_s_load_n(o + i, left) : tn_s_load(o + i);
            o_c = tn_s_add(tn_s_f100(tn_s_mul(before, tn_s_set1(power))), tn_s_f100(tn_s_mul(o_c, tn_s_set1(power_c))));
        }
        if (left < STRIP) {
            tn_s_store_n(o + i, o_c, left);
        } else {
            tn_s_store(o + i, o_c);
        }
    }
}

// 2^n for n <= 0; 0 below -60, where the definition drops the term.
static float power_of(int32_t n) { return n < -60 ? 0.0f : tn_pow2(n); }

// One page for 1..TN_DOT_HEADS heads.
static void attend_page(const kv_page *page, const int16_t *q, const float *q_scale, uint32_t heads, uint32_t head_dim, bool first,
                        head_state *state)
{
    int32_t acc[TN_DOT_HEADS * PAGE];
    int16_t u[TN_DOT_HEADS * PAGE];
    page_share share[TN_DOT_HEADS];
    float power[TN_DOT_HEADS], power_c[TN_DOT_HEADS];
    for (uint32_t i = 0; i < page->count;) {
        uint32_t strips = strips_for(page->count - i);
        dot_pairs(page->k + 2 * i, page->ahead, PAGE, head_dim / 2, q, head_dim, heads, strips, acc + i);
        i += strips * STRIP;
    }
    for (uint32_t h = 0; h < heads; h++) {
        share[h] = page_weights(acc + h * PAGE, q_scale[h], page, u + h * PAGE);
        int32_t m = first || share[h].m > state[h].m ? share[h].m : state[h].m;
        power[h] = first ? 0.0f : power_of(state[h].m - m);
        power_c[h] = power_of(share[h].m - m);
        state[h].l = first ? share[h].l : tn_f100(state[h].l * power[h]) + tn_f100(share[h].l * power_c[h]);
        state[h].m = m;
    }
    for (uint32_t d = 0; d < head_dim;) {
        uint32_t left = head_dim - d;
        uint32_t strips = strips_for(left);
        uint32_t lanes = left < strips * STRIP ? left : strips * STRIP;
        dot_pairs(page->v + 2 * d, page->ahead, head_dim, (page->count + 1) / 2, u, PAGE, heads, strips, acc);
        for (uint32_t h = 0; h < heads; h++) {
            combine_lanes(state[h].o + d, acc + h * PAGE, lanes, share[h].u_scale, first, power[h], power_c[h]);
        }
        d += lanes;
    }
}

// out = FL(o * RECIP(l)).
static tn_i32s finish_head(const head_state *state, uint32_t head_dim, float *y, tn_i32s max)
{
    const tn_f32s l_recip = tn_s_set1(tn_recip(state->l));
    for (uint32_t d = 0; d < head_dim; d += STRIP) {
        uint32_t left = head_dim - d;
        tn_f32s o = left < STRIP ? tn_s_load_n(state->o + d, left) : tn_s_load(state->o + d);
        tn_f32s v = tn_s_fl(tn_s_mul(o, l_recip));
        if (left < STRIP) {
            tn_s_store_n(y + d, v, left);
        } else {
            tn_s_store(y + d, v);
        }
        max = tn_i_max_u(max, tn_s_abs_bits(v));
    }
    return max;
}

// `n`: pages that are computed one after the other.
static kv_page page_at(const tn_k_attention_args *args, uint32_t index, uint32_t n)
{
    const uint8_t *block = args->kv + args->pages[index] * args->page_stride;
    const size_t codes_bytes = (size_t)PAGE * args->head_dim * sizeof(int16_t);
    const float *scales = (const float *)(const void *)(block + 2 * codes_bytes);
    uint32_t left = args->n_pos - index * PAGE;
    const ptrdiff_t ahead =
        index + 1 < n ? ((ptrdiff_t)args->pages[index + 1] - (ptrdiff_t)args->pages[index]) * (ptrdiff_t)args->page_stride : 0;
    return (kv_page){.k = (const int16_t *)(const void *)block,
                     .v = (const int16_t *)(const void *)(block + codes_bytes),
                     .k_scale = scales,
                     .v_scale = scales + PAGE,
                     .count = left < PAGE ? left : PAGE,
                     .ahead = ahead};
}

uint32_t TN_K(attention)(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim, n_pages = (args->n_pos + PAGE - 1) / PAGE;
    head_state *states = args->scratch;
    float *sums = (float *)(void *)(states + args->n_q);
    for (uint32_t h = 0; h < args->n_q; h++) states[h] = (head_state){.o = sums + (size_t)h * head_dim, .m = 0, .l = 0.0f};
    for (uint32_t i = 0; i < n_pages; i++) {
        const kv_page page = page_at(args, i, n_pages);
        for (uint32_t h = 0; h < args->n_q; h += TN_DOT_HEADS) {
            uint32_t heads = args->n_q - h < TN_DOT_HEADS ? args->n_q - h : TN_DOT_HEADS;
            attend_page(&page, args->q + (size_t)h * head_dim, args->q_scale + h, heads, head_dim, i == 0, states + h);
        }
    }
    tn_i32s max = tn_i_set1(0);
    for (uint32_t h = 0; h < args->n_q; h++) max = finish_head(states + h, head_dim, args->y + (size_t)h * head_dim, max);
    return tn_i_max_all_u(max);
}

// The part of page `page` for head h.
static head_state part_of(const tn_k_attention_args *args, uint32_t page, uint32_t h)
{
    float *part = args->parts + ((size_t)page * args->n_q + h) * TN_ATTENTION_PART(args->head_dim);
    int32_t m;
    memcpy(&m, part + args->head_dim, sizeof m);
    return (head_state){.o = part, .m = m, .l = part[args->head_dim + 1]};
}

void TN_K(attention_pages)(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim;
    for (uint32_t i = args->first_page; i < args->first_page + args->n_pages; i++) {
        const kv_page page = page_at(args, i, args->first_page + args->n_pages);
        for (uint32_t h = 0; h < args->n_q; h += TN_DOT_HEADS) {
            const uint32_t heads = args->n_q - h < TN_DOT_HEADS ? args->n_q - h : TN_DOT_HEADS;
            head_state states[TN_DOT_HEADS];
            for (uint32_t k = 0; k < heads; k++) states[k] = part_of(args, i, h + k);
            attend_page(&page, args->q + (size_t)h * head_dim, args->q_scale + h, heads, head_dim, true, states);
            for (uint32_t k = 0; k < heads; k++) {
                memcpy(states[k].o + head_dim, &states[k].m, sizeof states[k].m);
                states[k].o[head_dim + 1] = states[k].l;
            }
        }
    }
}

// x = F(x * 2^(m - m')) + F(x_c * 2^(m_c - m')) for a page's sums that wait as floats.
TN_INLINE void join_lanes(float *o, const float *o_c, uint32_t count, float power, float power_c)
{
    const tn_f32s p = tn_s_set1(power), p_c = tn_s_set1(power_c);
    for (uint32_t i = 0; i < count; i += STRIP) {
        const uint32_t left = count - i;
        const tn_f32s before = left < STRIP ? tn_s_load_n(o + i, left) : tn_s_load(o + i);
        const tn_f32s of_page = left < STRIP ? tn_s_load_n(o_c + i, left) : tn_s_load(o_c + i);
        const tn_f32s sum = tn_s_add(tn_s_f100(tn_s_mul(before, p)), tn_s_f100(tn_s_mul(of_page, p_c)));
        if (left < STRIP) {
            tn_s_store_n(o + i, sum, left);
        } else {
            tn_s_store(o + i, sum);
        }
    }
}

uint32_t TN_K(attention_join)(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim, n_pages = (args->n_pos + PAGE - 1) / PAGE;
    tn_i32s max = tn_i_set1(0);
    for (uint32_t h = 0; h < args->n_q; h++) {
        head_state state = part_of(args, 0, h); // its sums become the head's
        for (uint32_t i = 1; i < n_pages; i++) {
            const head_state part = part_of(args, i, h);
            const int32_t m = part.m > state.m ? part.m : state.m;
            const float power = power_of(state.m - m), power_c = power_of(part.m - m);
            state.l = tn_f100(state.l * power) + tn_f100(part.l * power_c);
            state.m = m;
            join_lanes(state.o, part.o, head_dim, power, power_c);
        }
        max = finish_head(&state, head_dim, args->y + (size_t)h * head_dim, max);
    }
    return tn_i_max_all_u(max);
}
