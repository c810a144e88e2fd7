// Attention of the tokens of a tile that share a sequence, on integer tensor cores, by a block of four pairs of warps. A row is a query
// head of a token.
//
// A pair of warps has 16 rows. Of each chunk each of the two has half of the positions for the products over keys and the weights, then the
// weights of both and half of the dims for the products over values: what a warp holds at a time fits in as few registers as let two blocks
// share a multiprocessor. Keys and values are staged in shared memory for all warps.
#ifndef TN_CUDA_ATTENTION_TILE_CUH
#define TN_CUDA_ATTENTION_TILE_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/attention_tile_share.cuh"
#include "cuda/kernels/attention_tile_weigh.cuh"
#include "cuda/kernels/rope.cuh"
#include "cuda/kernels/warp.cuh"

// ---- queries ----

TN_FN uint32_t tn_tile_token(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t row)
{
    return job.first + row / (p.n_heads / p.n_kv_heads);
}
TN_FN uint32_t tn_tile_head(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t row)
{
    const uint32_t group = p.n_heads / p.n_kv_heads;
    return job.kv_head * group + row % group;
}

// Dims 4 lane .. of a row's query; 0 where there are none.
TN_FN tn_u4 tn_tile_query(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t row)
{
    const uint32_t head_dim = p.rope.head_dim, d = tn_tile_lane() * 4;
    tn_u4 x = {0, 0, 0, 0};
    if (row >= job.n * (p.n_heads / p.n_kv_heads) || d >= head_dim) return x;
    const float *at = tn_x_row(p.step, p.q, tn_tile_token(p, job, row)) + (size_t)tn_tile_head(p, job, row) * head_dim + d;
    if (head_dim % 4 == 0 && ((uintptr_t)at & 15) == 0) return tn_load16_fresh(at);
    x.x = tn_bits(at[0]);
    if (d + 1 < head_dim) x.y = tn_bits(at[1]);
    if (d + 2 < head_dim) x.z = tn_bits(at[2]);
    if (d + 3 < head_dim) x.w = tn_bits(at[3]);
    return x;
}

// Its codes as mma's left factor. row: of the block.
template <uint32_t steps>
TN_FN void tn_tile_store_query(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t row, const tn_u4 &x)
{
    const uint32_t lane = tn_tile_lane(), bits[4] = {x.x, x.y, x.z, x.w};
    tn_head head = {};
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) head.absmax = (bits[i] & 0x7fffffffu) > head.absmax ? bits[i] & 0x7fffffffu : head.absmax;
    head.absmax = tn_lanes_max(head.absmax);
    const tn_head_codes codes = tn_head_codes_of(head, p.rope.a_qk, p.rope.recip_a_qk);
    uint32_t code[4];
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) code[i] = (uint32_t)tn_round_int(tn_float(bits[i]) * codes.to_codes);
    const uint32_t first = tn_prmt(code[0], code[1], 0x5140), second = tn_prmt(code[2], code[3], 0x5140);
    const uint32_t of_lane = row % 8 * 4 + lane % 8 / 2, word = row % 16 / 8 + lane % 2 * 2;
    const uint32_t at = ((row / 16 * steps + lane / 8) * 64 + of_lane) * 4 + word;
    if (lane / 8 < steps) {
        s.q[at] = tn_prmt(first, second, 0x7632);
        s.q[at + 128] = tn_prmt(first, second, 0x5410);
    }
    if (lane == 0) s.q_scale[row] = codes.scale * p.log2e_by_sqrt;
}

// The block's rows, eight of them by each warp, which are asked for at once.
template <uint32_t steps> TN_FN void tn_tile_queries(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    const tn_tile_job job = tn_tile_job_now(s);
    constexpr uint32_t n = TN_TILE_ROWS / (TN_TILE_THREADS / 32);
    tn_u4 x[n];
    TN_UNROLL
    for (uint32_t i = 0; i < n; i++) x[i] = tn_tile_query(p, job, job.first_row + tn_tile_thread() / 32 * n + i);
    TN_UNROLL
    for (uint32_t i = 0; i < n; i++) tn_tile_store_query<steps>(p, s, tn_tile_thread() / 32 * n + i, x[i]);
    if (tn_tile_thread() < 2 * TN_TILE_ROWS) {
        s.all_m[tn_tile_thread()] = TN_NO_EXPONENT;
        s.all_l[tn_tile_thread()] = 0.0f;
    }
    if (tn_tile_thread() < TN_TILE_ROWS) {
        const uint32_t row = job.first_row + tn_tile_thread();
        const bool is_row = row < job.n * (p.n_heads / p.n_kv_heads);
        s.n_seen[tn_tile_thread()] = is_row ? p.step.words[p.step.positions + tn_tile_token(p, job, row)] + 1 : 0;
    }
}

