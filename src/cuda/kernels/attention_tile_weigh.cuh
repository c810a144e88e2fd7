// From dots to codes of weights, for the rows and positions that a warp of attention_tile_mma has: 16 rows, two a lane, and half of a
// chunk's positions, eight columns of products over keys. What the two warps of a pair find of their halves meets in shared memory.
//
// Weights are what attention_weigh.cuh says, by fewer instructions: all of a row are made 2^22 times as large, or 2^23 where its largest
// exponent m is odd. Then one sum with a number of the row's rounds a logit t to an integer n, ties to even as an even number is added, and
// leaves n - m + 22 or 23 in the lowest bits, from where a shift brings it to the exponent's place. A power of two changes nothing of how
// a weight is rounded, nor of its reciprocal.
#ifndef TN_CUDA_ATTENTION_TILE_WEIGH_CUH
#define TN_CUDA_ATTENTION_TILE_WEIGH_CUH

#include "cuda/kernels/attention_tile_product.cuh"
#include "cuda/kernels/attention_weigh.cuh"

enum { TN_TILE_COLUMNS = TN_KV_CHUNK / 16 }; // of a warp, in a chunk: two of each quarter

// Of a row: what is added to logits; the least sum of a weight that is not 0; what is added to weights and leaves integers in units of l;
// and how much too large weights are, as a factor that undoes it.
struct tn_tile_shift {
    float origin, least, units, undo;
};

TN_FN tn_tile_shift tn_tile_shift_of(int32_t m, bool is_seen)
{
    const float round_origin = 12582912.0f; // of tn_round_even
    const int32_t odd = m & 1;
    tn_tile_shift shift;
    shift.origin = round_origin + (float)(22 - (m - odd));
    shift.least = is_seen ? round_origin + (float)(odd - 2) : 0x1p30f;
    shift.units = odd ? 0x1p24f : 0x1p23f;
    shift.undo = odd ? 0x1p-23f : 0x1p-22f;
    return shift;
}

// ---- logits ----

// Logits, not yet between their bounds, of the warp's columns in n quarters.
template <uint32_t n>
TN_FN void tn_tile_scale(const tn_tile_shared &s, uint32_t quarter, const tn_tile_sums (&sums)[2 * n], float (&t)[TN_TILE_COLUMNS][4])
{
    const float q_scale[2] = {s.q_scale[tn_tile_row_at(0)], s.q_scale[tn_tile_row_at(1)]};
    TN_UNROLL
    for (uint32_t q = 0; q < n; q++) {
        float scales[4];
        tn_tile_take_scales(s, 0, quarter + q, scales);
        TN_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const uint32_t b = j / 4, i = j % 4;
            t[(quarter + q) * 2 + b][i] = (float)tn_tile_sum(sums[q * 2 + b], i) * (q_scale[i / 2] * scales[b * 2 + i % 2]);
        }
    }
}

// The logits of a chunk, of which the rows see n positions at most; what none of them sees gets TN_NO_LOGIT.
template <uint32_t steps> TN_FN void tn_tile_logits(const tn_tile_shared &s, uint32_t n, float (&t)[TN_TILE_COLUMNS][4])
{
    TN_UNROLL
    for (uint32_t quarter = 0; quarter < TN_TILE_QUARTERS; quarter += 2) {
        if (n > (quarter + 1) * 32) {
            tn_tile_sums sums[4] = {};
            tn_tile_dots<steps, 2>(s, quarter, sums);
            tn_tile_scale<2>(s, quarter, sums, t);
            continue;
        }
        TN_UNROLL
        for (uint32_t j = 0; j < 16; j++) t[quarter * 2 + j / 4][j % 4] = TN_NO_LOGIT;
        if (n <= quarter * 32) continue;
        tn_tile_sums sums[2] = {};
        tn_tile_dots<steps, 1>(s, quarter, sums);
        tn_tile_scale<1>(s, quarter, sums, t);
    }
}

// Positions that a row does not see, of which it sees n, get TN_NO_LOGIT; is_bounded: and the others are brought between their bounds.
template <bool is_bounded> TN_FN void tn_tile_mask(const uint32_t (&n)[2], float (&t)[TN_TILE_COLUMNS][4])
{
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_COLUMNS; j++) {
        const uint32_t column = j / 4, i = j % 4;
        const uint32_t position = column / 2 * 32 + tn_tile_half() * 16 + column % 2 * 8 + tn_tile_lane() % 4 * 2 + i % 2;
        const float logit = is_bounded ? tn_logit_bounded(t[column][i]) : t[column][i];
        t[column][i] = position < n[i / 2] ? logit : TN_NO_LOGIT;
    }
}

// The largest logit of each row of the lane's, in the chunk. A bound that a logit may have passed is one that the largest has passed, or
// it is so low that the logit's weight is 0 where the largest is not near it: logits are brought between their bounds where it is.
// Behind the barrier is asked for what comes next.
template <uint32_t steps>
TN_FN void tn_tile_largest(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_walk &walk, const uint32_t (&n)[2],
                           float (&t)[TN_TILE_COLUMNS][4], float (&largest)[2])
{
    const uint32_t at = tn_tile_half() * TN_TILE_ROWS + tn_tile_row_at(0);
    const bool is_first = tn_tile_lane() % 4 == 0;
    if (n[0] < TN_KV_CHUNK || n[1] < TN_KV_CHUNK) tn_tile_mask<false>(n, t);
    largest[0] = largest[1] = TN_NO_LOGIT;
    TN_UNROLL
    for (uint32_t j = 0; j < 4 * TN_TILE_COLUMNS; j++) largest[j % 4 / 2] = tn_max(largest[j % 4 / 2], t[j / 4][j % 4]);
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) largest[i % 2] = tn_max(largest[i % 2], tn_shfl_xor(largest[i % 2], 1 + i / 2));
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        if (is_first) s.largest[at + 8 * row] = largest[row];
    }
    tn_sync();
    tn_tile_ask<steps>(p, s, walk);
    bool is_far = false;
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        largest[row] = tn_max(largest[row], s.largest[(at ^ TN_TILE_ROWS) + 8 * row]);
        is_far = is_far || (n[row] > 0 && !(tn_abs_bits(largest[row]) < tn_bits(0x1p19f)));
        largest[row] = tn_logit_bounded(largest[row]);
    }
    if (is_far) tn_tile_mask<true>(n, t);
}

