// Rows of a quantised dense weight times the tokens of a tile: one thread's way along them.
#ifndef TN_CUDA_DENSE_CODES_ROW_CUH
#define TN_CUDA_DENSE_CODES_ROW_CUH

#include "cuda/kernels/dense_codes.cuh"

enum { TN_CODE_THREADS = 128, TN_THREAD_ROWS = TN_CUDA_DENSE_CODE_ROWS / TN_CODE_THREADS };

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
// The head that was asked for is that of the block now; asks for block b's.
template <class Type> TN_FN void tn_next_head(tn_codes_row<Type> &row, uint32_t b)
{
    row.head = row.next_head;
    row.scale = row.next_scale;
    tn_ask_head(row, b);
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

// Sixteen columns, on top of `acc`: signed codes, or such from 0 on.
template <bool is_signed> TN_FN int32_t tn_dot16(const uint32_t *codes, const tn_u4 &x, int32_t acc)
{
    const uint32_t words[4] = {x.x, x.y, x.z, x.w};
    TN_UNROLL for (uint32_t q = 0; q < 4; q++) acc = is_signed ? tn_dp4a_ss(codes[q], words[q], acc) : tn_dp4a_us(codes[q], words[q], acc);
    return acc;
}
TN_FN uint32_t tn_unit_word(const tn_u4 &v, uint32_t i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
TN_FN float tn_unit_half(const tn_u4 &v, uint32_t i) { return tn_half((uint16_t)(tn_unit_word(v, i / 2) >> (16 * (i % 2)))); }

// A piece of a row as it is multiplied: codes, and what belongs to them.
struct tn_piece_small { // Q8_0: units as they are; Q4_0: codes 0..15
    uint32_t codes[16];
    float d[2]; // scales of the two groups
};
struct tn_piece_q6_k {
    uint32_t codes[16]; // 0..63
    int32_t factors[4];
};
TN_FN tn_piece_small tn_unpack_piece(const tn_codes_row<tn_codes_q8_0> &row, const tn_u4 (&w)[4], uint32_t i)
{
    const uint32_t piece = tn_piece_of<tn_codes_q8_0>(i);
    tn_piece_small unpacked;
    TN_UNROLL for (uint32_t q = 0; q < 16; q++) unpacked.codes[q] = tn_unit_word(w[q / 4], q % 4);
    TN_UNROLL for (uint32_t g = 0; g < 2; g++) unpacked.d[g] = tn_unit_half(row.head, piece + 4 * g);
    return unpacked;
}
TN_FN tn_piece_small tn_unpack_piece(const tn_codes_row<tn_codes_q4_0> &row, const tn_u4 (&w)[2], uint32_t i)
{
    const uint32_t piece = tn_piece_of<tn_codes_q4_0>(i);
    tn_piece_small unpacked;
    TN_UNROLL for (uint32_t q = 0; q < 16; q++) unpacked.codes[q] = tn_q4_0_codes(tn_unit_word(w[q / 8], q % 8 / 2), q % 2);
    TN_UNROLL for (uint32_t g = 0; g < 2; g++) unpacked.d[g] = tn_unit_half(row.head, piece + 4 * g);
    return unpacked;
}
TN_FN tn_piece_q6_k tn_unpack_piece(const tn_codes_row<tn_codes_q6_k> &row, const tn_u4 (&w)[3], uint32_t piece)
{
    tn_piece_q6_k unpacked;
    TN_UNROLL for (uint32_t f = 0; f < 4; f++)
    {
        TN_UNROLL for (uint32_t q = 0; q < 4; q++) unpacked.codes[4 * f + q] =
            tn_q6_k_codes(tn_unit_word(w[f / 2], 2 * (f % 2) + q / 2), tn_unit_word(w[2], f), q);
        unpacked.factors[f] = (int32_t)(int8_t)(tn_unit_word(row.head, piece) >> (8 * f));
    }
    return unpacked;
}

// A block's sums so far, of a row and T tokens.
template <uint32_t T> struct tn_block_sums {
    float even[T], odd[T]; // of pieces 0 and 2, of 1 and 3
    int32_t acc[T];        // Q6_K
};
// A token's piece: codes and the words beside them.
struct tn_token_piece {
    tn_u4 x[4], side;
};

// A piece times a token's, as the i-th of the block.
template <bool is_signed, uint32_t T>
TN_FN void tn_add_small(const tn_piece_small &w, const tn_token_piece &token, uint32_t i, uint32_t t, tn_block_sums<T> &sums)
{
    float terms[2];
    TN_UNROLL for (uint32_t g = 0; g < 2; g++)
    {
        int32_t acc = (int32_t)(g == 0 ? token.side.z : token.side.w);
        TN_UNROLL for (uint32_t u = 2 * g; u < 2 * g + 2; u++) acc = tn_dot16<is_signed>(w.codes + 4 * u, token.x[u], acc);
        terms[g] = (float)acc * tn_fl(tn_float(g == 0 ? token.side.x : token.side.y) * w.d[g]);
    }
    const float pair = terms[0] + terms[1];
    float &half = i < 2 ? sums.even[t] : sums.odd[t];
    half = i % 2 == 0 ? pair : half + pair;
}
template <uint32_t T>
TN_FN void tn_add_token(tn_codes_q8_0, const tn_piece_small &w, const tn_token_piece &token, uint32_t i, uint32_t t, tn_block_sums<T> &sums)
{
    tn_add_small<true>(w, token, i, t, sums);
}
template <uint32_t T>
TN_FN void tn_add_token(tn_codes_q4_0, const tn_piece_small &w, const tn_token_piece &token, uint32_t i, uint32_t t, tn_block_sums<T> &sums)
{
    tn_add_small<false>(w, token, i, t, sums);
}
template <uint32_t T>
TN_FN void tn_add_token(tn_codes_q6_k, const tn_piece_q6_k &w, const tn_token_piece &token, uint32_t piece, uint32_t t,
                        tn_block_sums<T> &sums)
{
    if (piece == 0) sums.acc[t] = 0;
    TN_UNROLL for (uint32_t f = 0; f < 4; f++) sums.acc[t] +=
        w.factors[f] * tn_dot16<false>(w.codes + 4 * f, token.x[f], (int32_t)tn_unit_word(token.side, f));
}

// Block b of the thread's rows, which is block `in_shared` of those that are in shared memory.
template <class Type, uint32_t T>
TN_FN void tn_multiply_block(tn_codes_row<Type> (&rows)[TN_THREAD_ROWS], uint32_t b, uint32_t in_shared, const tn_dense_shared &x,
                             float (&sums)[TN_THREAD_ROWS][T])
{
    tn_block_sums<T> block[TN_THREAD_ROWS];
    TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++) tn_next_head(rows[r], b + 1);
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        decltype(tn_unpack_piece(rows[0], rows[0].ahead[0], 0)) w[TN_THREAD_ROWS];
        TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++)
        {
            w[r] = tn_unpack_piece(rows[r], rows[r].ahead[i % Type::AHEAD], i);
            tn_ask_piece(rows[r], b, i + Type::AHEAD, rows[r].ahead[i % Type::AHEAD]);
        }
        uint32_t at = (in_shared * 4 + tn_piece_of<Type>(i)) * T * TN_PIECE_WORDS;
        TN_UNROLL for (uint32_t t = 0; t < T; t++, at += TN_PIECE_WORDS)
        {
            tn_token_piece token;
            TN_UNROLL for (uint32_t u = 0; u < 4; u++) token.x[u] = tn_shared_load16(x.pieces, at + 4 * u);
            token.side = tn_shared_load16(x.pieces, at + TN_PIECE_SIDE);
            TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++) tn_add_token(Type(), w[r], token, i, t, block[r]);
        }
    }
    TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++)
    {
        TN_UNROLL for (uint32_t t = 0; t < T; t++)
        {
            float &sum = sums[r][t];
            if (Type::IS_TREE)
                sum = sum + (block[r].even[t] + block[r].odd[t]);
            else
                sum = sum + ((float)block[r].acc[t] * tn_fl(x.scales[in_shared * T + t] * rows[r].scale));
        }
    }
}

