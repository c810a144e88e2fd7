// A chunk of 128 positions for up to 8 query heads of a KV head, on integer tensor cores, by four warps.
//
// The cache is mma's left factor, as it lies there: two bytes of a code are its limbs, a signed high one and an unsigned low one, which
// prmt takes apart. Four heads with two limbs of 7 and 6 bits are the eight columns of the right factor, so that two products give a lane
// all four products of limbs of one head. For dots a warp has 32 positions and all dims, for sums over values 32 dims and all positions:
// nothing but dots and weights goes from warp to warp, behind two barriers. What a warp multiplies it has loaded itself, 16 bytes a lane at
// a time, through a ring in shared memory that is as far ahead as there is room.
//
// Which dim or position an index of mma stands for is of no matter where both factors agree. Of 32 dims of a key lane t of 4 has 8t .. 8t +
// 7; of 32 positions of values 8t .. 8t + 7, four pairs. Lane group g has positions g and g + 8 of 16, and dims 4g .. 4g + 3 of 32: rows g
// and g + 8 of two products.
#ifndef TN_CUDA_ATTENTION_FEW_MMA_CUH
#define TN_CUDA_ATTENTION_FEW_MMA_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/attention_weigh.cuh"
#include "cuda/kernels/kv_page.cuh"
#include "cuda/kernels/warp.cuh"

enum {
    TN_FEW_WARPS = 4,
    TN_FEW_THREADS = TN_FEW_WARPS * 32,                         // that work on chunks
    TN_FEW_HEADS = 8,                                           // at a time at most
    TN_FEW_COLUMNS = 2 * TN_FEW_HEADS,                          // limbs of heads, high and low in turn
    TN_FEW_BATCH = 4,                                           // units of a lane that are waited for together
    TN_FEW_VALUE_BATCHES = 4,                                   // of 32 positions each
    TN_FEW_RING_BYTES = 4 * TN_FEW_BATCH * TN_FEW_THREADS * 16, // of half a chunk
    // Sizes of rows in shared memory that keep lanes' accesses in different banks.
    TN_FEW_COLUMN_BYTES = 144,
    TN_FEW_DOTS = TN_KV_CHUNK + 8,
};

// Shared arrays of a block.
struct tn_few_shared {
    TN_SHARED_ARG(uint8_t, ring);    // [units][threads][16]
    TN_SHARED_ARG(uint8_t, q);       // [columns][4 lanes t][4 steps of 32 dims][8 dims]
    TN_SHARED_ARG(float, q_scale);   // [heads]
    TN_SHARED_ARG(int32_t, dots);    // [heads][positions]
    TN_SHARED_ARG(uint32_t, u);      // as q, of weights: [columns][4 lanes t][4 steps of 32 positions][8 positions]
    TN_SHARED_ARG(float, share);     // [heads]: what sums over values are worth, the sum of weights, the exponent's bits, nothing
    TN_SHARED_ARG(float, scales);    // of even and of odd chunks of a walk: of keys, then of values
    TN_SHARED_ARG(uint16_t, own);    // codes of the token's own key [128] and value [128], which the cache does not have yet
    TN_SHARED_ARG(float, own_scale); // of both
};

// Heads of up to 32 * dim_steps dims, head_sets * 4 of them at a time. ring_has_all: it holds a chunk, else half of one.
template <uint32_t dim_steps, uint32_t head_sets, bool ring_has_all> struct tn_few_form {
    static constexpr bool has_all = ring_has_all;
    static constexpr uint32_t steps = dim_steps, sets = head_sets, heads = 4 * head_sets;
    static constexpr uint32_t batches = dim_steps + TN_FEW_VALUE_BATCHES; // of keys, then of values
    static constexpr uint32_t ring_batches = has_all ? batches : batches / 2;
};

// A chunk of a KV head, of which the token sees n positions.
struct tn_few_chunk {
    const int16_t *keys; // of which the rest follows
    uint32_t number, n;
    bool lacks_last; // that one is the token's own, which is not in the cache
    bool is_odd;     // in the walk
};

