// The CPU's kernels: their types, the layouts they read, and the table that dispatch fills.
#ifndef TN_CPU_KERNEL_H
#define TN_CPU_KERNEL_H

#include "backend/backend.h"
#include "cpu/isa.h"

// Layout T2_16: panels of 16 rows. A panel is a run of 64-byte blocks, one for each 16 columns (the last is padded): bits 2p, 2p+1 of byte
// 4r + j hold code t+1 of row r, column 4p + j of the block (p, j = 0..3). Padding rows and columns hold code 1. After the panels' codes
// come f32 scales, one a row (padding rows: 0), 64-byte aligned. One load, 3 shifts and 4 masks give four vectors of 16 rows x 4 columns.
#define TN_T2_ROWS        16u
#define TN_T2_COLS        16u
#define TN_T2_BLOCK_BYTES 64u
// Layout T5_16: the same panels at 1.6 bits a weight: a block has 20 columns, byte 4r + j holds the codes of row r, columns 4p + j (p =
// 0..4) as t5.h says.
#define TN_T5_COLS 20u
// Layout Q8_16 (q8_0): panels of 16 rows; for each 32 columns 16 f32 scales (FL applied), then 8 groups of 64 bytes: byte 4r + j of group g
// holds code + 128 (unsigned) of row r, column 4g + j. Padding rows: scale 0, code 128.
#define TN_Q8_BLOCK_BYTES (64u + 512u)
// Layout Q4_16 (q4_0): the same with 4 groups of 64 bytes: of byte 4r + j of group g bits 0-3 hold code + 8 of row r, column 4g + j, bits
// 4-7 that of column 16 + 4g + j. Padding rows: scale 0, code 8.
#define TN_Q4_BLOCK_BYTES (64u + 256u)
// Layout Q6_16 (q6_k): panels of 16 rows; for each 256 columns 16 f32 scales, then int8 factors, 16 rows side by side for each 16 columns,
// then the codes (0..63) of each 16 columns as three groups of 64 bytes: bits 0-5 of byte 4r + j of group g hold row r, column 4g + j; bits
// 6-7 of groups 0, 1 and 2 are bits 0-1, 2-3 and 4-5 of column 12 + j. Padding rows: all 0.
#define TN_Q6_SC          64u
#define TN_Q6_CODES       (TN_Q6_SC + 256u)
#define TN_Q6_SUB_BYTES   192u
#define TN_Q6_BLOCK_BYTES (TN_Q6_CODES + 16u * TN_Q6_SUB_BYTES)
// Layouts of second copies, for products of which only some rows or columns are wanted (squared-ReLU skipping), both of 2-bit codes t+1.
// R2_256: a row is a run of 64-byte blocks, one for each 256 columns (the last is padded): bits 2p, 2p+1 of byte i hold column 64p + i of
// the block. C2_256: strips of some 256 rows each (the last is padded); in a strip for each column, one after another, 64 bytes for each
// 256 rows: bits 2p, 2p+1 of byte 16l + 4b + d hold row 64p + 16b + 4l + d of them, so that transposing bytes of four columns gives 16 rows
// side by side.
#define TN_SPARSE_BYTES 64u
#define TN_SPARSE_SPAN  256u
// f32, f16, bf16: rows as in the file (FL applied), each padded to a multiple of 64 bytes. q4_1, q5_0, q5_1, q4_k, q5_k: rows as in the
// file.

// Quantised activations: codes [rows][stride], zeros from K on; stride a multiple of 64 bytes that holds whole blocks of every layout.
#define TN_Q8_STRIDE(K) (((size_t)(K) + TN_T5_COLS - 1 + 63) & ~(size_t)63)

