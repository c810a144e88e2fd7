// Units of dense weights as packed (cuda_pack.h): where they lie and what is in them.
#ifndef TN_CUDA_DENSE_UNITS_CUH
#define TN_CUDA_DENSE_UNITS_CUH

#include "cuda/kernels/gpu.cuh"

enum { TN_UNIT_BYTES = 16, TN_GROUP_ROWS = 32 }; // rows of quantised types whose units lie side by side

// Types of floats: N elements of a unit, as f32. Element i is 32 i elements behind the first.
struct tn_unit_f32 {
    enum { N = 4 };
};
struct tn_unit_f16 {
    enum { N = 8 };
};
struct tn_unit_bf16 {
    enum { N = 8 };
};
TN_FN void tn_unit_floats(tn_unit_f32, const tn_u4 &unit, float (&w)[4])
{
    w[0] = tn_float(unit.x), w[1] = tn_float(unit.y), w[2] = tn_float(unit.z), w[3] = tn_float(unit.w);
}
TN_FN void tn_unit_floats(tn_unit_f16, const tn_u4 &unit, float (&w)[8])
{
    const uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        w[2 * i] = tn_half((uint16_t)(words[i] & 0xffffu));
        w[2 * i + 1] = tn_half((uint16_t)(words[i] >> 16));
    }
}
TN_FN void tn_unit_floats(tn_unit_bf16, const tn_u4 &unit, float (&w)[8])
{
    const uint32_t words[4] = {unit.x, unit.y, unit.z, unit.w};
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        w[2 * i] = tn_float(words[i] << 16);
        w[2 * i + 1] = tn_float(words[i] & 0xffff0000u);
    }
}
// Unit 0 of a row; the others follow.
TN_FN const uint8_t *tn_float_row(const tn_cuda_dense &w, uint32_t row) { return w.at + (size_t)row * w.n_units * TN_UNIT_BYTES; }

// Quantised types: unit 0 of a row; the next is TN_GROUP_ROWS units on.
TN_FN const uint8_t *tn_quantised_row(const tn_cuda_dense &w, uint32_t row)
{
    return w.at + ((size_t)(row / TN_GROUP_ROWS) * w.n_units * TN_GROUP_ROWS + row % TN_GROUP_ROWS) * TN_UNIT_BYTES;
}
// Block b's scale of a Q6_K row.
TN_FN const float *tn_q6_k_scale(const tn_cuda_dense &w, uint32_t row, uint32_t b)
{
    return w.scales + ((size_t)(row / TN_GROUP_ROWS) * w.n_blocks + b) * TN_GROUP_ROWS + row % TN_GROUP_ROWS;
}

// Four codes 0..63 of Q6_K: quad q of the 16 columns that two words of low bits and one of high bits hold.
TN_FN uint32_t tn_q6_k_codes(uint32_t low, uint32_t high, uint32_t q)
{
    const uint32_t upper = q % 4 == 0 ? high << 4 : q % 4 == 1 ? high << 2 : q % 4 == 2 ? high : high >> 2;
    return ((q % 2 == 0 ? low : low >> 4) & 0x0f0f0f0fu) | (upper & 0x30303030u);
}
// Four codes 0..15 of Q4_0.
TN_FN uint32_t tn_q4_0_codes(uint32_t word, uint32_t q) { return (q % 2 == 0 ? word : word >> 4) & 0x0f0f0f0fu; }

#endif