TN_FN tn_few_chunk tn_few_no_chunk()
{
    tn_few_chunk none;
    none.keys = 0;
    none.number = none.n = 0;
    none.lacks_last = none.is_odd = false;
    return none;
}
// Blocks that have all of a chunk on its way are those that append.
template <class form> TN_FN uint32_t tn_few_n_stored(const tn_few_chunk &chunk)
{
    return form::has_all && chunk.lacks_last ? chunk.n - 1 : chunk.n;
}
// Where its scales go: they come when those of the last chunk are still wanted where the ring has room for a chunk.
template <class form> TN_FN uint32_t tn_few_scales_at(const tn_few_chunk &chunk)
{
    return form::has_all && chunk.is_odd ? 2 * TN_KV_CHUNK : 0;
}

// ---- loads ----

template <class form> TN_FN uint32_t tn_few_last_stored(const tn_few_chunk &chunk)
{
    const uint32_t n = tn_few_n_stored<form>(chunk);
    return n > 0 ? n - 1 : 0;
}

TN_FN uint32_t tn_few_ring_at(uint32_t unit) { return (unit * TN_FEW_THREADS + tn_thread()) * 16; }

// A batch of keys of a warp is 16 positions times 64 dims, 128 bytes of each, which are asked for side by side: memory gives whole lines. A
// lane asks for unit lane % 8 of positions lane / 8, 4 + lane / 8, .., and takes units 4 * step + t of positions g and g + 8. In odd
// positions the halves of 4 units change places, so that 8 lanes meet all banks. Positions that are not there are taken from where there
// are some, and dims too.
TN_FN uint32_t tn_few_key_place(uint32_t row, uint32_t unit) { return unit ^ row % 2 * 4; }

template <class form>
TN_FN const int16_t *tn_few_key_unit(const tn_few_chunk &chunk, uint32_t batch, uint32_t j, uint32_t lane, uint32_t head_dim)
{
    const uint32_t row = tn_warp() * 32 + batch / (form::steps / 2) * 16 + j * 4 + lane / 8, last = tn_few_last_stored<form>(chunk);
    const uint32_t dim = batch % (form::steps / 2) * 64 + tn_few_key_place(lane / 8, lane % 8) * 8;
    return chunk.keys + (row < last ? row : last) * head_dim + (dim < head_dim ? dim : 0);
}
// Where a unit of one of the 16 positions of a batch lies, whose units in the ring begin with `to`.
TN_FN uint32_t tn_few_key_at(uint32_t to, uint32_t row, uint32_t unit)
{
    return ((to + row / 4) * TN_FEW_THREADS + tn_warp() * 32 + row % 4 * 8 + tn_few_key_place(row, unit)) * 16;
}
// Values of a lane are [32 positions][4 pairs].
template <class form> TN_FN const int16_t *tn_few_value_unit(const tn_few_chunk &chunk, uint32_t unit, uint32_t lane, uint32_t head_dim)
{
    const uint32_t pair = unit / 4 * 16 + lane % 4 * 4 + unit % 4, last = tn_few_last_stored<form>(chunk) / 2;
    const uint32_t dim = tn_warp() * 32 + lane / 4 * 4;
    return chunk.keys + TN_KV_CHUNK * head_dim + ((pair < last ? pair : last) * head_dim + (dim < head_dim ? dim : 0)) * 2;
}

// Asks for a batch of a chunk; with the first one for the scales too.
template <class form> TN_FN void tn_few_load(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t batch, uint32_t head_dim)
{
    const uint32_t to = batch % form::ring_batches * TN_FEW_BATCH, lane = tn_late<800>(tn_lane());
    if (batch < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            tn_async16(s.ring, tn_few_ring_at(to + j), tn_few_key_unit<form>(chunk, batch, j, lane, head_dim));
    } else if (tn_warp() < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            tn_async16(s.ring, tn_few_ring_at(to + j),
                       tn_few_value_unit<form>(chunk, (batch - form::steps) * TN_FEW_BATCH + j, lane, head_dim));
    }
    if (batch == 0 && tn_warp() < 2) {
        const float *scales = reinterpret_cast<const float *>(chunk.keys + 2 * TN_KV_CHUNK * head_dim);
        tn_async16(s.scales, tn_few_scales_at<form>(chunk) + tn_thread() * 4, scales + tn_thread() * 4);
    }
}

