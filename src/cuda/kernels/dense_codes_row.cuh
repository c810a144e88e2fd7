// A row of a quantised dense weight times the tokens of a tile: one thread's way along it.
#ifndef TN_CUDA_DENSE_CODES_ROW_CUH
#define TN_CUDA_DENSE_CODES_ROW_CUH

#include "cuda/kernels/dense_codes.cuh"

// Pieces that are under way, and what all pieces of a block need: of this one and of the next.
template <class Type> struct tn_codes_row {
    const uint8_t *units;
    const float *scales; // Q6_K
    uint32_t n_blocks;
    tn_u4 ahead[Type::AHEAD][Type::UNITS];
    tn_u4 head, next_head;
    float scale, next_scale; // Q6_K
};

template <class Type> TN_FN tn_u4 tn_load_unit(const tn_codes_row<Type> &row, uint32_t b, uint32_t u)
{
    return tn_load16_once(row.units + ((size_t)b * Type::BLOCK_UNITS + u) * (TN_GROUP_ROWS * TN_UNIT_BYTES));
}
// Asks for the i-th piece of block b; i from 4 on are those of the next block.
template <class Type> TN_FN void tn_ask_piece(const tn_codes_row<Type> &row, uint32_t b, uint32_t i, tn_u4 (&units)[Type::UNITS])
{
    if (b + i / 4 >= row.n_blocks) return;
    TN_UNROLL for (uint32_t u = 0; u < Type::UNITS; u++) units[u] =
        tn_load_unit(row, b + i / 4, tn_piece_unit(Type(), tn_piece_of<Type>(i % 4), u));
}
template <class Type> TN_FN void tn_ask_head(tn_codes_row<Type> &row, uint32_t b)
{
    if (b >= row.n_blocks) return;
    row.next_head = tn_load_unit(row, b, Type::BLOCK_UNITS - 1);
    if (!Type::IS_TREE) row.next_scale = row.scales[(size_t)b * TN_GROUP_ROWS];
}
template <class Type> TN_FN void tn_begin_row(const tn_cuda_dense_params &p, uint32_t w_row, tn_codes_row<Type> &row)
{
    w_row = w_row < p.w.n_rows ? w_row : p.w.n_rows - 1;
    row.units = tn_opaque(tn_quantised_row(p.w, w_row));
    row.scales = Type::IS_TREE ? nullptr : tn_q6_k_scale(p.w, w_row, 0);
    row.n_blocks = p.w.n_units / Type::BLOCK_UNITS;
    row.next_scale = 0.0f;
    tn_ask_head(row, 0);
    TN_UNROLL for (uint32_t i = 0; i < Type::AHEAD; i++) tn_ask_piece(row, 0, i, row.ahead[i]);
}

