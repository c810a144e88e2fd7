// Products of codes of 12 bits and a sign on integer tensor cores: code = 256 * high + low, bytes as they lie in memory, low without a
// sign. Four products, of three weights, exact modulo 2^32.
#ifndef TN_CUDA_ATTENTION_TILE_PRODUCT_CUH
#define TN_CUDA_ATTENTION_TILE_PRODUCT_CUH

#include "cuda/kernels/attention_tile_stage.cuh"

// Sums of products: of high limbs with high ones, of high with low, of low with low.
struct tn_tile_sums {
    int32_t high[4], middle[4], low[4];
};

TN_FN int32_t tn_tile_sum(const tn_tile_sums &sums, uint32_t i)
{
    return (int32_t)(((uint32_t)sums.high[i] << 16) + ((uint32_t)sums.middle[i] << 8) + (uint32_t)sums.low[i]);
}

// Eight codes, two a word, as limbs.
struct tn_tile_limbs {
    uint32_t high[2], low[2];
};
TN_FN tn_tile_limbs tn_tile_limbs_of(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    tn_tile_limbs limbs;
    limbs.high[0] = tn_prmt(w0, w1, 0x7531);
    limbs.high[1] = tn_prmt(w2, w3, 0x7531);
    limbs.low[0] = tn_prmt(w0, w1, 0x6420);
    limbs.low[1] = tn_prmt(w2, w3, 0x6420);
    return limbs;
}

// mma's left factor in two limbs.
struct tn_tile_factor {
    uint32_t high[4], low[4];
};
TN_FN void tn_tile_words(const tn_u4 &v, uint32_t (&words)[4])
{
    words[0] = v.x;
    words[1] = v.y;
    words[2] = v.z;
    words[3] = v.w;
}

// Dots of the warp's rows with its columns of n quarters of a chunk, from `quarter` on.
template <uint32_t steps, uint32_t n> TN_FN void tn_tile_dots(const tn_tile_shared &s, uint32_t quarter, tn_tile_sums (&sums)[2 * n])
{
    const uint32_t half = tn_tile_half(), pair = tn_tile_pair(), lane = tn_tile_lane();
    TN_ROLLED
    for (uint32_t step = 0; step < steps; step++) {
        tn_tile_factor q;
        tn_tile_words(tn_shared_load16(s.q, (((pair * steps + step) * 2) * 32 + lane) * 4), q.high);
        tn_tile_words(tn_shared_load16(s.q, (((pair * steps + step) * 2 + 1) * 32 + lane) * 4), q.low);
        TN_UNROLL
        for (uint32_t j = 0; j < 2 * n; j++) {
            const uint32_t column = (quarter + j / 2) * 4 + half * 2 + j % 2;
            const tn_u4 k = tn_shared_load16(s.stages, ((column * steps + step) * 32 + lane) * 2);
            const tn_tile_limbs limbs = tn_tile_limbs_of(k.x, k.y, k.z, k.w);
            tn_mma_ss(sums[j].high, q.high, limbs.high);
            tn_mma_su(sums[j].middle, q.high, limbs.low);
            tn_mma_uu(sums[j].low, q.low, limbs.low);
            tn_mma_us(sums[j].middle, q.low, limbs.high);
        }
    }
}

// Where the lane's values lie, in 8 bytes: dims of its column, of a part, of the first of four pairs of positions.
TN_FN uint32_t tn_tile_values_at(const tn_cuda_attention_params &p, uint32_t part)
{
    const uint32_t lane = tn_tile_lane(), g = lane / 4, t = lane % 4, unit = tn_tile_half() * 8 + g;
    return (p.values_at + part * TN_TILE_VALUE_UNITS + t * 16 + (unit ^ tn_tile_change(t))) * 2 + g % 2;
}

// Sums over values, from `at` on, of n quarters of a chunk: for two of the columns' four dims. Without a branch between quarters, where
// products would have to end and loads to wait.
template <uint32_t n>
TN_FN void tn_tile_value_sums(const tn_tile_shared &s, uint32_t at, const tn_tile_factor (&weights)[TN_TILE_QUARTERS],
                              tn_tile_sums (&sums)[2])
{
    TN_UNROLL
    for (uint32_t quarter = 0; quarter < n; quarter++) {
        uint64_t v[4];
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) v[i] = s.stages[at + (quarter * 16 + i * 4) * 32];
        TN_UNROLL
        for (uint32_t j = 0; j < 2; j++) {
            const tn_tile_limbs limbs = tn_tile_limbs_of((uint32_t)(v[0] >> 32 * j), (uint32_t)(v[1] >> 32 * j), (uint32_t)(v[2] >> 32 * j),
                                                         (uint32_t)(v[3] >> 32 * j));
            tn_mma_us(sums[j].high, weights[quarter].high, limbs.high);
            tn_mma_uu(sums[j].middle, weights[quarter].high, limbs.low);
            tn_mma_uu(sums[j].low, weights[quarter].low, limbs.low);
            tn_mma_us(sums[j].middle, weights[quarter].low, limbs.high);
        }
    }
}

#endif
