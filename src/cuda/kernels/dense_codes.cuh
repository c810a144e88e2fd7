// Products with quantised dense weights: two rows of W a thread, so that what is read of x serves twice, and up to 8 tokens a block.
// Columns go by in pieces of 64, of which a block of 256 has four; the tokens' codes of a piece are read from shared memory by all threads
// at once.
//
// GSUM of a block with 8 terms adds the tree ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), so for Q8_0 and Q4_0 piece i is groups i and i + 4
// of 32 columns, taken in the order 0, 2, 1, 3: few terms wait for others. For Q6_K pieces are columns as they come, their sum an integer.
#ifndef TN_CUDA_DENSE_CODES_CUH
#define TN_CUDA_DENSE_CODES_CUH

#include "cuda/kernels/dense_tile.cuh"
#include "cuda/kernels/dense_units.cuh"

enum {
    TN_PIECE_COLS = 64,
    TN_PIECE_WORDS = 20, // of a token in shared memory: 64 codes, then four words that each type has a use for
    TN_PIECE_SIDE = 16,
    TN_DENSE_PIECES = 256, // that shared memory has room for, of all tokens
    TN_DENSE_CODE_BLOCKS = TN_DENSE_PIECES / 4,
};

// A type: UNITS of a piece of W, AHEAD pieces that are under way beside the one that is multiplied, a power of two and at most 4,
// BLOCK_UNITS of a block, whose last is the HEAD, which all of the block's pieces need.
struct tn_codes_q8_0 {
    enum { UNITS = 4, AHEAD = 1, BLOCK_UNITS = 17, IS_TREE = 1 };
};
struct tn_codes_q4_0 {
    enum { UNITS = 2, AHEAD = 2, BLOCK_UNITS = 9, IS_TREE = 1 };
};
struct tn_codes_q6_k {
    enum { UNITS = 3, AHEAD = 2, BLOCK_UNITS = 13, IS_TREE = 0 };
};
// Which unit of a block unit `u` of piece `piece` is.
TN_FN uint32_t tn_piece_unit(tn_codes_q8_0, uint32_t piece, uint32_t u) { return 2 * piece + (u / 2) * 8 + u % 2; }
TN_FN uint32_t tn_piece_unit(tn_codes_q4_0, uint32_t piece, uint32_t u) { return piece + 4 * u; }
TN_FN uint32_t tn_piece_unit(tn_codes_q6_k, uint32_t piece, uint32_t u) { return u < 2 ? 2 * piece + u : 8 + piece; }

// The piece that is taken as the i-th of a block.
template <class Type> TN_FN uint32_t tn_piece_of(uint32_t i) { return Type::IS_TREE ? i % 2 * 2 + i / 2 : i; }

// What the threads share of x: pieces of a token, and for Q6_K a scale of each block.
struct tn_dense_shared {
    TN_SHARED_ARG(uint32_t, pieces);
    TN_SHARED_ARG(float, scales);
};

// The four words beside a piece's codes: of pairs of groups both scales, then what makes sums of codes those of codes less 8; of Q6_K what
// does so for each 16 columns, less 32.
TN_FN tn_u4 tn_piece_side(tn_codes_q8_0, const float *scales, const int32_t *, uint32_t piece)
{
    return {tn_bits(scales[piece]), tn_bits(scales[piece + 4]), 0, 0};
}
TN_FN tn_u4 tn_piece_side(tn_codes_q4_0, const float *scales, const int32_t *sums, uint32_t piece)
{
    return {tn_bits(scales[piece]), tn_bits(scales[piece + 4]), (uint32_t)(-8 * sums[piece]), (uint32_t)(-8 * sums[piece + 4])};
}
TN_FN tn_u4 tn_piece_side(tn_codes_q6_k, const float *, const int32_t *sums, uint32_t piece)
{
    const int32_t *s = sums + 4 * piece;
    return {(uint32_t)(-32 * s[0]), (uint32_t)(-32 * s[1]), (uint32_t)(-32 * s[2]), (uint32_t)(-32 * s[3])};
}

// Blocks [first, first + n) of T tokens.
template <class Type, uint32_t T> TN_FN void tn_take_codes(const tn_dense_tile &tile, uint32_t first, uint32_t n, const tn_dense_shared &x)
{
    const tn_cuda_dense_params &p = tile.p;
    for (uint32_t i = tn_thread(); i < n * T * 16; i += tn_n_threads()) {
        const uint32_t unit = i % 16, t = i / 16 % T, b = i / 16 / T; // 16 columns
        const uint32_t piece = Type::IS_TREE ? unit / 2 % 4 : unit / 4, at = Type::IS_TREE ? unit / 8 * 2 + unit % 2 : unit % 4;
        const int8_t *codes = p.codes + (size_t)tn_tile_row(tile, t) * p.codes_stride + (size_t)(first + b) * 256 + 16 * unit;
        tn_shared_store16(x.pieces, ((b * 4 + piece) * T + t) * TN_PIECE_WORDS + 4 * at, tn_load16(codes));
    }
    for (uint32_t i = tn_thread(); i < n * T * 4; i += tn_n_threads()) {
        const uint32_t row = tn_tile_row(tile, i % T), piece = i / T % 4, b = i / T / 4;
        const float *scales = p.scales + (size_t)row * p.scales_stride + (size_t)(first + b) * (Type::IS_TREE ? 8 : 1);
        const int32_t *sums = p.sums + (size_t)row * p.sums_stride + (size_t)(first + b) * (Type::IS_TREE ? 8 : 16);
        tn_shared_store16(x.pieces, i * TN_PIECE_WORDS + TN_PIECE_SIDE, tn_piece_side(Type(), scales, sums, piece));
        if (!Type::IS_TREE && piece == 0) x.scales[b * T + i % T] = scales[0];
    }
}

#endif