// ---- chunks ----

// What makes a chunk's sums over values its share of outputs, and what brings shares so far and this one to the same exponent.
struct tn_tile_factors {
    float u_scale[2], by[2], by_chunk[2];
};

// A row's first chunk is combined with nothing as with a sum of 0 far below it: F leaves shares of a chunk, which are 0 or above 2^-80, as
// they are. A chunk that the row does not see changes nothing. is_alone: there are no shares so far.
TN_FN void tn_tile_combine(const tn_tile_shared &s, bool is_alone, const uint32_t (&n)[2], const int32_t (&m_chunk)[2],
                           const int32_t (&l_chunk)[2], tn_tile_factors &factors)
{
    const uint32_t at = tn_tile_half() * TN_TILE_ROWS + tn_tile_row_at(0);
    int32_t m[2];
    float l[2];
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const int32_t before = is_alone ? TN_NO_EXPONENT : s.all_m[at + 8 * row];
        m[row] = n[row] > 0 && m_chunk[row] > before ? m_chunk[row] : before;
        factors.by[row] = tn_tile_power(before - m[row]);
        factors.by_chunk[row] = n[row] > 0 ? tn_tile_power(m_chunk[row] - m[row]) : 0.0f;
        const float l_c = (float)l_chunk[row] * 0x1p-22f;
        l[row] = tn_f100(s.all_l[at + 8 * row] * factors.by[row]) + tn_f100(l_c * factors.by_chunk[row]);
    }
    tn_sync_warp();
    if (tn_tile_lane() % 4 != 0) return;
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        s.all_m[at + 8 * row] = m[row];
        s.all_l[at + 8 * row] = l[row];
    }
}

// From the logits of the warp's positions in a chunk to codes of weights in shared memory. Values, and keys and scales of the next chunk
// are there behind it.
template <uint32_t steps>
TN_FN void tn_tile_weights(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_walk &walk,
                           float (&t)[TN_TILE_COLUMNS][4], tn_tile_factors &factors)
{
    uint32_t n[2]; // positions of the chunk that the rows see
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const uint32_t n_seen = s.n_seen[tn_tile_row_at(row)];
        n[row] = n_seen > walk.chunk * TN_KV_CHUNK ? n_seen - walk.chunk * TN_KV_CHUNK : 0;
    }
    float largest[2], to_codes[2];
    tn_tile_shift shifts[2];
    uint32_t w_max[2];
    int32_t m[2], l[2];
    tn_tile_largest<steps>(p, s, walk, n, t, largest);
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        m[row] = tn_round_int(largest[row]);
        shifts[row] = tn_tile_shift_of(m[row], n[row] > 0);
    }
    tn_tile_weigh(s, shifts, tn_tile_seen(s, walk.chunk), t, w_max, l);
    tn_tile_join(s, w_max, l);
    const float scale = tn_tile_load_scale(p, s, walk.chunk + 1, tn_tile_page(p, s, walk.chunk + 1));
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        to_codes[row] = tn_weights_to_codes(w_max[row]);
        factors.u_scale[row] = (tn_float(w_max[row]) * shifts[row].undo) * p.recip_a_v;
    }
    tn_tile_combine(s, tn_tile_job_now(s).chunk > 0, n, m, l, factors);
    tn_tile_store_codes(s, t, to_codes);
    tn_tile_store_scale(s, scale);
    tn_async_wait<0>();
    tn_sync();
}

// Outputs with one more chunk. is_small: shares of the chunk may lie below 2^-100.
template <bool is_small>
TN_FN void tn_tile_add(const tn_tile_sums (&sums)[2], const tn_tile_factors &factors, float (&o)[4][4], uint32_t first)
{
    const float share[2] = {factors.u_scale[0] * factors.by_chunk[0], factors.u_scale[1] * factors.by_chunk[1]};
    TN_UNROLL
    for (uint32_t j = 0; j < 8; j++) {
        const uint32_t i = j % 4, row = i / 2;
        const float sum = (float)tn_tile_sum(sums[j / 4], i);
        const float chunk = is_small ? tn_f100((sum * factors.u_scale[row]) * factors.by_chunk[row]) : sum * share[row];
        float &out = o[first + j / 4][i];
        const float before = out * factors.by[row];
        out = (tn_abs(before) < 0x1p-100f ? 0.0f : before) + chunk;
    }
}

