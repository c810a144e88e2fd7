// q6_k matmul over Q6_16, written once: lanes are rows of a panel, so nothing is added across lanes. Codes are used as they are, 0..63; 32
// times the sum of the activations comes off every dot of 16, from a small table made once a block for all rows of a panel. The including
// file defines before it
//   TN_Q6_ROWS          rows of a vector (16, 8 or 4); TN_Q6_TOKENS: tokens of a tile (a power of two)
//   tn_rows_f, tn_rows_i: ROWS lanes of f32 and of int32, with tn_rows_zero, _set1, _load, _add, _mul, _to_f32, _fl, and _store, as for
//                       tmpl/matmul_q8_0.h
//   tn_q6_codes         ROWS x 4 bytes, with q6_load, q6_low6 (bits 0-5 of each byte) and q6_fourth(z0, z1, z2) (their bits 6-7 together);
//                       q6_zero() of tn_rows_i
//   q6_corrections(x, out)  the table of one token: for each 16 of the 256 activations x what is to come off, 32 bits each
//   q6_add_16(codes, x, x_stride, corrections, scales, sum, MR)  adds to sum[m] scale * (dot of 16) for a vector of rows and MR tokens:
//                       codes[i] are columns 4i .. 4i+3, scales the rows' int8 factors, corrections[m * 16] the entry of token m
#ifndef TN_CPU_TMPL_MATMUL_Q6_K_H
#define TN_CPU_TMPL_MATMUL_Q6_K_H

enum { TN_Q6_VECS = 16 / TN_Q6_ROWS };

// Integer sums of one block for vector v of the panel. With many tokens the next block is asked for early: a core that computes for long
// between two loads gets little from the hardware's own prefetches (8 tokens on Zen 4, from memory: 170 and 250 Gop/s). With few tokens the
// hardware is faster alone (1 token: 31 and 23 GB/s). Of the largest, 256 * 63 * 127 * 128 + 32 * 256 * 127 * 128, all steps fit 31 bits.
TN_K_INLINE void q6_block(const uint8_t *block, const int8_t *x, size_t x_stride, const int32_t *corrections, const unsigned v,
                          tn_rows_i sum[TN_Q6_TOKENS], const unsigned MR)
{
    const int8_t *scales = (const int8_t *)block + TN_Q6_SC + v * TN_Q6_ROWS;
    const uint8_t *packed = block + TN_Q6_CODES + 4 * v * TN_Q6_ROWS;
    for (unsigned s = 0; s < 16; s++, packed += TN_Q6_SUB_BYTES) {
        if (MR > 4 && v == 0) tn_k_prefetch(packed, TN_Q6_BLOCK_BYTES, TN_Q6_SUB_BYTES);
        const tn_q6_codes z0 = q6_load(packed), z1 = q6_load(packed + 64), z2 = q6_load(packed + 128);
        const tn_q6_codes codes[4] = {q6_low6(z0), q6_low6(z1), q6_low6(z2), q6_fourth(z0, z1, z2)};
        q6_add_16(codes, x + 16 * (size_t)s, x_stride, corrections + s, scales + 16 * (size_t)s, sum, MR);
    }
}

// MR tokens from m0 times the panel of row n0.
TN_K_INLINE void q6_tile(const tn_k_matmul_dense_args *a, uint32_t m0, uint32_t n0, const unsigned MR)
{
    const uint8_t *block = a->w + n0 / 16 * a->w_stride;
    const int8_t *x = a->xq + m0 * a->xq_stride;
    const float *x_scale = a->xq_scale + (size_t)m0 * a->xq_groups;
    tn_rows_f sum[TN_Q6_TOKENS][TN_Q6_VECS];
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q6_VECS; v++) sum[m][v] = tn_rows_zero();
    }
    for (uint32_t b = 0; b < a->K / 256; b++, block += TN_Q6_BLOCK_BYTES, x += 256, x_scale++) {
        int32_t corrections[TN_Q6_TOKENS * 16];
        for (unsigned m = 0; m < MR; m++) q6_corrections(x + m * a->xq_stride, corrections + 16 * (size_t)m);
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q6_VECS; v++) {
            const tn_rows_f dw = tn_rows_load((const float *)(const void *)block + v * TN_Q6_ROWS);
            tn_rows_i acc[TN_Q6_TOKENS];
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) acc[m] = q6_zero();
            q6_block(block, x, a->xq_stride, corrections, v, acc, MR);
            TN_K_UNROLL
            for (unsigned m = 0; m < MR; m++) {
                const tn_rows_f scale = tn_rows_fl(tn_rows_mul(tn_rows_set1(x_scale[m * a->xq_groups]), dw));
                sum[m][v] = tn_rows_add(sum[m][v], tn_rows_mul(tn_rows_to_f32(acc[m]), scale));
            }
        }
    }
    TN_K_UNROLL
    for (unsigned m = 0; m < MR; m++) {
        TN_K_UNROLL
        for (unsigned v = 0; v < TN_Q6_VECS; v++) {
            const uint32_t n = n0 + v * TN_Q6_ROWS;
            if (n < a->N) tn_rows_store(a->y + (m0 + m) * a->y_stride + n, a->N - n, sum[m][v], &a->y_absmax[m0 + m]);
        }
    }
}

TN_K_INLINE void q6_rows(const tn_k_matmul_dense_args *args)
{
    for (uint32_t n = 0; n < args->N; n += 16) {
        uint32_t m = 0;
        for (; args->M - m >= TN_Q6_TOKENS; m += TN_Q6_TOKENS) q6_tile(args, m, n, TN_Q6_TOKENS);
#if TN_Q6_TOKENS > 8
        for (; args->M - m >= 8; m += 8) q6_tile(args, m, n, 8);
#endif
#if TN_Q6_TOKENS > 4
        for (; args->M - m >= 4; m += 4) q6_tile(args, m, n, 4);
#endif
        for (; args->M - m >= 2; m += 2) q6_tile(args, m, n, 2);
        if (m < args->M) q6_tile(args, m, n, 1);
    }
}

#endif
