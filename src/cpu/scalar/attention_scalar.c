// Attention in plain C over the CPU's KV blocks: src/ref's chunks, with keys and values read in pairs.
#include "cpu/kernel.h"
#include "ref/ref_attention_chunk.h"

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

static uint32_t attend_head(const tn_k_attention_args *args, const int16_t *q, float sq, float *y)
{
    const uint32_t head_dim = args->head_dim;
    const size_t codes = (size_t)PAGE * head_dim;
    int32_t m = 0;
    float l = 0.0f;
    for (uint32_t start = 0; start < args->n_pos; start += PAGE) {
        const uint8_t *block = args->kv + args->pages[start / PAGE] * args->page_stride;
        const int16_t *k = (const int16_t *)(const void *)block, *v = k + codes;
        const float *k_scale = (const float *)(const void *)(v + codes), *v_scale = k_scale + PAGE;
        uint32_t n = args->n_pos - start < PAGE ? args->n_pos - start : PAGE;
        int32_t dots[TN_REF_CHUNK];
        tn_ref_chunk chunk;
        page_dots(q, k, n, head_dim, dots);
        tn_ref_chunk_weights(dots, sq, k_scale, v_scale, n, &chunk);
        tn_ref_rescale r = tn_ref_rescale_of(start == 0 ? chunk.m : m, chunk.m);
        for (uint32_t d = 0; d < head_dim; d += DIMS) {
            uint32_t count = head_dim - d < DIMS ? head_dim - d : DIMS;
            float o_c[DIMS];
            page_values(&chunk, v, n, head_dim, d, count, o_c);
            for (uint32_t j = 0; j < count; j++) y[d + j] = start == 0 ? o_c[j] : tn_ref_rescaled_sum(r, y[d + j], o_c[j]);
        }
        l = start == 0 ? chunk.l : tn_ref_rescaled_sum(r, l, chunk.l);
        m = r.m;
    }
    float l_recip = tn_recip(l);
    for (uint32_t d = 0; d < head_dim; d++) y[d] = tn_fl(y[d] * l_recip);
    return tn_ref_absmax_bits(y, head_dim);
}

uint32_t tn_k_attention__scalar(const tn_k_attention_args *args)
{
    uint32_t max = 0;
    for (uint32_t h = 0; h < args->n_q; h++) {
        size_t at = (size_t)h * args->head_dim;
        uint32_t bits = attend_head(args, args->q + at, args->q_scale[h], args->y + at);
        max = bits > max ? bits : max;
    }
    return max;
}
