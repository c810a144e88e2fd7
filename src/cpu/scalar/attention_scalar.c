// Attention in plain C over the CPU's KV blocks: src/ref's chunks, with keys and values read in pairs.
#include "cpu/kernel.h"
#include "ref/ref_attention_chunk.h"

#include <string.h>

#define PAGE TN_KV_PAGE_POSITIONS
#define DIMS 64u // output dimensions at a time

// Both sums walk a block in the order of its memory. In uint32_t: exact for codes that quant_head makes, defined for any.
static void page_dots(const int16_t *q, const int16_t *k, uint32_t n, uint32_t head_dim, int32_t *dots)
{
    uint32_t acc[PAGE] = {0};
    for (uint32_t d = 0; d < head_dim; d += 2) {
        const int16_t *row = k + (size_t)d * PAGE;
        for (uint32_t i = 0; i < n; i++) acc[i] += (uint32_t)(q[d] * row[2 * i]) + (uint32_t)(q[d + 1] * row[2 * i + 1]);
    }
    for (uint32_t i = 0; i < n; i++) dots[i] = (int32_t)acc[i];
}

// o_c of dimensions [d, d + count), count <= DIMS. The weights beyond the last position are 0.
static void page_values(const tn_ref_chunk *chunk, const int16_t *v, uint32_t n, uint32_t head_dim, uint32_t d, uint32_t count, float *o_c)
{
    uint32_t acc[DIMS] = {0};
    for (uint32_t i = 0; i < n; i += 2) {
        const int16_t *row = v + ((size_t)i / 2 * head_dim + d) * 2;
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

// Adds one page, or begins with it.
static void add_page(const tn_k_attention_args *args, const int16_t *q, float sq, uint32_t page, bool first, head_state *state)
{
    const uint32_t head_dim = args->head_dim, start = page * PAGE;
    const size_t codes = (size_t)PAGE * head_dim;
    const uint8_t *block = args->kv + args->pages[page] * args->page_stride;
    const int16_t *k = (const int16_t *)(const void *)block, *v = k + codes;
    const float *k_scale = (const float *)(const void *)(v + codes), *v_scale = k_scale + PAGE;
    uint32_t n = args->n_pos - start < PAGE ? args->n_pos - start : PAGE;
    int32_t dots[TN_REF_CHUNK];
    tn_ref_chunk chunk;
    page_dots(q, k, n, head_dim, dots);
    tn_ref_chunk_weights(dots, sq, k_scale, v_scale, n, &chunk);
    tn_ref_rescale r = tn_ref_rescale_of(first ? chunk.m : state->m, chunk.m);
    for (uint32_t d = 0; d < head_dim; d += DIMS) {
        uint32_t count = head_dim - d < DIMS ? head_dim - d : DIMS;
        float o_c[DIMS], *o = state->o + d;
        page_values(&chunk, v, n, head_dim, d, count, o_c);
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

uint32_t tn_k_attention__scalar(const tn_k_attention_args *args)
{
    uint32_t max = 0;
    for (uint32_t h = 0; h < args->n_q; h++) {
        size_t at = (size_t)h * args->head_dim;
        head_state state = {.o = args->y + at};
        for (uint32_t page = 0; page * PAGE < args->n_pos; page++) add_page(args, args->q + at, args->q_scale[h], page, page == 0, &state);
        max = larger(max, finish_head(&state, args->head_dim, state.o));
    }
    return max;
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
            add_page(args, args->q + (size_t)h * args->head_dim, args->q_scale[h], page, true, &state);
            memcpy(state.o + args->head_dim, &state.m, sizeof state.m);
            state.o[args->head_dim + 1] = state.l;
        }
    }
}

uint32_t tn_k_attention_join__scalar(const tn_k_attention_args *args)
{
    const uint32_t head_dim = args->head_dim;
    uint32_t max = 0;
    for (uint32_t h = 0; h < args->n_q; h++) {
        head_state state = {.o = args->y + (size_t)h * head_dim};
        for (uint32_t page = 0; page * PAGE < args->n_pos; page++) {
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
    return max;
}
