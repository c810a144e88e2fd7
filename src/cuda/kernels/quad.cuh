// Four elements of a row at once. Rows of the submit's input and output may begin anywhere: their stride is their width.
#ifndef TN_CUDA_QUAD_CUH
#define TN_CUDA_QUAD_CUH

#include "cuda/kernels/gpu.cuh"

// Elements first .. of a row of n elements, first a multiple of 4 below n.
TN_FN void tn_store_quad(float *row, uint32_t stride, uint32_t first, uint32_t n, const float (&v)[4])
{
    if (stride % 4 == 0 && n - first >= 4) {
        tn_store16(row + first, {tn_bits(v[0]), tn_bits(v[1]), tn_bits(v[2]), tn_bits(v[3])});
    } else {
        TN_UNROLL for (uint32_t i = 0; i < 4; i++)
        {
            if (first + i < n) row[first + i] = v[i];
        }
    }
}
// The same, read; 0 behind the row.
TN_FN void tn_load_quad(const float *row, uint32_t stride, uint32_t first, uint32_t n, float (&v)[4])
{
    if (stride % 4 == 0 && n - first >= 4) {
        const tn_u4 bits = tn_load16_fresh(row + first);
        v[0] = tn_float(bits.x), v[1] = tn_float(bits.y), v[2] = tn_float(bits.z), v[3] = tn_float(bits.w);
    } else {
        TN_UNROLL for (uint32_t i = 0; i < 4; i++) v[i] = first + i < n ? tn_load_fresh(row + first + i) : 0.0f;
    }
}

#endif