typedef struct tn_k_matmul_ternary_args {
    const int8_t *x;         // [M][x_stride]
    size_t x_stride;         // bytes
    const float *x_scale;    // [M]
    const int32_t *x_sum;    // [M] sum of codes
    const uint8_t *w;        // T2_16 or T5_16, as the slot says: first panel to compute
    const float *w_scale;    // [n_panels * 16]
    uint32_t M, N, n_blocks; // N: real rows from the first panel on (ceil(N/16) panels); n_blocks: of a panel
    float *y;                // [M][y_stride], column of the first panel's first row
    size_t y_stride;         // floats
    uint32_t *y_absmax;      // [M] raised to the largest absolute bits stored
} tn_k_matmul_ternary_args;

// One token's products with the listed rows of R2_256, or a strip's products with the listed columns of C2_256, the others being 0.
typedef struct tn_k_sparse_args {
    // x: rows: [stride] codes of the token; columns: [n_listed] codes of the listed columns, then zeros up to a multiple of 4. x_sum: of
    // all codes. w: the first row, or the strip. w_scale, y: of the first row, or the strip's. M: 1. N: columns: real rows of the strip.
    // x_stride, n_blocks, y_stride: unused. Rows that are not listed are not stored.
    tn_k_matmul_ternary_args all;
    const uint32_t *listed; // [n_listed] rows or columns; columns: then any up to a multiple of 4
    uint32_t n_listed;
    uint32_t K;       // rows: columns of a row
    uint32_t n_lines; // columns: 64-byte lines of a column of the strip
    int32_t *sums;    // columns: scratch [n_lines * 256], 64-byte aligned
} tn_k_sparse_args;

typedef struct tn_k_matmul_dense_args {
    const float *x;        // [M][x_stride]: f32, f16, bf16 weights
    size_t x_stride;       // floats
    const int8_t *xq;      // [M][xq_stride]: quantised weights, QUANT per 32 (q8_0) or 256 (q6_k)
    size_t xq_stride;      // bytes
    const float *xq_scale; // [M][xq_groups]
    const int32_t *xq_sum; // [M][xq_groups]
    uint32_t xq_groups;
    const uint8_t *w; // first row or panel to compute
    size_t w_stride;  // bytes a row (f32, f16, bf16) or a panel (q8_0, q4_0, q6_k)
    uint32_t M, N, K; // N: real rows from there on
    float *y;
    size_t y_stride;    // floats
    uint32_t *y_absmax; // [M]
} tn_k_matmul_dense_args;

// KV cache, block of one (layer, page, KV head): panels of 32 lanes, a row of int16 pairs after the other, so that they are read in the
// order of memory. k[4][head_dim/2][32][2]: panels of positions, rows of two dimensions. v[ceil(head_dim/32)][64][32][2]: panels of
// dimensions (the last one has head_dim % 32 lanes where that is not 0), rows of two positions. Then f32 k_scale[128], f32 v_scale[128].
#define TN_KV_LANES                 32u
#define TN_KV_BLOCK_BYTES(head_dim) ((size_t)TN_KV_PAGE_POSITIONS * (4u * (size_t)(head_dim) + 8u))

// Places of position `at` of a page and dimension d among a block's int16, of k and of v.
static inline size_t tn_kv_k_index(uint32_t head_dim, uint32_t at, uint32_t d)
{
    const size_t row = (size_t)(at / TN_KV_LANES) * (head_dim / 2) + d / 2;
    return (row * TN_KV_LANES + at % TN_KV_LANES) * 2 + d % 2;
}
static inline size_t tn_kv_v_index(uint32_t head_dim, uint32_t at, uint32_t d)
{
    const uint32_t first = d - d % TN_KV_LANES, left = head_dim - first, lanes = left < TN_KV_LANES ? left : TN_KV_LANES;
    return (size_t)TN_KV_PAGE_POSITIONS * (head_dim + first) + ((size_t)(at / 2) * lanes + d % TN_KV_LANES) * 2 + at % 2;
}

