// Ternary matmul over T2_16 or T5_16 for levels that add four products of bytes to a 32-bit lane in one instruction, written once. Every
// weight vector is unpacked once for all tokens of a tile. The including file defines before it
//   TN_T_COLS                  columns of a block: 16 (T2_16) or 20 (T5_16)
//   TN_T_ROWS                  rows of a vector (16, 8 or 4); TN_T_VECS: vectors of a tile (ROWS * VECS a multiple of 16); TN_T_TOKENS
//   tn_packed, tn_codes        a vector of bytes as in the layout, and of one code a byte, with tn_packed_load and
//                              tn_codes_of(packed, i): the codes of columns 4i .. 4i+3
//   tn_sums, tn_x16            a vector of int32, and a block's activations of a token, with tn_sums_zero, tn_x16_load
//   tn_sums_dot(acc, codes, x, i)                 adds codes times activations 4i .. 4i+3
//   ternary_finish(args, m, n, acc)               scales and stores rows n .. n+ROWS-1 of token m, n may be past the end
//   ternary_one_token(args, m, n, NV)             a tile of one token
#ifndef TN_CPU_TMPL_MATMUL_TERNARY_DOT_H
#define TN_CPU_TMPL_MATMUL_TERNARY_DOT_H

// Bytes that a tile of several tokens asks for ahead: its loads come too seldom for the hardware to run far enough ahead by itself (8
// tokens on one core of a Zen 4: 73 tokens/s without, 76 with). One token reads faster than that, and is slowed by it.
#define TERNARY_AHEAD 1024u

// Where vector v of a tile is, from the tile's first panel on.
TN_K_INLINE size_t ternary_vec_offset(size_t panel_bytes, const unsigned v)
{
    return v * TN_T_ROWS / TN_T2_ROWS * panel_bytes + v * TN_T_ROWS % TN_T2_ROWS * 4u;
}

// MR tokens from m0 times NV vectors from row n0.
TN_K_INLINE void ternary_tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned MR, const unsigned NV)
{
    const size_t panel_bytes = (size_t)a->n_blocks * TN_T2_BLOCK_BYTES, x_stride = a->x_stride;
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * panel_bytes;
    const int8_t *x = a->x + m0 * x_stride;
    tn_sums acc[TN_T_TOKENS][TN_T_VECS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < NV; v++) acc[m][v] = tn_sums_zero();
    }
    for (uint32_t b = 0; b < a->n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T_COLS) {
        tn_packed packed[TN_T_VECS];
        tn_x16 x16[TN_T_TOKENS];
        TN_K_UNROLL
        for (unsigned v = 0; v < NV; v++) {
            const uint8_t *at = w + ternary_vec_offset(panel_bytes, v);
            if (v * TN_T_ROWS % TN_T2_ROWS == 0) tn_k_prefetch(at, TERNARY_AHEAD, TN_T2_BLOCK_BYTES);
            packed[v] = tn_packed_load(at);
        }
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) x16[m] = tn_x16_load(x + m * x_stride);
        TN_K_UNROLL
        for (unsigned i = 0; i < TN_T_COLS / 4u; i++) {
            tn_codes codes[TN_T_VECS];
            TN_K_UNROLL
            for (unsigned v = 0; v < NV; v++) codes[v] = tn_codes_of(packed[v], i);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                TN_K_UNROLL
                for (unsigned v = 0; v < NV; v++) acc[m][v] = tn_sums_dot(acc[m][v], codes[v], x16[m], i);
            }
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < NV; v++) ternary_finish(a, m0 + m, n0 + v * TN_T_ROWS, acc[m][v]);
    }
}

// `tokens` (1 to 8, at most TN_T_TOKENS) from m0.
TN_K_INLINE void ternary_tokens(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t tokens, uint32_t n0, const unsigned NV)
{
    switch (tokens) {
    case 1: ternary_one_token(a, m0, n0, NV); break;
    case 2: ternary_tile(a, m0, n0, 2, NV); break;
    case 3: ternary_tile(a, m0, n0, 3, NV); break;
#if TN_T_TOKENS > 4
    case 4: ternary_tile(a, m0, n0, 4, NV); break;
    case 5: ternary_tile(a, m0, n0, 5, NV); break;
    case 6: ternary_tile(a, m0, n0, 6, NV); break;
    case 7: ternary_tile(a, m0, n0, 7, NV); break;
#endif
    default: ternary_tile(a, m0, n0, TN_T_TOKENS, NV); break;
    }
}

TN_K_INLINE void ternary_rows(const tn_k_matmul_ternary_args *args)
{
    const uint32_t tile_rows = TN_T_ROWS * TN_T_VECS;
    for (uint32_t n = 0; n < args->N; n += tile_rows) {
        const bool one_panel = tile_rows > TN_T2_ROWS && args->N - n <= TN_T2_ROWS;
        for (uint32_t m = 0; m < args->M; m += TN_T_TOKENS) {
            const uint32_t tokens = args->M - m < TN_T_TOKENS ? args->M - m : TN_T_TOKENS;
            if (one_panel) {
                ternary_tokens(args, m, tokens, n, TN_T2_ROWS / TN_T_ROWS);
            } else {
                ternary_tokens(args, m, tokens, n, TN_T_VECS);
            }
        }
    }
}

#endif