// Asks for as much of a walk's first chunk as the ring has room for.
template <class form> TN_FN void tn_few_start(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head_dim)
{
    TN_ROLLED
    for (uint32_t batch = 0; batch < form::ring_batches; batch++) {
        tn_few_load<form>(s, chunk, batch, head_dim);
        tn_async_commit();
    }
}

// A lane's units of a batch, whose places are asked to be filled again: from this chunk or the next.
template <class form>
TN_FN void tn_few_take(const tn_few_shared &s, const tn_few_chunk &chunk, const tn_few_chunk &next, uint32_t batch, uint32_t head_dim,
                       tn_u4 (&units)[TN_FEW_BATCH])
{
    tn_async_wait<form::ring_batches - 1>();
    const uint32_t from = batch % form::ring_batches * TN_FEW_BATCH, lane = tn_late(tn_lane());
    if (batch < form::steps) {
        tn_sync_warp();
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++)
            units[j] = tn_shared_load16(s.ring, tn_few_key_at(from, lane / 4 + j % 2 * 8, j / 2 * 4 + lane % 4));
        tn_sync_warp();
    } else if (tn_warp() < form::steps) {
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j++) units[j] = tn_shared_load16(s.ring, tn_few_ring_at(from + j));
    }
    const uint32_t later = batch + form::ring_batches;
    if (later < form::batches)
        tn_few_load<form>(s, chunk, later, head_dim);
    else if (next.n > 0)
        tn_few_load<form>(s, next, later - form::batches, head_dim);
    tn_async_commit();
}

// ---- products ----

