// Panels to rows and columns. Both ways go through a block's fields: 64 bytes of four 2-bit codes each, as T2_16 has them, and of T5_16 a
// fifth code a byte.
#include "cpu/sparse_copy.h"

#include "base/checked.h"
#include "cpu/t5.h"

#include <string.h>

enum { LINE_PANELS = TN_SPARSE_SPAN / TN_T2_ROWS };
static const uint32_t low2 = 0x03030303u; // of each byte

typedef struct fields {
    uint8_t four[TN_T2_BLOCK_BYTES];
    uint8_t fifth[TN_T2_BLOCK_BYTES]; // T5_16 alone
} fields;

typedef struct t5_table {
    uint8_t four[256], fifth[256];
} t5_table;

static void fill_table(t5_table *table)
{
    for (unsigned v = 0; v < 256; v++) {
        uint8_t codes[5];
        tn_t5_codes((uint8_t)v, codes);
        table->four[v] = (uint8_t)(codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6);
        table->fifth[v] = codes[4];
    }
}

static uint32_t block_cols(const tn_cpu_weight *w) { return w->layout == TN_CPU_LAYOUT_T5_16 ? TN_T5_COLS : TN_T2_COLS; }
static uint32_t n_panels(const tn_cpu_weight *w) { return (w->n_rows - 1) / TN_T2_ROWS + 1; }

static void read_block(const tn_cpu_weight *w, const t5_table *table, uint32_t panel, uint32_t block, fields *out)
{
    const uint8_t *bytes = w->data + w->stride_bytes * panel + (size_t)block * TN_T2_BLOCK_BYTES;
    if (w->layout != TN_CPU_LAYOUT_T5_16) {
        memcpy(out->four, bytes, sizeof out->four);
        return;
    }
    for (unsigned i = 0; i < TN_T2_BLOCK_BYTES; i++) {
        out->four[i] = table->four[bytes[i]];
        out->fifth[i] = table->fifth[bytes[i]];
    }
}

static uint32_t strip_rows(const tn_cpu_sparse_copy *copy) { return copy->n_lines * TN_SPARSE_SPAN; }

uint32_t tn_cpu_sparse_n_strips(const tn_cpu_sparse_copy *copy) { return (copy->w.n_rows - 1) / strip_rows(copy) + 1; }
size_t tn_cpu_sparse_row_bytes(const tn_cpu_sparse_copy *copy)
{
    return ((size_t)copy->w.n_cols + TN_SPARSE_SPAN - 1) / TN_SPARSE_SPAN * TN_SPARSE_BYTES;
}
size_t tn_cpu_sparse_strip_bytes(const tn_cpu_sparse_copy *copy) { return (size_t)copy->w.n_cols * copy->n_lines * TN_SPARSE_BYTES; }

