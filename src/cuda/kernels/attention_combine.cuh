// What chunks of keys give for a query head, and their combination, which is not associative: always in the chunks' order.
#ifndef TN_CUDA_ATTENTION_COMBINE_CUH
#define TN_CUDA_ATTENTION_COMBINE_CUH

#include "cuda/kernels/rows_io.cuh"

// Four dims of a head: of one chunk, or of all chunks so far.
struct tn_share {
    float o[4];
    float l;
    int32_t m;
};

TN_FN float tn_rescaled_sum(float x, int32_t by, float x_c, int32_t by_c)
{
    return tn_f100(tn_shift(x, by)) + tn_f100(tn_shift(x_c, by_c));
}

TN_FN void tn_absorb(tn_share &all, const tn_share &chunk)
{
    const int32_t m = all.m > chunk.m ? all.m : chunk.m, by = all.m - m, by_c = chunk.m - m;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) all.o[i] = tn_rescaled_sum(all.o[i], by, chunk.o[i], by_c);
    all.l = tn_rescaled_sum(all.l, by, chunk.l, by_c);
    all.m = m;
}

// Dims d .. d + 3 of a head to its row of y; what was stored.
struct tn_four {
    float of[4];
};
TN_FN tn_four tn_store_share(const tn_cuda_attention_params &p, uint32_t token, uint32_t head, uint32_t d, const tn_share &share)
{
    const uint32_t head_dim = p.rope.head_dim;
    float *y = tn_y_row(p.step, p.y, token) + (size_t)head * head_dim + d;
    const float by = tn_recip(share.l);
    tn_four out;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        out.of[i] = tn_fl(share.o[i] * by);
        if (d + i < head_dim) tn_mark_poison(p.step, p.poison, token, p.node, out.of[i]);
    }
    if (head_dim % 4 == 0 && ((uintptr_t)y & 15) == 0) {
        tn_store16(y, {tn_bits(out.of[0]), tn_bits(out.of[1]), tn_bits(out.of[2]), tn_bits(out.of[3])});
        return out;
    }
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        if (d + i < head_dim) y[i] = out.of[i];
    }
    return out;
}

// Whether the launch is for the tile of tokens first .. end - 1, of which there are 32 at most. For whole warps.
TN_FN bool tn_has_tile(const tn_cuda_attention_params &p, uint32_t first, uint32_t end)
{
    if (p.tiles == TN_CUDA_TILES_ALL) return true;
    const uint32_t *seqs = p.step.words + p.step.seqs;
    const uint32_t token = first + tn_lane() < end ? first + tn_lane() : first;
    const bool is_of_one = tn_ballot(seqs[token] != seqs[first]) == 0;
    return is_of_one == (p.tiles == TN_CUDA_TILES_OF_ONE);
}

// ---- shares that one block leaves for another ----

TN_FN float *tn_partial_of(const tn_cuda_attention_params &p, uint32_t token, uint32_t head, uint32_t chunk)
{
    return p.partials + (((size_t)token * p.n_heads + head) * p.n_chunks_max + chunk) * (p.rope.head_dim + 4);
}

TN_FN void tn_store_partial(const tn_cuda_attention_params &p, uint32_t token, uint32_t head, uint32_t chunk, uint32_t d,
                            const tn_share &share)
{
    const uint32_t head_dim = p.rope.head_dim;
    float *at = tn_partial_of(p, token, head, chunk);
    if (head_dim % 4 == 0) {
        tn_store16(at + d, {tn_bits(share.o[0]), tn_bits(share.o[1]), tn_bits(share.o[2]), tn_bits(share.o[3])});
    } else {
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            if (d + i < head_dim) at[d + i] = share.o[i];
        }
    }
    if (d != 0) return;
    at[head_dim] = share.l;
    at[head_dim + 1] = tn_float((uint32_t)share.m);
}

// is_whole: all four dims are there, at a multiple of 16 bytes.
template <bool is_whole> TN_FN tn_share tn_load_partial(const float *at, uint32_t d, uint32_t head_dim)
{
    tn_share share;
    if (is_whole) {
        const tn_u4 o = tn_load16_fresh(at + d), rest = tn_load16_fresh(at + head_dim);
        share.o[0] = tn_float(o.x);
        share.o[1] = tn_float(o.y);
        share.o[2] = tn_float(o.z);
        share.o[3] = tn_float(o.w);
        share.l = tn_float(rest.x);
        share.m = (int32_t)rest.y;
    } else {
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) share.o[i] = d + i < head_dim ? tn_load_fresh(at + d + i) : 0.0f;
        share.l = tn_load_fresh(at + head_dim);
        share.m = (int32_t)tn_bits(tn_load_fresh(at + head_dim + 1));
    }
    return share;
}

// Whether this block is the last of n to get here; what the others stored before is seen by it then. The counter is 0 again after it.
TN_FN bool tn_is_last_block(uint32_t *counter, uint32_t n)
{
    tn_fence();
    tn_sync();
    bool is_last = false;
    if (tn_thread() == 0) {
        is_last = tn_atomic_add(counter, 1) == n - 1;
        tn_fence();
        if (is_last) *counter = 0;
    }
    return tn_sync_or(is_last);
}

// Four dims of a head over all its chunks, n_ahead of which are loaded at a time.
template <bool is_whole, uint32_t n_ahead>
TN_FN tn_share tn_combine_dims(const float *partials, uint32_t d, uint32_t head_dim, uint32_t n_chunks)
{
    tn_share all = {};
    TN_ROLLED
    for (uint32_t first = 0; first < n_chunks; first += n_ahead) {
        tn_share chunks[n_ahead];
        TN_UNROLL
        for (uint32_t i = 0; i < n_ahead; i++) {
            const uint32_t chunk = first + i < n_chunks ? first + i : n_chunks - 1; // beyond the last one: for nothing
            chunks[i] = tn_load_partial<is_whole>(partials + chunk * (head_dim + 4), d, head_dim);
        }
        TN_UNROLL
        for (uint32_t i = 0; i < n_ahead; i++) {
            if (first + i == 0)
                all = chunks[i];
            else if (first + i < n_chunks)
                tn_absorb(all, chunks[i]);
        }
    }
    return all;
}

// All chunks of the query heads of a KV head, by a block.
template <bool is_whole, uint32_t n_ahead>
TN_FN void tn_combine_heads(const tn_cuda_attention_params &p, uint32_t token, uint32_t kv_head, uint32_t n_chunks)
{
    const uint32_t head_dim = p.rope.head_dim, n_units = (head_dim + 3) / 4, group = p.n_heads / p.n_kv_heads;
    TN_ROLLED
    for (uint32_t item = tn_thread(); item < group * n_units; item += tn_n_threads()) {
        const uint32_t head = kv_head * group + item / n_units, d = item % n_units * 4;
        const tn_share all = tn_combine_dims<is_whole, n_ahead>(tn_partial_of(p, token, head, 0), d, head_dim, n_chunks);
        tn_store_share(p, token, head, d, all);
    }
}
TN_FN void tn_combine_partials(const tn_cuda_attention_params &p, uint32_t token, uint32_t kv_head, uint32_t n_chunks)
{
    if (p.rope.head_dim % 4 == 0)
        tn_combine_heads<true, 8>(p, token, kv_head, n_chunks);
    else
        tn_combine_heads<false, 2>(p, token, kv_head, n_chunks);
}

#endif