// Queries of one sequence against one KV head: the query heads that share it, of one token or of several.
typedef struct tn_k_attention_args {
    const int16_t *q;       // [n_tokens][n_q][head_dim] codes
    const float *q_scale;   // [n_tokens][n_q] sq
    uint32_t n_tokens, n_q; // >= 1
    uint32_t head_dim;      // even
    const uint8_t *kv;      // block of page 0 for this layer and KV head
    size_t page_stride;     // bytes from page to page
    const uint32_t *pages;  // pages of the sequence
    const uint32_t *n_pos;  // [n_tokens] visible positions, >= 1, ascending
    float *y;               // [n_tokens][y_stride]: [n_q][head_dim] of each
    size_t y_stride;        // floats
    uint32_t *y_absmax;     // [n_tokens] set to the largest absolute bits stored
    void *scratch;          // attention: TN_ATTENTION_SCRATCH_BYTES(n_tokens * n_q, head_dim), 64-byte aligned
    // Of attention_pages and attention_join alone, which take one token: what pages give by themselves, so that workers can share a head's.
    float *parts; // [pages of the sequence][n_q][TN_ATTENTION_PART(head_dim)]: sums o, then exponent (int32 bits) and l; 64-byte aligned
    uint32_t first_page, n_pages; // attention_pages: those to compute
} tn_k_attention_args;
#define TN_ATTENTION_PART(head_dim) (((size_t)(head_dim) + 2u + 15u) & ~(size_t)15)
// Queries that kernels compute together. More tokens a call than fill it gain nothing.
#define TN_ATTENTION_GROUP                              16u
#define TN_ATTENTION_SCRATCH_BYTES(n_queries, head_dim) ((size_t)(n_queries) * ((size_t)(head_dim) + 2u) * 4u)

// Function types by slot of the table. Those that return uint32_t return the largest absolute bits stored.
typedef void tn_k_quant_fn(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum);
typedef void tn_k_norm_quant_fn(const float *x, const float *gamma, uint32_t n, float eps, int8_t *q, float *scale, int32_t *sum);
typedef uint32_t tn_k_norm_fn(const float *x, const float *gamma, uint32_t n, float eps, float *y);
typedef void tn_k_quant_group_fn(const float *x, uint32_t n, uint32_t group, int8_t *q, float *scales, int32_t *sums);
typedef void tn_k_matmul_ternary_fn(const tn_k_matmul_ternary_args *args);
typedef void tn_k_sparse_fn(const tn_k_sparse_args *args);
typedef void tn_k_matmul_dense_fn(const tn_k_matmul_dense_args *args);
typedef uint32_t tn_k_embed_fn(const uint8_t *w, size_t w_stride, uint32_t row, uint32_t n,
                               float *y); // w: packed; stride as in matmul_dense
// A row of n elements (whole blocks) in file form, dequantised, FL'd.
typedef void tn_k_dequant_fn(const uint8_t *row, uint32_t n, float *y);
typedef uint32_t tn_k_rope_fn(const float *x, const float *table_row, uint32_t n_heads, uint32_t head_dim, tn_rope_pairs pairs, float *y);
typedef void tn_k_quant_head_fn(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale);
typedef void tn_k_attention_fn(const tn_k_attention_args *args);
typedef uint32_t tn_k_glu_fn(const float *gate, const float *up, uint32_t n, float *y); // y may be one of the inputs
typedef uint32_t tn_k_add_fn(const float *a, const float *b, uint32_t n, float *y);     // y may be one of the inputs
// Probes: what the machine can do at best. They compute something that can be checked, so that nothing of them can be left out.
// Reads n_bytes (a multiple of 64) once. Returns the exclusive or of their 64-bit words.
typedef uint64_t tn_k_read_stream_fn(const uint8_t *data, size_t n_bytes);
// Multiplies `code` (0..2) by `q` (-127..127) in every lane and adds, without reading memory; a group is some thousand products, the same
// number in each. Returns how many products were made, and their sum modulo 2^32.
typedef uint64_t tn_k_peak_dot_fn(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum);

