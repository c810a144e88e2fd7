// Attention over one KV head, written once over a strip vocabulary. The including file defines TN_K(op) and includes simd_<isa>.h before.
//
// A page of 128 positions is a chunk of the definition. Both of its matrices have the same form, panels of rows of int16 pairs: k has a row
// for every two dimensions with positions as lanes, v a row for every two positions with dimensions as lanes. So one integer tile makes the
// scores (times pairs of q) and the outputs (times pairs of u).
// Pages outside, queries inside: up to GROUP of them, heads of one token or of several, see a page while its panels are in the first-level
// cache, and memory is read in its order.
// Exact: equals tn_ref_attention bit for bit, query by query.   head_dim: even.
// Reads:  whole strips of 32 lanes, so up to 124 bytes past a row of v: that is the next row or, after the last, the block's scales.
#include "cpu/kernel.h"
#include "cpu/tmpl/exact_strip.h"

#include <stddef.h>
#include <string.h>

#define STRIP TN_KV_LANES
#define PAGE  TN_KV_PAGE_POSITIONS
#define GROUP TN_ATTENTION_GROUP // their scores and weights, 12 KiB, stay in the first-level cache beside a panel of 8 KiB

#ifdef __clang__
#define TN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_UNROLL _Pragma("GCC unroll 8")
#endif

// One page of one KV head, by part: see kernel.h.
typedef struct kv_page {
    const int16_t *k, *v;
    const float *k_scale, *v_scale;
    uint32_t start;  // its first position
    ptrdiff_t ahead; // bytes to the page that is computed next, 0 where there is none: its lines are asked for while this one is computed
} kv_page;

// Queries that see a page together.
typedef struct group {
    const int16_t *q; // [n][head_dim]
    const float *q_scale;
    uint32_t n, head_dim;
    uint32_t count[GROUP]; // positions of the page that a query sees, 1..128, ascending
    // Running state: sums o [n][o_stride], exponent, sum of the weights. Written, not added to, by the first page.
    bool first;
    float *o, *l;
    size_t o_stride;
    int32_t *m;
} group;

#define HIDDEN (-0x1p22f) // score of a key that is not seen: no weight beside any other

// What a group's queries make of a page.
typedef struct shares {
    float t[GROUP][PAGE]; // scores, then weights times the scales of v
    int16_t u[GROUP][PAGE];
    tn_f32s t_max[GROUP];
    float w_max[2 * GROUP]; // a whole strip
    float to_codes[2 * GROUP];
    float power[GROUP], power_c[GROUP], u_scale[GROUP];
} shares;

// sums[h][lane] = sum over rows of m[row][lane] . pairs[h][row], for H queries and a strip of lanes. Meanwhile the same part of the next
// page is asked for, into the second-level cache.
TN_INLINE void dot_tile(const int16_t *m, ptrdiff_t ahead, size_t row_lanes, uint32_t n_rows, const int16_t *pairs, size_t pairs_stride,
                        const int H, tn_i32s *sums)
{
    TN_UNROLL
    for (int h = 0; h < H; h++) sums[h] = tn_i_set1(0);
    for (uint32_t row = 0; row < n_rows; row++) {
        const int16_t *at = m + row * row_lanes * 2;
        const tn_pairs strip = tn_i_load_pairs(at);
        const uintptr_t next = (uintptr_t)at + (uintptr_t)ahead;
        __builtin_prefetch((const void *)next, 0, 2);
        __builtin_prefetch((const void *)(next + 64), 0, 2);
        TN_UNROLL
        for (int h = 0; h < H; h++) sums[h] = tn_i_dot_pair(sums[h], strip, pairs + (size_t)h * pairs_stride + 2 * row);
    }
}

