// A chunk of 128 positions for up to 8 query heads of a KV head, on integer tensor cores, by four warps.
//
// The cache is mma's left factor, as it lies there: two bytes of a code are its limbs, a signed high one and an unsigned low one, which
// prmt takes apart. Four heads with two limbs of 7 and 6 bits are the eight columns of the right factor, so that two products give a lane
// all four products of limbs of one head. For dots a warp has 32 positions and all dims, for sums over values 32 dims and all positions:
// nothing but dots and weights goes from warp to warp, behind two barriers. How the cache comes to shared memory, and whether a third
// barrier is between two chunks, is the kernels' own: attention_few_ring.cuh, attention_few_copied.cuh.
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
    TN_FEW_THREADS = TN_FEW_WARPS * 32,        // that work on chunks
    TN_FEW_HEADS = 8,                          // at a time at most
    TN_FEW_COLUMNS = 2 * TN_FEW_HEADS,         // limbs of heads, high and low in turn
    TN_FEW_BATCH = 4,                          // units of a lane that are waited for together
    TN_FEW_VALUE_BATCHES = 4,                  // of 32 positions each
    TN_FEW_SCALES_BYTES = 2 * TN_KV_CHUNK * 4, // of a chunk
    // Sizes of rows in shared memory that keep lanes' accesses in different banks.
    TN_FEW_COLUMN_BYTES = 144,
    TN_FEW_DOTS = TN_KV_CHUNK + 8,
};

// Shared arrays of a block.
struct tn_few_shared {
    TN_SHARED_ARG(int8_t, chunk);     // a ring [units][threads][16], or as in the cache: keys, behind them values
    TN_SHARED_ARG(uint8_t, q);        // [columns][4 lanes t][4 steps of 32 dims][8 dims]
    TN_SHARED_ARG(float, q_scale);    // [heads]
    TN_SHARED_ARG(int32_t, dots);     // [heads][positions]
    TN_SHARED_ARG(uint32_t, u);       // as q, of weights: [columns][4 lanes t][4 steps of 32 positions][8 positions]
    TN_SHARED_ARG(float, share);      // [heads]: what sums over values are worth, the sum of weights, the exponent's bits, nothing
    TN_SHARED_ARG(int8_t, scales);    // of even and of odd chunks of a walk: floats of keys, then of values
    TN_SHARED_ARG(uint16_t, own);     // codes of the token's own key [128] and value [128], which the cache does not have yet
    TN_SHARED_ARG(float, own_scale);  // of both
    TN_SHARED_ARG(float, gains);      // [sets][threads][4], where largest values are left
    TN_SHARED_ARG(uint64_t, arrival); // of copies of keys and of values
};

// Heads of up to 32 * dim_steps dims, head_sets * 4 of them at a time. of_one: in attention_one_mma.
template <uint32_t dim_steps, uint32_t head_sets, bool of_one> struct tn_few_form {
    static constexpr bool is_one = of_one;
    static constexpr uint32_t steps = dim_steps, sets = head_sets, heads = 4 * head_sets;
    static constexpr uint32_t batches = dim_steps + TN_FEW_VALUE_BATCHES; // of keys, then of values
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
template <class form> TN_FN uint32_t tn_few_n_stored(const tn_few_chunk &chunk)
{
    return form::is_one && chunk.lacks_last ? chunk.n - 1 : chunk.n;
}
// Where its scales go: they come when those of the last chunk are still wanted.
TN_FN uint32_t tn_few_scales_at(const tn_few_chunk &chunk) { return chunk.is_odd ? TN_FEW_SCALES_BYTES : 0; }

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
template <class form> TN_FN void tn_few_dots(const tn_few_shared &s, const tn_u4 (&keys)[form::steps][TN_FEW_BATCH])
{
    tn_u4 q[form::steps / 2][form::sets];
    TN_UNROLL
    for (uint32_t i = 0; i < form::steps / 2 * form::sets; i++) {
        const uint32_t at = (i % form::sets * 8 + tn_lane() / 4) * TN_FEW_COLUMN_BYTES + tn_lane() % 4 * 32 + i / form::sets * 16;
        q[i / form::sets][i % form::sets] = tn_shared_load16(s.q, at);
    }
    tn_few_sums sums[form::sets][2] = {};
    TN_UNROLL
    for (uint32_t batch = 0; batch < form::steps; batch++) {
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

// As tn_weight_of, without a branch: the powers of a lane's positions are made side by side.
TN_FN float tn_few_weight_of(const tn_exponent &e, int32_t m) { return e.p * tn_float(m - e.n > 24 ? 0 : (uint32_t)(e.n - m + 127) << 23); }

// From the dots of a head to its weights, by a warp: a lane has four positions.
template <class form> TN_FN void tn_few_weigh(const tn_few_shared &s, const tn_few_chunk &chunk, uint32_t head, float recip_a_v)
{
    const uint32_t first = tn_lane() * 4, bias = 1u << 23; // of exponents, so that none is negative
    const tn_u4 dots = tn_shared_load16(s.dots, head * TN_FEW_DOTS + first);
    const uint32_t n_stored = tn_few_n_stored<form>(chunk);
    const tn_u4 k_scales = tn_shared_load16(s.scales, tn_few_scales_at(chunk) + first * 4);
    const tn_u4 v_scales = tn_shared_load16(s.scales, tn_few_scales_at(chunk) + (TN_KV_CHUNK + first) * 4);
    const float q_scale = s.q_scale[head];
    tn_exponent e[4];
    uint32_t m_biased = bias - (uint32_t)-TN_NO_EXPONENT;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        float k_scale = tn_float(tn_few_word(k_scales, i));
        if (form::is_one && first + i >= n_stored) k_scale = s.own_scale[0];
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
        if (form::is_one && first + i >= n_stored) v_scale = s.own_scale[1];
        const float weight = tn_few_weight_of(e[i], m);
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

// What the chunk gives for dims 4g .. 4g + 3 of the warp's 32, of head t of each set.
template <class form>
TN_FN void tn_few_values(const tn_few_shared &s, const tn_u4 (&values)[TN_FEW_VALUE_BATCHES][TN_FEW_BATCH], tn_share (&shares)[form::sets])
{
    tn_u4 u[form::sets] = {};
    tn_few_sums sums[form::sets][2] = {};
    TN_UNROLL
    for (uint32_t step = 0; step < TN_FEW_VALUE_BATCHES; step++) {
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