// ---- weights ----

// Weights times scales of values in place of logits, in a chunk of which the rows see n positions at most; their largest, and the sum of
// weights, of each row.
TN_FN void tn_tile_weigh(const tn_tile_shared &s, const tn_tile_shift (&shifts)[2], uint32_t n, float (&t)[TN_TILE_COLUMNS][4],
                         uint32_t (&w_max)[2], int32_t (&l)[2])
{
    uint32_t l_bits[2] = {0, 0}, n_weights = 0;
    w_max[0] = w_max[1] = 0;
    TN_UNROLL
    for (uint32_t quarter = 0; quarter < TN_TILE_QUARTERS; quarter++) {
        if (quarter * 32 >= n) {
            TN_UNROLL
            for (uint32_t j = 0; j < 8; j++) t[quarter * 2 + j / 4][j % 4] = 0.0f;
            continue;
        }
        n_weights += 4; // of each row
        float scales[4];
        tn_tile_take_scales(s, 1, quarter, scales);
        TN_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            float &x = t[quarter * 2 + j / 4][j % 4];
            const tn_tile_shift &shift = shifts[j % 4 / 2];
            const float sum = x + shift.origin;
            const uint32_t power = tn_bits(tn_exp2_poly(x - (sum - shift.origin))) + (tn_bits(sum) << 23);
            const float weight = sum >= shift.least ? tn_float(power) : 0.0f;
            l_bits[j % 4 / 2] += tn_bits(weight + shift.units);
            x = weight * scales[j / 4 * 2 + j % 2];
            w_max[j % 4 / 2] = tn_bits(x) > w_max[j % 4 / 2] ? tn_bits(x) : w_max[j % 4 / 2];
        }
    }
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) l[row] = (int32_t)(l_bits[row] - n_weights * tn_bits(shifts[row].units));
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t other = tn_shfl_xor(w_max[i % 2], 1 + i / 2);
        w_max[i % 2] = other > w_max[i % 2] ? other : w_max[i % 2];
        l[i % 2] += tn_shfl_xor(l[i % 2], 1 + i / 2);
    }
}

// The same of both halves.
TN_FN void tn_tile_join(const tn_tile_shared &s, uint32_t (&w_max)[2], int32_t (&l)[2])
{
    const uint32_t at = tn_tile_half() * TN_TILE_ROWS + tn_tile_row_at(0);
    if (tn_tile_lane() % 4 == 0) {
        TN_UNROLL
        for (uint32_t row = 0; row < 2; row++) {
            s.w_max[at + 8 * row] = w_max[row];
            s.l[at + 8 * row] = l[row];
        }
    }
    tn_sync();
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const uint32_t other = s.w_max[(at ^ TN_TILE_ROWS) + 8 * row];
        w_max[row] = other > w_max[row] ? other : w_max[row];
        l[row] += s.l[(at ^ TN_TILE_ROWS) + 8 * row];
    }
}

// ---- codes ----

// A weight times scale as a code: its lowest two bytes are the limbs.
TN_FN uint32_t tn_tile_code(float w, float to_codes) { return tn_bits((w * to_codes) + 8388608.0f); }

// Codes of the warp's weights to shared memory, as mma's left factor has them.
TN_FN void tn_tile_store_codes(const tn_tile_shared &s, const float (&w)[TN_TILE_COLUMNS][4], const float (&to_codes)[2])
{
    const uint32_t at = tn_tile_pair() * (TN_TILE_QUARTERS * 128) + tn_tile_lane() * 2 + tn_tile_half();
    TN_UNROLL
    for (uint32_t quarter = 0; quarter < TN_TILE_QUARTERS; quarter++) {
        uint64_t high = 0, low = 0;
        TN_UNROLL
        for (uint32_t row = 0; row < 2; row++) {
            uint32_t of_column[2];
            TN_UNROLL
            for (uint32_t b = 0; b < 2; b++) {
                const float *columns = w[quarter * 2 + b] + 2 * row;
                of_column[b] = tn_prmt(tn_tile_code(columns[0], to_codes[row]), tn_tile_code(columns[1], to_codes[row]), 0x5140);
            }
            high |= (uint64_t)tn_prmt(of_column[0], of_column[1], 0x7632) << 32 * row;
            low |= (uint64_t)tn_prmt(of_column[0], of_column[1], 0x5410) << 32 * row;
        }
        s.weights[at + quarter * 128] = high;
        s.weights[at + quarter * 128 + 64] = low;
    }
}

// Codes of both halves.
TN_FN void tn_tile_load_codes(const tn_tile_shared &s, tn_tile_factor (&weights)[TN_TILE_QUARTERS])
{
    const uint32_t at = tn_tile_pair() * (TN_TILE_QUARTERS * 128) + tn_tile_lane() * 2;
    TN_UNROLL
    for (uint32_t quarter = 0; quarter < TN_TILE_QUARTERS; quarter++) {
        tn_tile_words(tn_shared_load16(s.weights, at + quarter * 128), weights[quarter].high);
        tn_tile_words(tn_shared_load16(s.weights, at + quarter * 128 + 64), weights[quarter].low);
    }
}

#endif