// Scores of H queries and a strip of keys from i on.
TN_INLINE void score_tile(const kv_page *page, const group *g, uint32_t i, uint32_t first, const int H, shares *s)
{
    const tn_f32s t_max = tn_s_set1(0x1p20f), t_min = tn_s_set1(-0x1p20f), k_scale = tn_s_load(page->k_scale + i);
    tn_i32s sums[TN_DOT_HEADS];
    dot_tile(page->k + (size_t)i * g->head_dim, page->ahead, STRIP, g->head_dim / 2, g->q + (size_t)first * g->head_dim, g->head_dim, H,
             sums);
    TN_UNROLL
    for (int h = 0; h < H; h++) {
        const uint32_t j = first + (uint32_t)h, left = g->count[j] > i ? g->count[j] - i : 0;
        tn_f32s t = tn_s_mul(tn_i_to_f32(sums[h]), tn_s_mul(tn_s_set1(g->q_scale[j]), k_scale));
        t = tn_s_min(tn_s_max(t, t_min), t_max);
        if (left < STRIP) t = tn_i_float_of_bits(tn_i_first_n(tn_s_bits(t), left, (int32_t)tn_bits(HIDDEN)));
        tn_s_store(s->t[j] + i, t);
        s->t_max[j] = i == 0 ? t : tn_s_max(t, s->t_max[j]);
    }
}

// 2^n for n <= 0; 0 below -60, where the definition drops the term.
static float power_of(int32_t n) { return n < -60 ? 0.0f : tn_pow2(n); }

// Weights of query j times the scales of v, the largest of them, and their share of the soft maximum.
static void weigh(const kv_page *page, const group *g, uint32_t j, shares *s)
{
    const uint32_t count = g->count[j];
    const int32_t m_c = tn_i_max_all(tn_s_round(s->t_max[j])); // rounding is monotonic
    tn_f32s w_max = tn_s_set1(0.0f);
    tn_i32s l = tn_i_set1(0);
    for (uint32_t i = 0; i < count; i += STRIP) {
        const uint32_t left = count - i;
        const tn_f32s t = tn_s_load(s->t[j] + i);
        const tn_i32s n = tn_s_round(t), below = tn_i_sub(tn_i_set1(m_c), n);
        const tn_f32s power = tn_s_zero_above(tn_i_pow2(tn_i_sub(n, tn_i_set1(m_c))), below, 24);
        const tn_f32s weight = tn_s_mul(tn_s_exp2_poly(tn_s_sub(t, tn_i_to_f32(n))), power);
        const tn_f32s v_scale = left < STRIP ? tn_s_load_n(page->v_scale + i, left) : tn_s_load(page->v_scale + i);
        const tn_f32s w = tn_s_mul(weight, v_scale);
        tn_s_store(s->t[j] + i, w);
        w_max = tn_s_max(w, w_max);
        l = tn_i_add(l, tn_s_round(tn_s_mul(weight, tn_s_set1(0x1p22f))));
    }
    s->w_max[j] = tn_float(tn_i_max_all_u(tn_s_abs_bits(w_max)));
    const float l_c = (float)tn_i_sum(l) * 0x1p-22f;
    const int32_t m = g->first || m_c > g->m[j] ? m_c : g->m[j];
    s->power[j] = g->first ? 0.0f : power_of(g->m[j] - m);
    s->power_c[j] = power_of(m_c - m);
    g->l[j] = g->first ? l_c : tn_f100(g->l[j] * s->power[j]) + tn_f100(l_c * s->power_c[j]);
    g->m[j] = m;
}

// Weights to codes u; 0 for what a query does not see, up to position `end`.
static void encode(const group *g, uint32_t end, shares *s)
{
    tn_s_store(s->to_codes, tn_s_mul(tn_s_set1(4095.0f), tn_s_recip(tn_s_load(s->w_max))));
    for (uint32_t j = 0; j < g->n; j++) {
        const tn_f32s to_codes = tn_s_set1(s->w_max[j] > 0.0f ? s->to_codes[j] : 0.0f);
        s->u_scale[j] = s->w_max[j] * (float)(1.0 / 4095.0);
        for (uint32_t i = 0; i < end; i += STRIP) {
            const tn_i32s codes = i < g->count[j] ? tn_s_round(tn_s_mul(tn_s_load(s->t[j] + i), to_codes)) : tn_i_set1(0);
            tn_i_store_i16(s->u[j] + i, codes);
        }
    }
}

// Adds `count` lanes of a page's integer sums to o, both brought to the larger exponent.
TN_INLINE void combine_lanes(float *o, tn_i32s sums, uint32_t count, const group *g, const shares *s, uint32_t j)
{
    tn_f32s o_c = tn_s_mul(tn_i_to_f32(sums), tn_s_set1(s->u_scale[j]));
    if (!g->first) {
        const tn_f32s before = count < STRIP ? tn_s_load_n(o, count) : tn_s_load(o);
        o_c = tn_s_add(tn_s_f100(tn_s_mul(before, tn_s_set1(s->power[j]))), tn_s_f100(tn_s_mul(o_c, tn_s_set1(s->power_c[j]))));
    }
    if (count < STRIP) {
        tn_s_store_n(o, o_c, count);
    } else {
        tn_s_store(o, o_c);
    }
}