TN_FN uint32_t tn_few_word(const tn_u4 &v, uint32_t i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Sums of products with high and with low limbs of the cache, of 16 rows.
struct tn_few_sums {
    int32_t high[4], low[4];
};

TN_FN int32_t tn_few_sum(const tn_few_sums &sums, uint32_t row)
{
    const uint32_t with_high = ((uint32_t)sums.high[2 * row] << 15) + ((uint32_t)sums.high[2 * row + 1] << 8);
    return (int32_t)(with_high + ((uint32_t)sums.low[2 * row] << 7) + (uint32_t)sums.low[2 * row + 1]);
}

// Row g has the codes of words a, row g + 8 those of words b, eight each.
TN_FN void tn_few_left(uint32_t selector, const uint32_t (&a)[4], const uint32_t (&b)[4], uint32_t (&left)[4])
{
    left[0] = tn_prmt(a[0], a[1], selector);
    left[1] = tn_prmt(b[0], b[1], selector);
    left[2] = tn_prmt(a[2], a[3], selector);
    left[3] = tn_prmt(b[2], b[3], selector);
}

// right: of each set of heads, the columns' words of two steps, of which this is one.
template <uint32_t sets>
TN_FN void tn_few_multiply(tn_few_sums (&sums)[sets][2], uint32_t tile, const uint32_t (&a)[4], const uint32_t (&b)[4],
                           const tn_u4 (&right)[sets], uint32_t step)
{
    uint32_t high[4], low[4];
    tn_few_left(0x7531, a, b, high);
    tn_few_left(0x6420, a, b, low);
    TN_UNROLL
    for (uint32_t set = 0; set < sets; set++) {
        const uint32_t limbs[2] = {tn_few_word(right[set], step % 2 * 2), tn_few_word(right[set], step % 2 * 2 + 1)};
        tn_mma_ss(sums[set][tile].high, high, limbs);
        tn_mma_us(sums[set][tile].low, low, limbs);
    }
}

// ---- dots ----

// Where byte `index` of a column of q lies, index a dim.
TN_FN uint32_t tn_few_limb_at(uint32_t column, uint32_t index)
{
    return column * TN_FEW_COLUMN_BYTES + index % 32 / 8 * 32 + index / 32 * 8 + index % 8;
}

// Dots of the heads with the warp's 32 positions.
template <class form> TN_FN void tn_few_dots(const tn_few_shared &s, const tn_few_chunk &chunk, const tn_few_chunk &next, uint32_t head_dim)
{
    tn_u4 q[form::steps / 2][form::sets];
    TN_UNROLL
    for (uint32_t i = 0; i < form::steps / 2 * form::sets; i++) {
        const uint32_t at = (i % form::sets * 8 + tn_lane() / 4) * TN_FEW_COLUMN_BYTES + tn_lane() % 4 * 32 + i / form::sets * 16;
        q[i / form::sets][i % form::sets] = tn_shared_load16(s.q, at);
    }
    tn_few_sums sums[form::sets][2] = {};
    tn_u4 keys[form::steps][TN_FEW_BATCH] = {};
    TN_UNROLL
    for (uint32_t batch = 0; form::has_all && batch < form::steps; batch++) tn_few_take<form>(s, chunk, next, batch, head_dim, keys[batch]);
    TN_UNROLL
    for (uint32_t batch = 0; batch < form::steps; batch++) {
        if (!form::has_all) tn_few_take<form>(s, chunk, next, batch, head_dim, keys[batch]);
        const tn_u4(&k)[TN_FEW_BATCH] = keys[batch];
        TN_UNROLL
        for (uint32_t j = 0; j < TN_FEW_BATCH; j += 2) {
            const uint32_t at = (batch * TN_FEW_BATCH + j) / 2;
            const uint32_t a[4] = {k[j].x, k[j].y, k[j].z, k[j].w}, b[4] = {k[j + 1].x, k[j + 1].y, k[j + 1].z, k[j + 1].w};
            tn_few_multiply<form::sets>(sums, at / form::steps, a, b, q[at % form::steps / 2], at);
        }
    }
    TN_UNROLL
    for (uint32_t i = 0; i < form::sets * 4; i++) {
        const uint32_t position = tn_warp() * 32 + i % 4 * 8 + tn_lane() / 4;
        s.dots[(i / 4 * 4 + tn_lane() % 4) * TN_FEW_DOTS + position] = tn_few_sum(sums[i / 4][i % 4 / 2], i % 2);
    }
}

// ---- weights ----

// The codes of the weights of four positions to the columns of a head.
TN_FN void tn_few_store_codes(const tn_few_shared &s, uint32_t head, const float (&w)[4], float to_codes)
{
    uint32_t high = 0, low = 0;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const int32_t code = tn_round_int(w[i] * to_codes);
        high |= (uint32_t)tn_limb_high(code) << 8 * i;
        low |= (uint32_t)tn_limb_low(code) << 8 * i;
    }
    const uint32_t at = tn_lane() % 8 / 2 * 8 + tn_lane() / 8 * 2 + tn_lane() % 2;
    s.u[2 * head * (TN_FEW_COLUMN_BYTES / 4) + at] = high;
    s.u[(2 * head + 1) * (TN_FEW_COLUMN_BYTES / 4) + at] = low;
}

