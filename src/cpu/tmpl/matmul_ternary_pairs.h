// Ternary matmul over T2_16 for levels that multiply pairs of bytes into 16 bits, written once: every weight block is unpacked once for all
// tokens of a tile, and sums of 16 bits are widened before they can overflow. The including file defines before it
//   TN_T_ROWS                       rows of a vector; TN_T_VECS: 16 / ROWS; TN_T_TOKENS: tokens of a tile, 2, 4 or 8
//   tn_packed, tn_pairs, tn_sums    vectors of bytes, of 16-bit and of 32-bit sums, with tn_packed_load and tn_pairs_zero
//   tn_codes_of(packed, i)          the codes of columns 4i .. 4i+3, one a byte
//   tn_pairs_add(pairs, codes, x)   adds pairs of codes times the four activations at x
//   tn_pairs_widen(sums, pairs)     adds the two pairs of every 32-bit lane
//   ternary_finish(args, m, n, acc) scales and stores rows n .. n+ROWS-1 of token m, n may be past the end
#ifndef TN_CPU_TMPL_MATMUL_TERNARY_PAIRS_H
#define TN_CPU_TMPL_MATMUL_TERNARY_PAIRS_H

// A 16-bit lane gains at most 2 codes * 2 * 127 = 508 from one product of pairs and 4 of them from a block: 16 blocks reach 32512 < 2^15.
#define TERNARY_WIDEN_BLOCKS 16u

// Adds n_blocks <= TERNARY_WIDEN_BLOCKS blocks to the 16-bit sums of MR tokens.
TN_K_INLINE void ternary_blocks(const uint8_t *w, const int8_t *x, size_t x_stride, uint32_t n_blocks,
                                tn_pairs pairs[TN_T_TOKENS][TN_T_VECS], const unsigned MR)
{
    for (uint32_t b = 0; b < n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        tn_packed packed[TN_T_VECS];
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) packed[v] = tn_packed_load(w + 4 * TN_T_ROWS * v);
        TN_K_UNROLL
        for (unsigned i = 0; i < 4; i++) {
            tn_packed codes[TN_T_VECS];
            TN_K_UNROLL
            for (unsigned v = 0; v < TN_T_VECS; v++) codes[v] = tn_codes_of(packed[v], i);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                TN_K_UNROLL
                for (unsigned v = 0; v < TN_T_VECS; v++) pairs[m][v] = tn_pairs_add(pairs[m][v], codes[v], x + m * x_stride + 4 * i);
            }
        }
    }
}

// MR tokens from m0 times the panel of row n0.
TN_K_INLINE void ternary_tile(const tn_k_matmul_ternary_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m0 * a->x_stride;
    tn_sums acc[TN_T_TOKENS][TN_T_VECS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) acc[m][v] = tn_pairs_zero();
    }
    for (uint32_t b = 0; b < a->n_blocks; b += TERNARY_WIDEN_BLOCKS) {
        const uint32_t n_blocks = a->n_blocks - b < TERNARY_WIDEN_BLOCKS ? a->n_blocks - b : TERNARY_WIDEN_BLOCKS;
        tn_pairs pairs[TN_T_TOKENS][TN_T_VECS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < TN_T_VECS; v++) pairs[m][v] = tn_pairs_zero();
        }
        ternary_blocks(w + (size_t)b * TN_T2_BLOCK_BYTES, x + (size_t)b * TN_T2_COLS, a->x_stride, n_blocks, pairs, MR);
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < TN_T_VECS; v++) acc[m][v] = tn_pairs_widen(acc[m][v], pairs[m][v]);
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) ternary_finish(a, m0 + m, n0 + v * TN_T_ROWS, acc[m][v]);
    }
}

TN_K_INLINE void ternary_rows(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TN_T_TOKENS; m += TN_T_TOKENS) ternary_tile(args, m, n, TN_T_TOKENS);
        switch (args->M - m) {
        case 0: break;
        case 1: ternary_tile(args, m, n, 1); break;
#if TN_T_TOKENS > 2
        case 2: ternary_tile(args, m, n, 2); break;
        case 3: ternary_tile(args, m, n, 3); break;
#endif
#if TN_T_TOKENS > 4
        case 4: ternary_tile(args, m, n, 4); break;
        case 5: ternary_tile(args, m, n, 5); break;
        case 6: ternary_tile(args, m, n, 6); break;
        case 7: ternary_tile(args, m, n, 7); break;
#endif
        default: break;
        }
    }
}

#endif