// 32 dims of the rows' outputs with one more chunk, of which they see n positions at most.
TN_FN void tn_tile_values(const tn_cuda_attention_params &p, const tn_tile_shared &s, uint32_t part, uint32_t n,
                          const tn_tile_factor (&weights)[TN_TILE_QUARTERS], const tn_tile_factors &factors, float (&o)[4][4])
{
    bool is_small = false;
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const float share = factors.u_scale[row] * factors.by_chunk[row];
        is_small = is_small || (share < 0x1p-100f && factors.u_scale[row] > 0.0f && factors.by_chunk[row] > 0.0f);
    }
    const uint32_t at = tn_tile_values_at(p, part);
    TN_UNROLL
    for (uint32_t which = 0; which < 2; which++) {
        tn_tile_sums sums[2] = {};
        if (n > TN_KV_CHUNK / 2)
            tn_tile_value_sums<TN_TILE_QUARTERS>(s, at ^ which, weights, sums);
        else
            tn_tile_value_sums<TN_TILE_QUARTERS / 2>(s, at ^ which, weights, sums);
        if (is_small)
            tn_tile_add<true>(sums, factors, o, which * 2);
        else
            tn_tile_add<false>(sums, factors, o, which * 2);
    }
}

// ---- rows ----

template <uint32_t steps>
TN_FN void tn_tile_store(const tn_cuda_attention_params &p, const tn_tile_shared &s, const float (&l)[2],
                         const float (&o)[TN_TILE_PARTS<steps>][4][4])
{
    const tn_tile_job job = tn_tile_job_now(s);
    TN_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t of_block = tn_tile_row_at(i);
        if (s.n_seen[of_block] == 0) continue;
        const uint32_t row = job.first_row + of_block, token = tn_tile_token(p, job, row), head = tn_tile_head(p, job, row);
        TN_UNROLL
        for (uint32_t j = 0; j < 2 * TN_TILE_PARTS<steps>; j++) {
            const uint32_t stage = j / 2, odd = j % 2;
            const uint32_t d = stage * TN_TILE_VALUE_DIMS + tn_tile_half() * 32 + tn_tile_lane() % 4 * 8 + odd * 4;
            tn_share share;
            TN_UNROLL
            for (uint32_t k = 0; k < 4; k++) share.o[k] = o[stage][k ^ 2 * odd][i * 2 + odd];
            share.l = l[i];
            share.m = 0;
            if (d < p.rope.head_dim) tn_store_share(p, token, head, d, share);
        }
    }
}

// One chunk more.
template <uint32_t steps>
TN_FN void tn_tile_more(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_walk &walk,
                        float (&o)[TN_TILE_PARTS<steps>][4][4])
{
    float t[TN_TILE_COLUMNS][4];
    tn_tile_logits<steps>(s, tn_tile_seen(s, walk.chunk), t);
    tn_tile_factors factors;
    tn_tile_weights<steps>(p, s, walk, t, factors);
    tn_tile_factor weights[TN_TILE_QUARTERS];
    tn_tile_load_codes(s, weights);
    TN_UNROLL
    for (uint32_t part = 0; part < TN_TILE_PARTS<steps>; part++)
        tn_tile_values(p, s, part, tn_tile_seen(s, walk.chunk), weights, factors, o[part]);
    tn_tile_ask_late<steps>(p, s, walk);
}

// A block's share of a row tile: outputs, or what the last one of the blocks that have shares of it makes of them all.
template <uint32_t steps> TN_FN void tn_tile_pass(const tn_cuda_attention_params &p, const tn_tile_shared &s)
{
    const uint32_t first = tn_tile_job_now(s).chunk;
    tn_tile_walk walk = {first, tn_tile_page(p, s, first)};
    tn_tile_load_keys<steps>(p, s, walk.page);
    tn_async_commit();
    const float scale = tn_tile_load_scale(p, s, first, walk.page);
    tn_tile_queries<steps>(p, s);
    tn_tile_store_scale(s, scale);
    tn_async_wait<0>();
    tn_sync();
    float o[TN_TILE_PARTS<steps>][4][4] = {}, l[2];
    TN_ROLLED
    while (walk.chunk < tn_tile_job_now(s).end) {
        tn_tile_more<steps>(p, s, walk, o);
        if (tn_tile_job_now(s).chunk > 0) tn_tile_leave<steps>(p, s, walk.chunk, o);
        walk.page = tn_tile_page(p, s, ++walk.chunk);
    }
    const tn_tile_job job = tn_tile_job_now(s);
    bool has_all = job.end - job.chunk == job.n_chunks;
    if (has_all) {
        TN_UNROLL
        for (uint32_t row = 0; row < 2; row++) l[row] = s.all_l[tn_tile_half() * TN_TILE_ROWS + tn_tile_row_at(row)];
    } else {
        if (job.chunk == 0) tn_tile_leave<steps>(p, s, 0, o);
        has_all = tn_is_last_block(p.counters + job.number, job.n_shares);
        if (has_all) tn_tile_gather<steps>(p, s, l, o);
    }
    if (has_all) tn_tile_store<steps>(p, s, l, o);
}

#endif
