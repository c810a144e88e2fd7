// The shares that blocks left of a token's chunks, brought together by the last of them, in the chunks' order: a warp has a query head, a
// lane four of its dims. What a chunk is worth depends on the largest exponent so far alone, so that the lanes find it for 32 chunks at
// once, and the sums, which have to be made one after another, wait for nothing but themselves.
#ifndef TN_CUDA_ATTENTION_FEW_COMBINE_CUH
#define TN_CUDA_ATTENTION_FEW_COMBINE_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/largest.cuh"

enum {
    TN_COMBINE_AHEAD = 8,        // chunks that are loaded together; twice as many are under way
    TN_COMBINE_NO_M = -(1 << 23) // below every exponent by more than the 60 that count
};

// A lane's chunk: what the sums before it and its own are multiplied by, and its l.
struct tn_worth {
    float before, own, l;
};

// m: the largest exponent of the chunks before `first`, and then of those before first + 32. Chunks that there are not change nothing.
TN_FN tn_worth tn_worth_of(const float *partials, uint32_t first, uint32_t head_dim, uint32_t n_chunks, int32_t &m)
{
    const uint32_t chunk = first + tn_lane();
    const tn_u4 rest = tn_load16_fresh(partials + (chunk < n_chunks ? chunk : n_chunks - 1) * (head_dim + 4) + head_dim);
    const int32_t own = chunk < n_chunks ? (int32_t)rest.y : TN_COMBINE_NO_M;
    int32_t after = own > m ? own : m;
    TN_UNROLL
    for (uint32_t width = 1; width < 32; width *= 2) {
        const int32_t other = tn_shfl(after, tn_lane() >= width ? tn_lane() - width : tn_lane());
        after = other > after ? other : after;
    }
    const int32_t of_lane_before = tn_shfl(after, tn_lane() > 0 ? tn_lane() - 1 : 0), before = tn_lane() > 0 ? of_lane_before : m;
    m = tn_shfl(after, 31);
    return {tn_shift(1.0f, before - after), tn_shift(1.0f, own - after), tn_float(rest.x)};
}

TN_FN void tn_load_ahead(const float *partials, uint32_t first, uint32_t d, uint32_t head_dim, uint32_t n_chunks,
                         tn_u4 (&o)[TN_COMBINE_AHEAD])
{
    if (first >= n_chunks) return;
    TN_UNROLL
    for (uint32_t i = 0; i < TN_COMBINE_AHEAD; i++) {
        const uint32_t chunk = first + i < n_chunks ? first + i : n_chunks - 1;
        o[i] = tn_load16_fresh(partials + chunk * (head_dim + 4) + d);
    }
}

// o: of the chunks that the lanes from first_lane on have the worth of.
TN_FN void tn_absorb_ahead(tn_share &all, const tn_u4 (&o)[TN_COMBINE_AHEAD], const tn_worth &worth, uint32_t first_lane)
{
    TN_UNROLL
    for (uint32_t i = 0; i < TN_COMBINE_AHEAD; i++) {
        const float before = tn_shfl(worth.before, first_lane + i), own = tn_shfl(worth.own, first_lane + i);
        const float l = tn_shfl(worth.l, first_lane + i),
                    of_chunk[4] = {tn_float(o[i].x), tn_float(o[i].y), tn_float(o[i].z), tn_float(o[i].w)};
        TN_UNROLL
        for (uint32_t j = 0; j < 4; j++) all.o[j] = tn_f100(all.o[j] * before) + tn_f100(of_chunk[j] * own);
        all.l = tn_f100(all.l * before) + tn_f100(l * own);
    }
}

// Gains of dims d .. d + 3 of a head, and what the four stored values of these dims have as the largest with them, to where it is wanted.
TN_FN tn_four tn_head_gains(const tn_cuda_attention_params &p, uint32_t head, uint32_t d)
{
    tn_four gains = {};
    if (!p.next.words) return gains;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) gains.of[i] = tn_largest_gain(p.next, head * p.rope.head_dim + d + i);
    return gains;
}
TN_FN void tn_leave_largest_of(const tn_cuda_attention_params &p, const tn_four &stored, const tn_four &gains)
{
    if (!p.next.words) return;
    uint32_t largest = 0;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t bits = tn_abs_bits(stored.of[i] * gains.of[i]);
        largest = bits > largest ? bits : largest;
    }
    tn_leave_largest(p.next, tn_lane(), largest);
}

// All chunks of the query heads of a KV head, of up to 128 dims, by a block.
TN_FN void tn_few_combine(const tn_cuda_attention_params &p, uint32_t token, uint32_t kv_head, uint32_t n_chunks)
{
    const uint32_t head_dim = p.rope.head_dim, group = p.n_heads / p.n_kv_heads, d = tn_lane() * 4 < head_dim ? tn_lane() * 4 : 0;
    TN_ROLLED
    for (uint32_t head = kv_head * group + tn_warp(); head < (kv_head + 1) * group; head += tn_n_threads() / 32) {
        const float *partials = tn_partial_of(p, token, head, 0);
        const tn_four gains = tn_head_gains(p, head, d);
        tn_u4 even[TN_COMBINE_AHEAD] = {}, odd[TN_COMBINE_AHEAD] = {};
        tn_load_ahead(partials, 0, d, head_dim, n_chunks, even);
        tn_load_ahead(partials, TN_COMBINE_AHEAD, d, head_dim, n_chunks, odd);
        tn_share all = {};
        tn_worth worth = {};
        all.m = TN_COMBINE_NO_M;
        TN_ROLLED
        for (uint32_t first = 0; first < n_chunks; first += 2 * TN_COMBINE_AHEAD) {
            if (first % 32 == 0) worth = tn_worth_of(partials, first, head_dim, n_chunks, all.m);
            tn_absorb_ahead(all, even, worth, first % 32);
            tn_load_ahead(partials, first + 2 * TN_COMBINE_AHEAD, d, head_dim, n_chunks, even);
            if (first + TN_COMBINE_AHEAD < n_chunks) tn_absorb_ahead(all, odd, worth, first % 32 + TN_COMBINE_AHEAD);
            tn_load_ahead(partials, first + 3 * TN_COMBINE_AHEAD, d, head_dim, n_chunks, odd);
        }
        if (tn_lane() * 4 < head_dim) tn_leave_largest_of(p, tn_store_share(p, token, head, d, all), gains);
    }
}

#endif
