// One head of q, k or v by a warp: turned by its position, and as codes. A lane has the pairs of dims that are turned together with numbers
// lane, lane + 32, ..
#ifndef TN_CUDA_ROPE_CUH
#define TN_CUDA_ROPE_CUH

#include "cuda/kernels/warp.cuh"

enum { TN_HEAD_DIM_MAX = 256, TN_LANE_PAIRS = TN_HEAD_DIM_MAX / 64 };

struct tn_head {
    float first[TN_LANE_PAIRS], second[TN_LANE_PAIRS];
    uint32_t absmax; // bits, of the whole head
};

// How a head becomes codes, and what one of them is worth.
struct tn_head_codes {
    float to_codes, scale;
};

TN_FN uint32_t tn_pair_first(const tn_cuda_rope &rope, uint32_t pair) { return rope.is_adjacent ? 2 * pair : pair; }
TN_FN uint32_t tn_pair_second(const tn_cuda_rope &rope, uint32_t pair)
{
    return rope.is_adjacent ? 2 * pair + 1 : pair + rope.head_dim / 2;
}

// table: the position's row, head_dim / 2 cosines and as many sines; 0: the head stays as it is.
template <uint32_t late_from = 1200> TN_FN tn_head tn_head_take(const tn_cuda_rope &rope, const float *x, const float *table)
{
    const uint32_t n_pairs = rope.head_dim / 2, lane = tn_late<late_from>(tn_lane());
    tn_head head;
    head.absmax = 0;
    TN_UNROLL
    for (uint32_t j = 0; j < TN_LANE_PAIRS; j++) {
        const uint32_t pair = lane + 32 * j;
        float a = 0.0f, b = 0.0f;
        if (pair < n_pairs) {
            a = x[tn_pair_first(rope, pair)];
            b = x[tn_pair_second(rope, pair)];
            if (table) {
                const float c = table[pair], s = table[n_pairs + pair];
                const float turned = tn_fl((a * c) - (b * s));
                b = tn_fl((a * s) + (b * c));
                a = turned;
            }
        }
        head.first[j] = a;
        head.second[j] = b;
        const uint32_t larger = tn_abs_bits(a) > tn_abs_bits(b) ? tn_abs_bits(a) : tn_abs_bits(b);
        head.absmax = larger > head.absmax ? larger : head.absmax;
    }
    head.absmax = tn_lanes_max(head.absmax);
    return head;
}

// Heads below 2^-30 have codes and scale 0.
TN_FN tn_head_codes tn_head_codes_of(const tn_head &head, uint32_t A, float recip_A)
{
    const float absmax = tn_float(head.absmax);
    const bool is_zero = head.absmax < 0x30800000u;
    tn_head_codes codes;
    codes.to_codes = is_zero ? 0.0f : (float)A * tn_recip(absmax);
    codes.scale = is_zero ? 0.0f : absmax * recip_A;
    return codes;
}

#endif
