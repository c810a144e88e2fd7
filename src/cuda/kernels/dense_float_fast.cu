// Products with dense weights of floats in fast numerics: those of dense_float.cu, but that a product and its sum are rounded once. Grids
// are the same.
#include "cuda/kernels/dense_float.cuh"

template <class Unit> struct tn_multiply_floats_fast {
    TN_SHARED_ARG(float, x);
    template <uint32_t T> TN_METHOD void tile(const tn_dense_tile &tile) const { tn_dense_float_tile<Unit, T, true>(tile, x); }
};

TN_KERNEL(dense_f32_fast, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats_fast<tn_unit_f32>{x});
}
TN_KERNEL(dense_f16_fast, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats_fast<tn_unit_f16>{x});
}
TN_KERNEL(dense_bf16_fast, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats_fast<tn_unit_bf16>{x});
}
