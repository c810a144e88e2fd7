// Products with dense weights of floats. Grid x: blocks of TN_CUDA_DENSE_FLOAT_ROWS rows of W; y: tiles of tokens, walked through.
#include "cuda/kernels/dense_float.cuh"

template <class Unit> struct tn_multiply_floats {
    TN_SHARED_ARG(float, x);
    template <uint32_t T> TN_METHOD void tile(const tn_dense_tile &tile) const { tn_dense_float_tile<Unit, T>(tile, x); }
};

TN_KERNEL(dense_f32, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats<tn_unit_f32>{x});
}
TN_KERNEL(dense_f16, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats<tn_unit_f16>{x});
}
TN_KERNEL(dense_bf16, tn_cuda_dense_params, 256)
{
    TN_SHARED(float, x, TN_DENSE_FLOAT_ROOM);
    tn_dense_tiles(p, tn_multiply_floats<tn_unit_bf16>{x});
}
