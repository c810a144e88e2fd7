// Rows quantised by groups of 32 or 256 elements, for quantised dense weights. A warp takes a block of 256 elements, a lane 8 of them.
#include "cuda/kernels/gpu.cuh"

// The larger of v of the `width` lanes side by side that a lane is among.
TN_FN uint32_t tn_max_of_lanes(uint32_t v, uint32_t width)
{
    TN_UNROLL for (uint32_t step = 1; step < 32; step *= 2)
    {
        const uint32_t other = tn_shfl_xor(v, step);
        if (step < width) v = other > v ? other : v;
    }
    return v;
}
TN_FN int32_t tn_sum_of_lanes(int32_t v, uint32_t width)
{
    TN_UNROLL for (uint32_t step = 1; step < 4; step *= 2)
    {
        const int32_t other = tn_shfl_xor(v, step);
        if (step < width) v += other;
    }
    return v;
}

TN_KERNEL(quant_group, tn_cuda_group_params, 256)
{
    const uint32_t row = tn_block_x(), n_blocks = (p.n + 255) / 256;
    if (row >= p.step.words[p.is_logits ? 1 : 0]) return;
    const float *x = p.x.at + (size_t)row * p.x.stride;
    const uint32_t group_lanes = p.group / 8, sum_lanes = p.sum_group / 8;
    for (uint32_t b = tn_warp(); b < n_blocks; b += tn_n_threads() / 32) {
        const uint32_t first = 256 * b + 8 * tn_lane();
        const bool is_there = first < p.n; // n is whole groups
        tn_u4 low = {0, 0, 0, 0}, high = {0, 0, 0, 0};
        if (is_there) low = tn_load16(x + first), high = tn_load16(x + first + 4);
        const uint32_t bits[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        uint32_t max = tn_bits(1e-5f);
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) max = (bits[i] & 0x7fffffffu) > max ? bits[i] & 0x7fffffffu : max;
        const float a = tn_float(tn_max_of_lanes(max, group_lanes)), to_codes = 127.0f * tn_recip(a);
        uint32_t codes[2] = {0, 0};
        int32_t sum = 0;
        TN_UNROLL for (uint32_t i = 0; i < 8; i++)
        {
            const int32_t code = (int8_t)tn_round_int(tn_float(bits[i]) * to_codes);
            codes[i / 4] |= (uint32_t)(code & 0xff) << (8 * (i % 4));
            sum += code;
        }
        sum = tn_sum_of_lanes(sum, sum_lanes);
        *reinterpret_cast<uint64_t *>(p.codes + (size_t)row * p.codes_stride + first) = (uint64_t)codes[0] | (uint64_t)codes[1] << 32;
        if (tn_lane() % group_lanes == 0)
            p.scales[(size_t)row * p.scales_stride + first / p.group] = is_there ? a * (float)(1.0 / 127.0) : 0.0f;
        if (tn_lane() % sum_lanes == 0) p.sums[(size_t)row * p.sums_stride + first / p.sum_group] = sum;
    }
}