// Outputs of H queries in a strip of dimensions from d on.
TN_INLINE void value_tile(const kv_page *page, const group *g, uint32_t d, uint32_t first, const int H, shares *s)
{
    const uint32_t left = g->head_dim - d, lanes = left < STRIP ? left : STRIP, n_rows = (g->count[g->n - 1] + 1) / 2;
    tn_i32s sums[TN_DOT_HEADS];
    dot_tile(page->v + (size_t)d * PAGE, page->ahead, lanes, n_rows, s->u[first], PAGE, H, sums);
    TN_UNROLL
    for (int h = 0; h < H; h++) {
        const uint32_t j = first + (uint32_t)h;
        combine_lanes(g->o + g->o_stride * j + d, sums[h], lanes, g, s, j);
    }
}

typedef enum product { SCORES, VALUES } product;

TN_INLINE void tile_of(const product of, const kv_page *page, const group *g, uint32_t at, uint32_t first, const int H, shares *s)
{
    if (of == SCORES) {
        score_tile(page, g, at, first, H, s);
    } else {
        value_tile(page, g, at, first, H, s);
    }
}

// One strip of keys or dimensions for all queries of the group.
TN_INLINE void strip_of(const product of, const kv_page *page, const group *g, uint32_t at, shares *s)
{
    uint32_t first = 0;
    for (; first + TN_DOT_HEADS <= g->n; first += TN_DOT_HEADS) tile_of(of, page, g, at, first, TN_DOT_HEADS, s);
#if TN_DOT_HEADS > 4
    if (first + 4 <= g->n) {
        tile_of(of, page, g, at, first, 4, s);
        first += 4;
    }
#endif
    if (first + 2 <= g->n && TN_DOT_HEADS > 2) {
        tile_of(of, page, g, at, first, 2, s);
        first += 2;
    }
    if (first < g->n) tile_of(of, page, g, at, first, 1, s);
}

static void attend_page(const kv_page *page, const group *g)
{
    const uint32_t count = g->count[g->n - 1];
    shares s;
    tn_s_store(s.w_max, tn_s_set1(1.0f)); // of the places without a query
    for (uint32_t i = 0; i < count; i += STRIP) strip_of(SCORES, page, g, i, &s);
    for (uint32_t j = 0; j < g->n; j++) weigh(page, g, j, &s);
    encode(g, count, &s);
    for (uint32_t d = 0; d < g->head_dim; d += STRIP) strip_of(VALUES, page, g, d, &s);
}