bool tn_cpu_sparse_bytes(const tn_cpu_sparse_copy *copy, uint64_t *out_bytes)
{
    if (copy->kind == TN_CPU_SPARSE_ROWS) return tn_ckd_mul(tn_cpu_sparse_row_bytes(copy), copy->w.n_rows, out_bytes);
    return tn_ckd_mul((uint64_t)copy->w.n_cols * TN_SPARSE_BYTES, copy->n_lines, out_bytes) &&
           tn_ckd_mul(*out_bytes, tn_cpu_sparse_n_strips(copy), out_bytes);
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// ---- rows ----

// Puts a row's four codes from `column` on into its bytes; column is a multiple of 4, so all four are in one field.
static void put_codes(uint8_t *row, uint32_t column, uint32_t codes)
{
    const uint32_t in = column % TN_SPARSE_SPAN;
    uint8_t *at = row + column / TN_SPARSE_SPAN * TN_SPARSE_BYTES + in % TN_SPARSE_BYTES;
    const uint32_t bytes = load32(at) | codes << 2 * (in / TN_SPARSE_BYTES);
    memcpy(at, &bytes, sizeof bytes);
}

static void fill_rows(const tn_cpu_sparse_copy *copy, const t5_table *table, uint32_t panel, uint8_t *bytes)
{
    const tn_cpu_weight *w = &copy->w;
    const uint32_t row0 = panel * TN_T2_ROWS, rows = w->n_rows - row0 < TN_T2_ROWS ? w->n_rows - row0 : TN_T2_ROWS;
    const size_t row_bytes = tn_cpu_sparse_row_bytes(copy);
    memset(bytes + row_bytes * row0, 0, row_bytes * rows);
    for (uint32_t b = 0; b < w->n_blocks; b++) {
        fields f;
        read_block(w, table, panel, b, &f);
        const uint32_t cols = block_cols(w), column = b * cols;
        for (uint32_t r = 0; r < rows; r++) {
            uint8_t *row = bytes + row_bytes * (row0 + r);
            for (uint32_t p = 0; 4 * p < cols && column + 4 * p < w->n_cols; p++)
                put_codes(row, column + 4 * p, p < 4 ? load32(f.four + 4 * r) >> 2 * p & low2 : load32(f.fifth + 4 * r));
        }
    }
}

// ---- columns ----

// Four rows of four bytes to four columns of four rows.
static void transpose4(uint32_t v[4])
{
    const uint32_t even = 0x00ff00ffu;
    const uint32_t a = (v[0] & even) | (v[1] & even) << 8, b = (v[0] >> 8 & even) | (v[1] & ~even);
    const uint32_t c = (v[2] & even) | (v[3] & even) << 8, d = (v[2] >> 8 & even) | (v[3] & ~even);
    v[0] = (a & 0xffffu) | c << 16;
    v[1] = (b & 0xffffu) | d << 16;
    v[2] = a >> 16 | (c & 0xffff0000u);
    v[3] = b >> 16 | (d & 0xffff0000u);
}

// Puts a panel's block, the `place`-th of the strip, into the lines of its columns, of which `cols` exist.
static void put_block(const fields *f, uint32_t place, uint32_t cols, size_t column_bytes, uint8_t *columns)
{
    const uint32_t field = 2 * (place % LINE_PANELS / 4), at = 4 * (place % 4);
    uint8_t *lines = columns + (size_t)(place / LINE_PANELS) * TN_SPARSE_BYTES;
    for (uint32_t l = 0; l < 4; l++) {
        uint32_t four[4], fifth[4];
        for (uint32_t d = 0; d < 4; d++) {
            four[d] = load32(f->four + 16 * l + 4 * d);
            fifth[d] = load32(f->fifth + 16 * l + 4 * d);
        }
        transpose4(four);
        transpose4(fifth);
        for (uint32_t c = 0; c < cols; c++) {
            const uint32_t p = c / 4, codes = p < 4 ? four[c % 4] >> 2 * p & low2 : fifth[c % 4];
            uint8_t *bytes = lines + column_bytes * c + 16 * l + at;
            const uint32_t with = load32(bytes) | codes << field;
            memcpy(bytes, &with, sizeof with);
        }
    }
}

static void fill_columns(const tn_cpu_sparse_copy *copy, const t5_table *table, uint32_t first, uint32_t end, uint8_t *columns)
{
    const tn_cpu_weight *w = &copy->w;
    const size_t column_bytes = (size_t)copy->n_lines * TN_SPARSE_BYTES;
    memset(columns, 0, tn_cpu_sparse_strip_bytes(copy));
    fields f = {0};
    for (uint32_t b = 0; b < w->n_blocks; b++) {
        const uint32_t column = b * block_cols(w), rest = w->n_cols - column, cols = rest < block_cols(w) ? rest : block_cols(w);
        for (uint32_t panel = first; panel < end; panel++) {
            read_block(w, table, panel, b, &f);
            put_block(&f, panel - first, cols, column_bytes, columns + column_bytes * column);
        }
    }
}

void tn_cpu_sparse_fill_strip(const tn_cpu_sparse_copy *copy, uint32_t strip, uint8_t *bytes)
{
    t5_table table;
    fill_table(&table);
    const uint32_t panels = copy->n_lines * LINE_PANELS, first = strip * panels, all = n_panels(&copy->w);
    const uint32_t end = all - first < panels ? all : first + panels;
    if (copy->kind == TN_CPU_SPARSE_COLUMNS) {
        fill_columns(copy, &table, first, end, bytes + tn_cpu_sparse_strip_bytes(copy) * strip);
        return;
    }
    for (uint32_t i = first; i < end; i++) fill_rows(copy, &table, i, bytes);
}
