// One token's ternary products with listed rows (R2_256) or columns (C2_256), written once. The including file defines before it
//   TN_S_BYTES               bytes of a vector: 16, 32 or 64; TN_S_ROWS: rows that are computed at a time (2 or 4)
//   tn_bytes, tn_sums        vectors of bytes and of int32
//   tn_bytes_load(p)         unaligned
//   tn_bytes_four(p)         four activations in every 32-bit lane
//   tn_bytes_pairs_low(a, b), tn_bytes_pairs_high(a, b)
//                            bytes of a and b in turn, from the low or high half of every 16 bytes; tn_words_pairs_low/high: 16-bit words
//   tn_sums_zero(), tn_sums_load(p), tn_sums_store(p, sums): aligned
//   tn_sums_field(acc, packed, x, p)  adds the codes in field p of each byte, times 4^p where the level leaves them in place, times x
//   tn_sums_undo(acc, p)     takes the 4^p off
//   tn_sums_add(a, b), tn_sums_total(a): the sum of all lanes
//   ternary_finish(args, m, n, acc)   scales and stores rows n and following of token m, n may be past the end
#ifndef TN_CPU_TMPL_SPARSE_H
#define TN_CPU_TMPL_SPARSE_H

#include "cpu/tmpl/matmul_common.h"

// Entries of the list: columns that go through the registers line by line together, and how far ahead of their use rows and columns are
// asked for. Lists have gaps that the hardware's own reading ahead does not know; asked for piece after piece and some 40 KiB ahead, down
// with two thirds of its columns left out takes 2.4 ms of 4.5 on one core of a Zen 4, a few KiB ahead and line by line 6.5.
#define SPARSE_AHEAD 64u

// To the second-level cache: as many lines as are in flight would not survive in the first.
TN_K_INLINE void sparse_prefetch(const uint8_t *p) { __builtin_prefetch(p, 0, 2); }

// ---- rows ----

// `n_fields` of a block's four times the activations at x, for NR rows; asks for the same block of the rows ahead.
TN_K_INLINE void sparse_block(const uint8_t *const rows[TN_S_ROWS], const uint8_t *const ahead[TN_S_ROWS], size_t at, const int8_t *x,
                              tn_sums acc[TN_S_ROWS][4], const unsigned NR, const unsigned n_fields)
{
    TN_K_UNROLL
    for (unsigned r = 0; r < NR; r++) sparse_prefetch(ahead[r] + at);
    TN_K_UNROLL
    for (unsigned h = 0; h < TN_SPARSE_BYTES; h += TN_S_BYTES) {
        TN_K_UNROLL
        for (unsigned p = 0; p < n_fields; p++) {
            const tn_bytes q = tn_bytes_load((const uint8_t *)x + TN_SPARSE_BYTES * p + h);
            TN_K_UNROLL
            for (unsigned r = 0; r < NR; r++) acc[r][p] = tn_sums_field(acc[r][p], tn_bytes_load(rows[r] + at + h), q, p);
        }
    }
}

// Entries i .. i+NR-1 of the list.
TN_K_INLINE void sparse_rows_tile(const tn_k_sparse_args *a, uint32_t i, size_t row_bytes, const unsigned NR)
{
    const uint32_t n_whole = a->K / TN_SPARSE_SPAN, n_rest = (a->K % TN_SPARSE_SPAN + TN_SPARSE_BYTES - 1) / TN_SPARSE_BYTES;
    const int8_t *x = a->all.x;
    const uint8_t *rows[TN_S_ROWS], *ahead[TN_S_ROWS];
    tn_sums acc[TN_S_ROWS][4];
    TN_K_UNROLL
    for (unsigned r = 0; r < NR; r++) {
        const uint32_t next = i + r + SPARSE_AHEAD;
        rows[r] = a->all.w + row_bytes * a->listed[i + r];
        ahead[r] = next < a->n_listed ? a->all.w + row_bytes * a->listed[next] : rows[r];
        TN_K_UNROLL
        for (unsigned p = 0; p < 4; p++) acc[r][p] = tn_sums_zero();
    }
    size_t at = 0;
    for (uint32_t b = 0; b < n_whole; b++, at += TN_SPARSE_BYTES, x += TN_SPARSE_SPAN) sparse_block(rows, ahead, at, x, acc, NR, 4);
    switch (n_rest) {
    case 1: sparse_block(rows, ahead, at, x, acc, NR, 1); break;
    case 2: sparse_block(rows, ahead, at, x, acc, NR, 2); break;
    case 3: sparse_block(rows, ahead, at, x, acc, NR, 3); break;
    case 4: sparse_block(rows, ahead, at, x, acc, NR, 4); break;
    default: break;
    }
    TN_K_UNROLL
    for (unsigned r = 0; r < NR; r++) {
        const tn_sums low = tn_sums_add(tn_sums_undo(acc[r][0], 0), tn_sums_undo(acc[r][1], 1));
        const tn_sums high = tn_sums_add(tn_sums_undo(acc[r][2], 2), tn_sums_undo(acc[r][3], 3));
        const uint32_t row = a->listed[i + r];
        const float scale = tn_fl(a->all.x_scale[0] * a->all.w_scale[row]);
        tn_k_store(&a->all.y[row], (float)(tn_sums_total(tn_sums_add(low, high)) - a->all.x_sum[0]) * scale, a->all.y_absmax);
    }
}