// out = FL(o * RECIP(l)).
static tn_i32s finish(const float *sums, float l, uint32_t head_dim, float *y, tn_i32s max)
{
    const tn_f32s l_recip = tn_s_set1(tn_recip(l));
    for (uint32_t d = 0; d < head_dim; d += STRIP) {
        uint32_t left = head_dim - d;
        const tn_f32s o = left < STRIP ? tn_s_load_n(sums + d, left) : tn_s_load(sums + d);
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

// Page `index` of those that are computed up to `end`.
static kv_page page_at(const tn_k_attention_args *args, uint32_t index, uint32_t end)
{
    const uint8_t *block = args->kv + args->pages[index] * args->page_stride;
    const size_t codes = (size_t)PAGE * args->head_dim;
    const int16_t *k = (const int16_t *)(const void *)block;
    const float *scales = (const float *)(const void *)(k + 2 * codes);
    const ptrdiff_t pages_ahead = index + 1 < end ? (ptrdiff_t)args->pages[index + 1] - (ptrdiff_t)args->pages[index] : 0;
    return (kv_page){.k = k,
                     .v = k + codes,
                     .k_scale = scales,
                     .v_scale = scales + PAGE,
                     .start = index * PAGE,
                     .ahead = pages_ahead * (ptrdiff_t)args->page_stride};
}

// The next queries of those from `query` on, and what they see of a page.
static void take_group(group *g, const tn_k_attention_args *args, const kv_page *page, uint32_t query)
{
    const uint32_t left = args->n_tokens * args->n_q - query;
    g->q = args->q + (size_t)query * args->head_dim;
    g->q_scale = args->q_scale + query;
    g->n = left < GROUP ? left : GROUP;
    g->head_dim = args->head_dim;
    for (uint32_t j = 0; j < g->n; j++) {
        const uint32_t seen = args->n_pos[(query + j) / args->n_q] - page->start;
        g->count[j] = seen < PAGE ? seen : PAGE;
    }
}

void TN_K(attention)(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim, n_q = args->n_q, n = args->n_tokens * n_q;
    const uint32_t n_pages = (args->n_pos[args->n_tokens - 1] + PAGE - 1) / PAGE;
    float *sums = args->scratch, *l = sums + (size_t)n * head_dim;
    int32_t *m = (int32_t *)(void *)(l + n);
    for (uint32_t i = 0, token = 0; i < n_pages; i++) {
        const kv_page page = page_at(args, i, n_pages);
        while (args->n_pos[token] <= page.start) token++; // the first that sees it
        for (uint32_t query = token * n_q; query < n; query += GROUP) {
            group g = {.first = i == 0, .o = sums + (size_t)query * head_dim, .l = l + query, .o_stride = head_dim, .m = m + query};
            take_group(&g, args, &page, query);
            attend_page(&page, &g);
        }
    }
    for (uint32_t token = 0; token < args->n_tokens; token++) {
        tn_i32s max = tn_i_set1(0);
        for (uint32_t h = 0; h < n_q; h++) {
            const uint32_t query = token * n_q + h;
            max = finish(sums + (size_t)query * head_dim, l[query], head_dim, args->y + args->y_stride * token + (size_t)h * head_dim, max);
        }
        args->y_absmax[token] = tn_i_max_all_u(max);
    }
}

// Of page `page`, head 0; the next heads follow.
static float *part_of(const tn_k_attention_args *args, uint32_t page)
{
    return args->parts + (size_t)page * args->n_q * TN_ATTENTION_PART(args->head_dim);
}

void TN_K(attention_pages)(const tn_k_attention_args *args)
{
    const size_t part_floats = TN_ATTENTION_PART(args->head_dim);
    const uint32_t end = args->first_page + args->n_pages;
    for (uint32_t i = args->first_page; i < end; i++) {
        const kv_page page = page_at(args, i, end);
        for (uint32_t query = 0; query < args->n_q; query += GROUP) {
            float *parts = part_of(args, i) + part_floats * query, l[GROUP];
            int32_t m[GROUP];
            group g = {.first = true, .o = parts, .l = l, .o_stride = part_floats, .m = m};
            take_group(&g, args, &page, query);
            attend_page(&page, &g);
            for (uint32_t j = 0; j < g.n; j++) {
                memcpy(parts + part_floats * j + args->head_dim, &m[j], sizeof m[j]);
                parts[part_floats * j + args->head_dim + 1] = l[j];
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

static int32_t exponent_of(const float *part, uint32_t head_dim)
{
    int32_t m;
    memcpy(&m, part + head_dim, sizeof m);
    return m;
}

void TN_K(attention_join)(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim, n_pages = (args->n_pos[0] + PAGE - 1) / PAGE;
    tn_i32s max = tn_i_set1(0);
    for (uint32_t h = 0; h < args->n_q; h++) {
        const size_t at = h * TN_ATTENTION_PART(head_dim);
        float *sums = part_of(args, 0) + at, l = sums[head_dim + 1]; // the first page's become the head's
        int32_t m = exponent_of(sums, head_dim);
        for (uint32_t i = 1; i < n_pages; i++) {
            const float *part = part_of(args, i) + at;
            const int32_t m_c = exponent_of(part, head_dim), larger = m_c > m ? m_c : m;
            const float power = power_of(m - larger), power_c = power_of(m_c - larger);
            l = tn_f100(l * power) + tn_f100(part[head_dim + 1] * power_c);
            m = larger;
            join_lanes(sums, part, head_dim, power, power_c);
        }
        max = finish(sums, l, head_dim, args->y + (size_t)h * head_dim, max);
    }
    args->y_absmax[0] = tn_i_max_all_u(max);
}
