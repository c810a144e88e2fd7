// Products with quantised dense weights. Grid x: blocks of TN_CUDA_DENSE_CODE_ROWS rows of W; y: tiles of tokens, walked through.
#include "cuda/kernels/dense_codes_row.cuh"

template <class Type> struct tn_multiply_codes {
    const tn_dense_shared &x;
    template <uint32_t T> TN_METHOD void tile(const tn_dense_tile &tile) const { tn_dense_codes_tile<Type, T>(tile, x); }
};

TN_KERNEL_BLOCKS(dense_q8_0, tn_cuda_dense_params, 128, 2)
{
    TN_SHARED(uint32_t, pieces, TN_DENSE_PIECES * TN_PIECE_WORDS);
    TN_SHARED(float, scales, TN_DENSE_CODE_BLOCKS);
    const tn_dense_shared x = {pieces, scales};
    tn_dense_tiles(p, tn_multiply_codes<tn_codes_q8_0>{x});
}
TN_KERNEL_BLOCKS(dense_q4_0, tn_cuda_dense_params, 128, 2)
{
    TN_SHARED(uint32_t, pieces, TN_DENSE_PIECES * TN_PIECE_WORDS);
    TN_SHARED(float, scales, TN_DENSE_CODE_BLOCKS);
    const tn_dense_shared x = {pieces, scales};
    tn_dense_tiles(p, tn_multiply_codes<tn_codes_q4_0>{x});
}
TN_KERNEL_BLOCKS(dense_q6_k, tn_cuda_dense_params, 128, 2)
{
    TN_SHARED(uint32_t, pieces, TN_DENSE_PIECES * TN_PIECE_WORDS);
    TN_SHARED(float, scales, TN_DENSE_CODE_BLOCKS);
    const tn_dense_shared x = {pieces, scales};
    tn_dense_tiles(p, tn_multiply_codes<tn_codes_q6_k>{x});
}