TN_K_INLINE void sparse_rows(const tn_k_sparse_args *a)
{
    const size_t row_bytes = ((size_t)a->K + TN_SPARSE_SPAN - 1) / TN_SPARSE_SPAN * TN_SPARSE_BYTES;
    uint32_t i = 0;
    for (; a->n_listed - i >= TN_S_ROWS; i += TN_S_ROWS) sparse_rows_tile(a, i, row_bytes, TN_S_ROWS);
    for (; i < a->n_listed; i++) sparse_rows_tile(a, i, row_bytes, 1);
}

// ---- columns ----

// Bytes of four columns side by side in 32-bit lanes: rows 4b .. 4b+3 of every 16 bytes into rows[b].
TN_K_INLINE void sparse_transpose(const tn_bytes c[4], tn_bytes rows[4])
{
    const tn_bytes low01 = tn_bytes_pairs_low(c[0], c[1]), high01 = tn_bytes_pairs_high(c[0], c[1]);
    const tn_bytes low23 = tn_bytes_pairs_low(c[2], c[3]), high23 = tn_bytes_pairs_high(c[2], c[3]);
    rows[0] = tn_words_pairs_low(low01, low23);
    rows[1] = tn_words_pairs_high(low01, low23);
    rows[2] = tn_words_pairs_low(high01, high23);
    rows[3] = tn_words_pairs_high(high01, high23);
}

// Walks through the lines of listed columns, one column after another, and asks for them.
typedef struct sparse_ahead {
    const tn_k_sparse_args *args;
    uint32_t next, end; // columns of the list
    uint32_t n_left;    // lines of the column at p
    const uint8_t *p;
    size_t step; // 0: there are no more
} sparse_ahead;

TN_K_INLINE void sparse_ahead_next(sparse_ahead *ahead)
{
    const tn_k_sparse_args *a = ahead->args;
    const bool is_end = ahead->next >= ahead->end;
    ahead->step = is_end ? 0 : TN_SPARSE_BYTES;
    ahead->n_left = is_end ? UINT32_MAX : a->n_lines;
    if (!is_end) ahead->p = a->all.w + (size_t)a->listed[ahead->next++] * a->n_lines * TN_SPARSE_BYTES;
}

TN_K_INLINE void sparse_ask(sparse_ahead *ahead)
{
    sparse_prefetch(ahead->p);
    ahead->p += ahead->step;
    if (--ahead->n_left == 0) sparse_ahead_next(ahead);
}

// Adds columns [first, end) of the list to the sums of the 4 * TN_S_BYTES rows whose bytes begin at `at` of each column.
TN_K_INLINE void sparse_add_columns(const tn_k_sparse_args *a, uint32_t first, uint32_t end, size_t at, int32_t *sums, sparse_ahead *ahead)
{
    const size_t column_bytes = (size_t)a->n_lines * TN_SPARSE_BYTES;
    tn_sums acc[4][4]; // [field][b]
    TN_K_UNROLL
    for (unsigned v = 0; v < 16; v++) acc[v / 4][v % 4] = first == 0 ? tn_sums_zero() : tn_sums_load(sums + v * (TN_S_BYTES / 4));
    for (uint32_t i = first; i < end; i += 4) {
        tn_bytes columns[4], rows[4];
        TN_K_UNROLL
        for (unsigned c = 0; c < 4; c++) {
            if (at % TN_SPARSE_BYTES == 0) sparse_ask(ahead);
            columns[c] = tn_bytes_load(a->all.w + a->listed[i + c] * column_bytes + at);
        }
        sparse_transpose(columns, rows);
        const tn_bytes q = tn_bytes_four(a->all.x + i);
        TN_K_UNROLL
        for (unsigned v = 0; v < 16; v++) acc[v / 4][v % 4] = tn_sums_field(acc[v / 4][v % 4], rows[v % 4], q, v / 4);
    }
    TN_K_UNROLL
    for (unsigned v = 0; v < 16; v++) tn_sums_store(sums + v * (TN_S_BYTES / 4), acc[v / 4][v % 4]);
}

// Columns go block by block: as many as the first caches keep while each line of theirs has its turn in the registers.
TN_K_INLINE void sparse_columns(const tn_k_sparse_args *a)
{
    const size_t column_bytes = (size_t)a->n_lines * TN_SPARSE_BYTES;
    uint32_t first = 0;
    do {
        const uint32_t end = a->n_listed - first < SPARSE_AHEAD ? a->n_listed : first + SPARSE_AHEAD;
        sparse_ahead ahead = {
            .args = a, .next = end, .end = a->n_listed - end < SPARSE_AHEAD ? a->n_listed : end + SPARSE_AHEAD, .p = a->all.w};
        sparse_ahead_next(&ahead);
        for (size_t at = 0; at < column_bytes; at += TN_S_BYTES) sparse_add_columns(a, first, end, at, a->sums + 4 * at, &ahead);
        first = end;
    } while (first < a->n_listed);
    for (size_t at = 0; at < column_bytes; at += TN_S_BYTES) {
        const int32_t *sums = a->sums + 4 * at;
        TN_K_UNROLL
        for (unsigned v = 0; v < 16; v++) {
            const uint32_t n = (uint32_t)(at / TN_SPARSE_BYTES * TN_SPARSE_SPAN + 64 * (v / 4) + 16 * (v % 4) + at % TN_SPARSE_BYTES / 4);
            if (n < a->all.N) ternary_finish(&a->all, 0, n, tn_sums_undo(tn_sums_load(sums + v * (TN_S_BYTES / 4)), v / 4));
        }
    }
}

#endif
