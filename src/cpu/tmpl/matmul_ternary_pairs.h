// Ternary matmul over T2_16 for levels that multiply pairs of bytes into 16 bits, written once: every weight block is unpacked once for all
// tokens of a tile, and sums of 16 bits are widened before they can overflow. The including file defines before it
//   TN_T_ROWS                       rows of a vector; TN_T_VECS: 16 / ROWS; TN_T_TOKENS: tokens of a tile, 2, 4 or 8
//   tn_packed, tn_pairs, tn_sums    vectors of bytes, of 16-bit and of 32-bit sums, with tn_packed_load and tn_pairs_zero
//   tn_x16                          a block's activations of a token, with tn_x16_load
//   tn_codes_of(packed, i)          the codes of columns 4i .. 4i+3, one a byte
//   tn_fields(packed, mask)         those bits of every byte, where they are; tn_upper(packed): the upper four bits of every byte moved
//   down,
//                                   with anything above them
//   tn_pairs_add(pairs, codes, x, i) adds pairs of codes times activations 4i .. 4i+3
//   tn_pairs_widen(sums, pairs, t)  adds the two pairs of every 32-bit lane, times t; tn_sums_quarter(sums)
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
        tn_x16 x16[TN_T_TOKENS];
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) x16[m] = tn_x16_load(x + m * x_stride);
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
                for (unsigned v = 0; v < TN_T_VECS; v++) pairs[m][v] = tn_pairs_add(pairs[m][v], codes[v], x16[m], i);
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
            for (unsigned v = 0; v < TN_T_VECS; v++) acc[m][v] = tn_pairs_widen(acc[m][v], pairs[m][v], 1);
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) ternary_finish(a, m0 + m, n0 + v * TN_T_ROWS, acc[m][v]);
    }
}

// One token. Each second field of two bits stays where it is, worth 4, in sums of its own: one shift and four masks a vector where the tile
// has three and four. Those sums gain 4 times as much, twice a block, and are widened after 8 blocks: 8 * 2 * 4 * 508 = 32512 again.
#define TERNARY_ONE_BLOCKS 8u
TN_K_INLINE void ternary_one_blocks(const uint8_t *w, const int8_t *x, uint32_t n_blocks, tn_pairs even[TN_T_VECS], tn_pairs odd[TN_T_VECS])
{
    for (uint32_t b = 0; b < n_blocks; b++, w += TN_T2_BLOCK_BYTES, x += TN_T2_COLS) {
        const tn_x16 x16 = tn_x16_load(x);
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) {
            const tn_packed lower = tn_packed_load(w + 4 * TN_T_ROWS * v), upper = tn_upper(lower);
            even[v] = tn_pairs_add(even[v], tn_fields(lower, 0x03), x16, 0);
            odd[v] = tn_pairs_add(odd[v], tn_fields(lower, 0x0c), x16, 1);
            even[v] = tn_pairs_add(even[v], tn_fields(upper, 0x03), x16, 2);
            odd[v] = tn_pairs_add(odd[v], tn_fields(upper, 0x0c), x16, 3);
        }
    }
}

// Token m times the panel of row n0. The sums are 4 times what they mean until the end: below 2^28 by the range of ternary matmul.
TN_K_INLINE void ternary_one_token(const tn_k_matmul_ternary_args *a, uint32_t m, uint32_t n0)
{
    const uint8_t *w = a->w + n0 / TN_T2_ROWS * ((size_t)a->n_blocks * TN_T2_BLOCK_BYTES);
    const int8_t *x = a->x + m * a->x_stride;
    tn_sums acc[TN_T_VECS];
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_T_VECS; v++) acc[v] = tn_pairs_zero();
    for (uint32_t b = 0; b < a->n_blocks; b += TERNARY_ONE_BLOCKS) {
        const uint32_t n_blocks = a->n_blocks - b < TERNARY_ONE_BLOCKS ? a->n_blocks - b : TERNARY_ONE_BLOCKS;
        tn_pairs even[TN_T_VECS], odd[TN_T_VECS];
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) even[v] = odd[v] = tn_pairs_zero();
        ternary_one_blocks(w + (size_t)b * TN_T2_BLOCK_BYTES, x + (size_t)b * TN_T2_COLS, n_blocks, even, odd);
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_T_VECS; v++) acc[v] = tn_pairs_widen(tn_pairs_widen(acc[v], even[v], 4), odd[v], 1);
    }
    TN_K_UNROLL
    for (unsigned v = 0; v < TN_T_VECS; v++) ternary_finish(a, m, n0 + v * TN_T_ROWS, tn_sums_quarter(acc[v]));
}

TN_K_INLINE void ternary_rows(const tn_k_matmul_ternary_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_T2_ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TN_T_TOKENS; m += TN_T_TOKENS) ternary_tile(args, m, n, TN_T_TOKENS);
        switch (args->M - m) {
        case 0: break;
        case 1: ternary_one_token(args, m, n); break;
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