template <class Type, uint32_t T> TN_FN void tn_dense_codes_tile(const tn_dense_tile &tile, const tn_dense_shared &x)
{
    constexpr uint32_t part = TN_DENSE_CODE_BLOCKS / T; // blocks that there is room for
    const uint32_t n_blocks = tile.p.w.n_units / Type::BLOCK_UNITS;
    const uint32_t first_row = tn_block_x() * TN_CUDA_DENSE_CODE_ROWS + tn_thread();
    if (tn_block_x() * TN_CUDA_DENSE_CODE_ROWS >= tile.p.w.n_rows) return;
    tn_codes_row<Type> rows[TN_THREAD_ROWS];
    float sums[TN_THREAD_ROWS][T];
    TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++)
    {
        tn_begin_row(tile.p, first_row + r * TN_CODE_THREADS, rows[r]);
        TN_UNROLL for (uint32_t t = 0; t < T; t++) sums[r][t] = 0.0f;
    }
    for (uint32_t first = 0; first < n_blocks; first += part) {
        const uint32_t n = n_blocks - first < part ? n_blocks - first : part;
        tn_sync(); // what was there has been read
        tn_take_codes<Type, T>(tile, first, n, x);
        tn_sync();
        TN_ROLLED for (uint32_t b = 0; b < n; b++) tn_multiply_block(rows, first + b, b, x, sums);
    }
    TN_UNROLL for (uint32_t r = 0; r < TN_THREAD_ROWS; r++)
    {
        TN_UNROLL for (uint32_t t = 0; t < T; t++) tn_dense_store(tile, t, first_row + r * TN_CODE_THREADS, sums[r][t]);
    }
}

#endif
