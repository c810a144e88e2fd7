// Attention in plain C over the CPU's KV blocks: src/ref's chunks, with keys and values read in pairs.
#include "cpu/kernel.h"
#include "ref/ref_attention_chunk.h"

#include <string.h>

#define PAGE TN_KV_PAGE_POSITIONS

// Both sums walk a block in the order of its memory. In uint32_t: exact for codes that quant_head makes, defined for any.
// Scores of a panel: keys [first, first + count), count <= TN_KV_LANES.
static void panel_dots(const int16_t *q, const int16_t *k, uint32_t head_dim, uint32_t first, uint32_t count, int32_t *dots)
{
    uint32_t acc[TN_KV_LANES] = {0};
    for (uint32_t d = 0; d < head_dim; d += 2) {
        const int16_t *row = k + tn_kv_k_index(head_dim, first, d);
        for (uint32_t i = 0; i < count; i++) acc[i] += (uint32_t)(q[d] * row[2 * i]) + (uint32_t)(q[d + 1] * row[2 * i + 1]);
    }
    for (uint32_t i = 0; i < count; i++) dots[i] = (int32_t)acc[i];
}

// o_c of a panel: dimensions [first, first + count), n positions. The weights beyond the last position are 0.
static void panel_values(const tn_ref_chunk *chunk, const int16_t *codes, uint32_t n, uint32_t head_dim, uint32_t first, uint32_t count,
                         float *o_c)
{
    uint32_t acc[TN_KV_LANES] = {0};
    for (uint32_t i = 0; i < n; i += 2) {
        const int16_t *row = codes + tn_kv_v_index(head_dim, i, first);
        for (uint32_t j = 0; j < count; j++) {
            acc[j] += (uint32_t)(chunk->u[i] * row[2 * j]) + (uint32_t)(chunk->u[i + 1] * row[2 * j + 1]);
        }
    }
    for (uint32_t j = 0; j < count; j++) o_c[j] = (float)(int32_t)acc[j] * chunk->u_scale;
}

// Running state of a head: o is [head_dim].
typedef struct head_state {
    int32_t m;
    float l;
    float *o;
} head_state;

static uint32_t lanes_of(uint32_t left) { return left < TN_KV_LANES ? left : TN_KV_LANES; }

// Adds one page for a query that sees n of its positions, or begins with it.
static void add_page(const tn_k_attention_args *args, const int16_t *q, float sq, uint32_t page, uint32_t n, bool first, head_state *state)
{
    const uint32_t head_dim = args->head_dim;
    const int16_t *codes = (const int16_t *)(const void *)(args->kv + args->pages[page] * args->page_stride);
    const float *k_scale = (const float *)(const void *)(codes + (size_t)2 * PAGE * head_dim), *v_scale = k_scale + PAGE;
    int32_t dots[TN_REF_CHUNK];
    tn_ref_chunk chunk;
    for (uint32_t i = 0; i < n; i += TN_KV_LANES) panel_dots(q, codes, head_dim, i, lanes_of(n - i), dots + i);
    tn_ref_chunk_weights(dots, sq, k_scale, v_scale, n, &chunk);
    tn_ref_rescale r = tn_ref_rescale_of(first ? chunk.m : state->m, chunk.m);
    for (uint32_t d = 0; d < head_dim; d += TN_KV_LANES) {
        const uint32_t count = lanes_of(head_dim - d);
        float o_c[TN_KV_LANES], *o = state->o + d;
        panel_values(&chunk, codes, n, head_dim, d, count, o_c);
        for (uint32_t j = 0; j < count; j++) o[j] = first ? o_c[j] : tn_ref_rescaled_sum(r, o[j], o_c[j]);
    }
    state->l = first ? chunk.l : tn_ref_rescaled_sum(r, state->l, chunk.l);
    state->m = r.m;
}

static uint32_t finish_head(const head_state *state, uint32_t head_dim, float *y)
{
    float l_recip = tn_recip(state->l);
    for (uint32_t d = 0; d < head_dim; d++) y[d] = tn_fl(state->o[d] * l_recip);
    return tn_ref_absmax_bits(y, head_dim);
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

// Positions of a page that a token sees.
static uint32_t seen_of(uint32_t n_pos, uint32_t page) { return n_pos - page * PAGE < PAGE ? n_pos - page * PAGE : PAGE; }

void tn_k_attention__scalar(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim;
    for (uint32_t token = 0; token < args->n_tokens; token++) {
        const uint32_t n_pos = args->n_pos[token];
        args->y_absmax[token] = 0;
        for (uint32_t h = 0; h < args->n_q; h++) {
            const size_t query = (size_t)token * args->n_q + h;
            head_state state = {.o = args->y + args->y_stride * token + (size_t)h * head_dim};
            for (uint32_t page = 0; page * PAGE < n_pos; page++)
                add_page(args, args->q + query * head_dim, args->q_scale[query], page, seen_of(n_pos, page), page == 0, &state);
            args->y_absmax[token] = larger(args->y_absmax[token], finish_head(&state, head_dim, state.o));
        }
    }
}

static float *part_of(const tn_k_attention_args *args, uint32_t page, uint32_t h)
{
    return args->parts + ((size_t)page * args->n_q + h) * TN_ATTENTION_PART(args->head_dim);
}

void tn_k_attention_pages__scalar(const tn_k_attention_args *args)
{
    for (uint32_t page = args->first_page; page < args->first_page + args->n_pages; page++) {
        for (uint32_t h = 0; h < args->n_q; h++) {
            head_state state = {.o = part_of(args, page, h)};
            add_page(args, args->q + (size_t)h * args->head_dim, args->q_scale[h], page, seen_of(args->n_pos[0], page), true, &state);
            memcpy(state.o + args->head_dim, &state.m, sizeof state.m);
            state.o[args->head_dim + 1] = state.l;
        }
    }
}

void tn_k_attention_join__scalar(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim;
    uint32_t max = 0;
    for (uint32_t h = 0; h < args->n_q; h++) {
        head_state state = {.o = args->y + (size_t)h * head_dim};
        for (uint32_t page = 0; page * PAGE < args->n_pos[0]; page++) {
            const float *part = part_of(args, page, h), l = part[head_dim + 1];
            int32_t m;
            memcpy(&m, part + head_dim, sizeof m);
            tn_ref_rescale r = tn_ref_rescale_of(page == 0 ? m : state.m, m);
            for (uint32_t d = 0; d < head_dim; d++) state.o[d] = page == 0 ? part[d] : tn_ref_rescaled_sum(r, state.o[d], part[d]);
            state.l = page == 0 ? l : tn_ref_rescaled_sum(r, state.l, l);
            state.m = r.m;
        }
        max = larger(max, finish_head(&state, head_dim, state.o));
    }
    args->y_absmax[0] = max;
}