// Sixteen columns, on top of `acc`: codes from 0 on, or signed ones.
TN_FN int32_t tn_dot16_us(const uint32_t *codes, const tn_u4 &x, int32_t acc)
{
    acc = tn_dp4a_us(codes[0], x.x, acc);
    acc = tn_dp4a_us(codes[1], x.y, acc);
    acc = tn_dp4a_us(codes[2], x.z, acc);
    return tn_dp4a_us(codes[3], x.w, acc);
}
TN_FN int32_t tn_dot16_ss(const tn_u4 &codes, const tn_u4 &x, int32_t acc)
{
    acc = tn_dp4a_ss(codes.x, x.x, acc);
    acc = tn_dp4a_ss(codes.y, x.y, acc);
    acc = tn_dp4a_ss(codes.z, x.z, acc);
    return tn_dp4a_ss(codes.w, x.w, acc);
}
TN_FN uint32_t tn_unit_word(const tn_u4 &v, uint32_t i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
TN_FN float tn_unit_half(const tn_u4 &v, uint32_t i) { return tn_half((uint16_t)(tn_unit_word(v, i / 2) >> (16 * (i % 2)))); }

// A block's sums so far, of T tokens.
template <uint32_t T> struct tn_block_sums {
    float even[T], odd[T]; // of pieces 0 and 2, of 1 and 3
    int32_t acc[T];        // Q6_K
};
// Adds a pair of terms, those of groups i and i + 4, as the i-th that is taken.
template <uint32_t T>
TN_FN void tn_add_pair(tn_block_sums<T> &sums, uint32_t i, uint32_t t, const tn_u4 &side, int32_t (&acc)[2], float (&d)[2])
{
    const float pair = ((float)acc[0] * tn_fl(tn_float(side.x) * d[0])) + ((float)acc[1] * tn_fl(tn_float(side.y) * d[1]));
    float &half = i < 2 ? sums.even[t] : sums.odd[t];
    half = i % 2 == 0 ? pair : half + pair;
}

// The i-th piece of a block, whose words of T tokens begin at `at`, times T tokens.
template <uint32_t T>
TN_FN void tn_multiply_piece(const tn_codes_row<tn_codes_q8_0> &row, const tn_u4 (&w)[4], uint32_t i, const tn_dense_shared &x, uint32_t at,
                             tn_block_sums<T> &sums)
{
    const uint32_t piece = tn_piece_of<tn_codes_q8_0>(i);
    float d[2] = {tn_unit_half(row.head, piece), tn_unit_half(row.head, piece + 4)};
    TN_UNROLL for (uint32_t t = 0; t < T; t++, at += TN_PIECE_WORDS)
    {
        int32_t acc[2] = {0, 0};
        TN_UNROLL for (uint32_t u = 0; u < 4; u++) acc[u / 2] = tn_dot16_ss(w[u], tn_shared_load16(x.pieces, at + 4 * u), acc[u / 2]);
        tn_add_pair(sums, i, t, tn_shared_load16(x.pieces, at + TN_PIECE_SIDE), acc, d);
    }
}
template <uint32_t T>
TN_FN void tn_multiply_piece(const tn_codes_row<tn_codes_q4_0> &row, const tn_u4 (&w)[2], uint32_t i, const tn_dense_shared &x, uint32_t at,
                             tn_block_sums<T> &sums)
{
    const uint32_t piece = tn_piece_of<tn_codes_q4_0>(i);
    float d[2] = {tn_unit_half(row.head, piece), tn_unit_half(row.head, piece + 4)};
    uint32_t codes[16];
    TN_UNROLL for (uint32_t q = 0; q < 16; q++) codes[q] = tn_q4_0_codes(tn_unit_word(w[q / 8], q % 8 / 2), q % 2);
    TN_UNROLL for (uint32_t t = 0; t < T; t++, at += TN_PIECE_WORDS)
    {
        const tn_u4 side = tn_shared_load16(x.pieces, at + TN_PIECE_SIDE);
        int32_t acc[2] = {(int32_t)side.z, (int32_t)side.w};
        TN_UNROLL for (uint32_t u = 0; u < 4; u++) acc[u / 2] =
            tn_dot16_us(codes + 4 * u, tn_shared_load16(x.pieces, at + 4 * u), acc[u / 2]);
        tn_add_pair(sums, i, t, side, acc, d);
    }
}
template <uint32_t T>
TN_FN void tn_multiply_piece(const tn_codes_row<tn_codes_q6_k> &row, const tn_u4 (&w)[3], uint32_t piece, const tn_dense_shared &x,
                             uint32_t at, tn_block_sums<T> &sums)
{
    uint32_t codes[16];
    int32_t factors[4];
    TN_UNROLL for (uint32_t f = 0; f < 4; f++)
    {
        TN_UNROLL for (uint32_t q = 0; q < 4; q++) codes[4 * f + q] =
            tn_q6_k_codes(tn_unit_word(w[f / 2], 2 * (f % 2) + q / 2), tn_unit_word(w[2], f), q);
        factors[f] = (int32_t)(int8_t)(tn_unit_word(row.head, piece) >> (8 * f));
    }
    TN_UNROLL for (uint32_t t = 0; t < T; t++, at += TN_PIECE_WORDS)
    {
        const tn_u4 side = tn_shared_load16(x.pieces, at + TN_PIECE_SIDE);
        if (piece == 0) sums.acc[t] = 0;
        TN_UNROLL for (uint32_t f = 0; f < 4; f++)
        {
            const int32_t dot = tn_dot16_us(codes + 4 * f, tn_shared_load16(x.pieces, at + 4 * f), (int32_t)tn_unit_word(side, f));
            sums.acc[t] += factors[f] * dot;
        }
    }
}

// Block b of the row, which is block `in_shared` of those that are in shared memory.
template <class Type, uint32_t T>
TN_FN void tn_multiply_block(tn_codes_row<Type> &row, uint32_t b, uint32_t in_shared, const tn_dense_shared &x, float (&sums)[T])
{
    tn_block_sums<T> block;
    row.head = row.next_head;
    row.scale = row.next_scale;
    tn_ask_head(row, b + 1);
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        tn_u4 now[Type::UNITS];
        TN_UNROLL for (uint32_t u = 0; u < Type::UNITS; u++) now[u] = row.ahead[i % Type::AHEAD][u];
        tn_ask_piece(row, b, i + Type::AHEAD, row.ahead[i % Type::AHEAD]);
        tn_multiply_piece(row, now, i, x, (in_shared * 4 + tn_piece_of<Type>(i)) * T * TN_PIECE_WORDS, block);
    }
    TN_UNROLL for (uint32_t t = 0; t < T; t++)
    {
        if (Type::IS_TREE)
            sums[t] = sums[t] + (block.even[t] + block.odd[t]);
        else
            sums[t] = sums[t] + ((float)block.acc[t] * tn_fl(x.scales[in_shared * T + t] * row.scale));
    }
}

template <class Type, uint32_t T> TN_FN void tn_dense_codes_tile(const tn_dense_tile &tile, const tn_dense_shared &x)
{
    constexpr uint32_t part = TN_DENSE_CODE_BLOCKS / T; // blocks that there is room for
    const uint32_t w_row = tn_block_x() * tn_n_threads() + tn_thread();
    tn_codes_row<Type> row;
    tn_begin_row(tile.p, w_row, row);
    float sums[T];
    TN_UNROLL for (uint32_t t = 0; t < T; t++) sums[t] = 0.0f;
    for (uint32_t first = 0; first < row.n_blocks; first += part) {
        const uint32_t n = row.n_blocks - first < part ? row.n_blocks - first : part;
        tn_sync(); // what was there has been read
        tn_take_codes<Type, T>(tile, first, n, x);
        tn_sync();
        TN_ROLLED for (uint32_t b = 0; b < n; b++) tn_multiply_block(row, first + b, b, x, sums);
    }
    TN_UNROLL for (uint32_t t = 0; t < T; t++) tn_dense_store(tile, t, w_row, sums[t]);
}

#endif