// The slots of the dispatch table: X(slot, function type).
// clang-format off
#define TN_KERNEL_SLOTS(X) \
    X(quant, tn_k_quant_fn) \
    X(norm_quant, tn_k_norm_quant_fn) \
    X(norm, tn_k_norm_fn) \
    X(quant_group, tn_k_quant_group_fn) \
    X(matmul_ternary, tn_k_matmul_ternary_fn) \
    X(matmul_ternary_t5, tn_k_matmul_ternary_fn) \
    X(sparse_rows, tn_k_sparse_fn) \
    X(sparse_columns, tn_k_sparse_fn) \
    X(matmul_f32, tn_k_matmul_dense_fn) \
    X(matmul_f16, tn_k_matmul_dense_fn) \
    X(matmul_bf16, tn_k_matmul_dense_fn) \
    X(matmul_q8_0, tn_k_matmul_dense_fn) \
    X(matmul_q4_0, tn_k_matmul_dense_fn) \
    X(matmul_q6_k, tn_k_matmul_dense_fn) \
    X(embed_f32, tn_k_embed_fn) \
    X(embed_f16, tn_k_embed_fn) \
    X(embed_bf16, tn_k_embed_fn) \
    X(embed_q8_0, tn_k_embed_fn) \
    X(embed_q4_0, tn_k_embed_fn) \
    X(embed_q6_k, tn_k_embed_fn) \
    X(dequant_q4_1, tn_k_dequant_fn) \
    X(dequant_q5_0, tn_k_dequant_fn) \
    X(dequant_q5_1, tn_k_dequant_fn) \
    X(dequant_q4_k, tn_k_dequant_fn) \
    X(dequant_q5_k, tn_k_dequant_fn) \
    X(rope, tn_k_rope_fn) \
    X(quant_head, tn_k_quant_head_fn) \
    X(attention, tn_k_attention_fn) \
    X(attention_pages, tn_k_attention_fn) \
    X(attention_join, tn_k_attention_fn) \
    X(glu_relu2, tn_k_glu_fn) \
    X(glu_silu, tn_k_glu_fn) \
    X(add, tn_k_add_fn) \
    X(read_stream, tn_k_read_stream_fn) \
    X(peak_dot, tn_k_peak_dot_fn)
// clang-format on

typedef enum tn_kernel_slot {
#define TN_SLOT_ENUM(slot, type) TN_SLOT_##slot,
    TN_KERNEL_SLOTS(TN_SLOT_ENUM)
#undef TN_SLOT_ENUM
        TN_SLOT_COUNT_
} tn_kernel_slot;

// The chosen kernel of every slot. Const after tn_cpu_dispatch.
typedef struct tn_cpu_kernels {
#define TN_SLOT_FIELD(slot, type) type *slot;
    TN_KERNEL_SLOTS(TN_SLOT_FIELD)
#undef TN_SLOT_FIELD
} tn_cpu_kernels;

// The same types by the slot's name, for prototypes.
#define TN_SLOT_TYPEDEF(slot, type) typedef type tn_slot_##slot##_fn;
TN_KERNEL_SLOTS(TN_SLOT_TYPEDEF)
#undef TN_SLOT_TYPEDEF

// kernels.inc: rows TN_KERNEL(slot, weights, activations, ISA, MR, NR, K_BLOCK, function), read by these prototypes, dispatch, tests and
// benches. ISA is the enum's name without TN_ISA_. A kernel that is not in the list does not exist; those of other processors are left out
// there, and nowhere else.
#define TN_KERNEL(slot, weights, acts, isa, MR, NR, K_BLOCK, function) tn_slot_##slot##_fn function;
#include "cpu/kernels.inc"
#undef TN_KERNEL

// One row of the list, for tests, benches and `ternion devices --kernels`.
typedef struct tn_kernel_row {
    tn_kernel_slot slot;
    const char *slot_name, *weights, *acts, *name;
    tn_isa isa;
    uint32_t MR, NR, K_BLOCK;
    void (*function)(void);
} tn_kernel_row;
const tn_kernel_row *tn_cpu_kernel_rows(uint32_t *out_count);

void tn_cpu_dispatch(tn_isa_set levels, tn_cpu_kernels *out); // fills upwards from scalar, by these levels alone

#endif