// From the dots of a head to its weights, by a warp: a lane has four positions.
template <class form> TN_FN void tn_few_weigh(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head, float recip_a_v)
{
    const uint32_t first = tn_lane() * 4, bias = 1u << 23; // of exponents, so that none is negative
    const tn_u4 dots = tn_shared_load16(s.dots, head * TN_FEW_DOTS + first);
    const uint32_t n_stored = tn_few_n_stored<form>(chunk);
    const tn_u4 k_scales = tn_shared_load16(s.scales, tn_few_scales_at<form>(chunk) + first);
    const tn_u4 v_scales = tn_shared_load16(s.scales, tn_few_scales_at<form>(chunk) + TN_KV_CHUNK + first);
    const float q_scale = s.q_scale[head];
    tn_exponent e[4];
    uint32_t m_biased = bias - (uint32_t)-TN_NO_EXPONENT;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        float k_scale = tn_float(tn_few_word(k_scales, i));
        if (form::has_all && first + i >= n_stored) k_scale = s.own_scale[0];
        e[i] = tn_exponent_of(tn_logit_of((int32_t)tn_few_word(dots, i), q_scale, k_scale));
        if (first + i >= chunk.n) e[i].n = TN_NO_EXPONENT;
        const uint32_t biased = (uint32_t)e[i].n + bias;
        m_biased = biased > m_biased ? biased : m_biased;
    }
    const int32_t m = (int32_t)(tn_lanes_max(m_biased) - bias);
    float w[4];
    uint32_t w_max = 0;
    int32_t l = 0;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        float v_scale = tn_float(tn_few_word(v_scales, i));
        if (form::has_all && first + i >= n_stored) v_scale = s.own_scale[1];
        const float weight = tn_weight_of(e[i], m);
        l += tn_weight_units(weight);
        w[i] = first + i < chunk.n ? weight * v_scale : 0.0f;
        w_max = tn_bits(w[i]) > w_max ? tn_bits(w[i]) : w_max;
    }
    w_max = tn_lanes_max(w_max);
    l = tn_lanes_sum(l);
    tn_few_store_codes(s, head, w, tn_weights_to_codes(w_max));
    if (tn_lane() == 0) {
        const float u_scale = tn_float(w_max) * recip_a_v, l_chunk = (float)l * 0x1p-22f;
        tn_shared_store16(s.share, head * 4, (tn_u4{tn_bits(u_scale), tn_bits(l_chunk), (uint32_t)m, 0}));
    }
}

// ---- values ----

template <class form>
TN_FN void tn_few_take_values(const tn_few_shared &s, const tn_few_chunk &chunk, const tn_few_chunk &next, uint32_t head_dim,
                              tn_u4 (&values)[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH])
{
    TN_UNROLL
    for (uint32_t step = 0; step < TN_FEW_VALUE_BATCHES; step++)
        tn_few_take<form>(s, chunk, next, form::steps + step, head_dim, values[step]);
}

// What the chunk gives for dims 4g .. 4g + 3 of the warp's 32, of head t of each set. values: taken already where the ring has all.
template <class form>
TN_FN void tn_few_values(const tn_few_shared &s, const tn_few_chunk &chunk, const tn_few_chunk &next, uint32_t head_dim,
                         tn_u4 (&values)[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH], tn_share (&shares)[form::sets])
{
    tn_u4 u[form::sets] = {};
    tn_few_sums sums[form::sets][2] = {};
    TN_UNROLL
    for (uint32_t step = 0; step < TN_FEW_VALUE_BATCHES; step++) {
        if (!form::has_all) tn_few_take<form>(s, chunk, next, form::steps + step, head_dim, values[step]);
        const tn_u4(&v)[TN_FEW_BATCH] = values[step];
        TN_UNROLL
        for (uint32_t set = 0; set < form::sets; set++) {
            const uint32_t at = (set * 8 + tn_lane() / 4) * (TN_FEW_COLUMN_BYTES / 4) + tn_lane() % 4 * 8 + step / 2 * 4;
            if (step % 2 == 0) u[set] = tn_shared_load16(s.u, at);
        }
        TN_UNROLL
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t a[4], b[4];
            TN_UNROLL
            for (uint32_t j = 0; j < 4; j++) {
                a[j] = tn_few_word(v[j], 2 * i);
                b[j] = tn_few_word(v[j], 2 * i + 1);
            }
            tn_few_multiply<form::sets>(sums, i, a, b, u, step);
        }
    }
    TN_UNROLL
    for (uint32_t set = 0; set < form::sets; set++) {
        const tn_u4 share = tn_shared_load16(s.share, (set * 4 + tn_lane() % 4) * 4);
        shares[set].l = tn_float(share.y);
        shares[set].m = (int32_t)share.z;
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) shares[set].o[i] = (float)tn_few_sum(sums[set][i / 2], i % 2) * tn_float(share.x);
    }
}

#endif
