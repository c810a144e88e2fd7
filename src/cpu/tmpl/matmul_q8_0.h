// q8_0 matmul over Q8_16 and q4_0 matmul over Q4_16, written once: lanes are rows of a panel, so GSUM needs no horizontal step. The
// including file defines before it
//   TN_Q8_ROWS          rows of a vector
//   TN_Q8_VECS          vectors of a tile; ROWS * VECS is 16, as half a panel at a time would read each line twice
//   TN_Q8_TOKENS        tokens of a tile
//   TN_Q8_TILE_BLOCK    bytes of a panel's block: TN_Q8_BLOCK_BYTES where it is not defined
//   tn_rows_f, tn_rows_i: ROWS lanes of f32 and of int32, with tn_rows_zero, _set1, _load, _add, _mul, _to_f32, _fl, and _store, which
//                       stores the first n lanes (n >= ROWS: all) of one token and raises its largest bits
//   q8_dots(x, x_stride, x_sum, x_groups, codes, acc, MR): acc[m][v] = dots of 32 codes and activations; codes + 64j are those of columns
//                       4j .. 4j+3 (q4_0: their high halves those of columns 16 + 4j .. on), x_sum[m * x_groups] the sum of token m's 32
//                       activations
#ifndef TN_CPU_TMPL_MATMUL_Q8_0_H
#define TN_CPU_TMPL_MATMUL_Q8_0_H

#ifndef TN_Q8_TILE_BLOCK
#define TN_Q8_TILE_BLOCK TN_Q8_BLOCK_BYTES
#endif

enum { TN_Q8_GSUM_TERMS = 8, TN_Q8_TILE_ROWS = TN_Q8_ROWS * TN_Q8_VECS };

// Terms of one block for MR tokens: (dot of 32) * FL(dx*dw). `block` is the panel's, first_row the tile's first row in it.
TN_K_INLINE void q8_block_terms(const tn_k_matmul_dense_args *a, const uint8_t *block, uint32_t first_row, uint32_t m0, uint32_t b,
                                tn_rows_f t[TN_Q8_TOKENS][TN_Q8_VECS], const unsigned MR)
{
    const size_t group = (size_t)m0 * a->xq_groups + b;
    if (MR > 2 && m0 == 0) tn_k_prefetch(block, 4 * TN_Q8_TILE_BLOCK, TN_Q8_TILE_BLOCK); // as in tmpl/matmul_q6_k.h
    const uint8_t *scales = block + 4 * (size_t)first_row;
    tn_rows_i acc[TN_Q8_TOKENS][TN_Q8_VECS];
    q8_dots(a->xq + m0 * a->xq_stride + (size_t)b * 32, a->xq_stride, a->xq_sum + group, a->xq_groups, scales + 64, acc, MR);
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        const tn_rows_f dx = tn_rows_set1(a->xq_scale[group + (size_t)m * a->xq_groups]);
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q8_VECS; v++) {
            const tn_rows_f dw = tn_rows_load((const float *)(const void *)scales + v * TN_Q8_ROWS);
            t[m][v] = tn_rows_mul(tn_rows_to_f32(acc[m][v]), tn_rows_fl(tn_rows_mul(dx, dw)));
        }
    }
}

// The tree of GSUM over the terms of eight blocks.
TN_K_INLINE tn_rows_f q8_tree(tn_rows_f t[TN_Q8_GSUM_TERMS][TN_Q8_TOKENS][TN_Q8_VECS], unsigned m, unsigned v)
{
    const tn_rows_f even = tn_rows_add(tn_rows_add(t[0][m][v], t[4][m][v]), tn_rows_add(t[2][m][v], t[6][m][v]));
    const tn_rows_f odd = tn_rows_add(tn_rows_add(t[1][m][v], t[5][m][v]), tn_rows_add(t[3][m][v], t[7][m][v]));
    return tn_rows_add(even, odd);
}

// MR tokens from m0 times the tile's rows from n0 (a multiple of them).
TN_K_INLINE void q8_tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *panel = a->w + n0 / 16 * a->w_stride;
    const uint32_t n_blocks = a->K / 32;
    tn_rows_f sum[TN_Q8_TOKENS][TN_Q8_VECS], t[TN_Q8_GSUM_TERMS][TN_Q8_TOKENS][TN_Q8_VECS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q8_VECS; v++) sum[m][v] = tn_rows_zero();
    }
    for (uint32_t b = 0; b < n_blocks; b += TN_Q8_GSUM_TERMS) {
        const uint32_t terms = n_blocks - b < TN_Q8_GSUM_TERMS ? n_blocks - b : TN_Q8_GSUM_TERMS;
        for (uint32_t i = 0; i < terms; i++) q8_block_terms(a, panel + (size_t)(b + i) * TN_Q8_TILE_BLOCK, n0 % 16, m0, b + i, t[i], MR);
        for (uint32_t i = terms; i < TN_Q8_GSUM_TERMS; i++) {
            for (unsigned m = 0; m < MR; m++) {
                for (unsigned v = 0; v < TN_Q8_VECS; v++) t[i][m][v] = tn_rows_zero();
            }
        }
        TN_K_UNROLL
        for (unsigned m = 0; m < MR; m++) {
            TN_K_UNROLL
            for (unsigned v = 0; v < TN_Q8_VECS; v++) sum[m][v] = tn_rows_add(sum[m][v], q8_tree(t, m, v));
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q8_VECS; v++) {
            const uint32_t n = n0 + v * TN_Q8_ROWS;
            if (n < a->N) tn_rows_store(a->y + (m0 + m) * a->y_stride + n, a->N - n, sum[m][v], &a->y_absmax[m0 + m]);
        }
    }
}

TN_K_INLINE void q8_rows(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += TN_Q8_TILE_ROWS) {
        uint32_t m = 0;
        for (; args->M - m >= TN_Q8_TOKENS; m += TN_Q8_TOKENS) q8_tile(args, m, n, TN_Q8_TOKENS);
        for (; args->M - m >= 2; m += 2) q8_tile(args, m, n, 2);
        if (m < args->M) q8_tile(args, m, n, 1);
    }
}

#endif
