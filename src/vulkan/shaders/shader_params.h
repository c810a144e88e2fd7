// Push constants of the shaders, read by GLSL and by C alike: one struct a shader. All fields are 32-bit words; offsets count words from
// the start of the binding named; "row" is a row of the value (a token of the step, or a wanted row of logits).
#ifndef TN_VULKAN_SHADER_PARAMS_H
#define TN_VULKAN_SHADER_PARAMS_H

#ifdef TN_GLSL
#define TN_UINT       uint
#define TN_PART(name) name
#define TN_FLOAT      float
#else
#include <stdint.h>
#define TN_UINT       uint32_t
#define TN_PART(name) struct name
#define TN_FLOAT      float
#endif

// Where a step's arrays lie (tn_step_layout), for shaders that read them.
struct tn_vk_step_at {
    TN_UINT copies, logit_rows, tokens, positions, seqs, page_table, n_seq_pages;
};

// Whose poison a row is. node: 1 + index, kept where a value that is stored is not below 2^56.
struct tn_vk_row_of {
    TN_UINT is_logits;  // rows are wanted rows of logits: row r is token step[logit_rows + r]
    TN_UINT logit_rows; // word of the step
};

// How the rows of a dense weight lie (vk_pack.h): unit u (16 bytes) of row r is uvec4 number
//     ((r / interleave) * n_units + u) * interleave + r % interleave
// of the weights binding; Q6_K's f32 scale of block b is word scales_at + ((r / interleave) * n_blocks + b) * interleave + r % interleave
// of the KV binding, where the weight's scales are bound: one binding need not reach from the units to their scales.
struct tn_vk_dense_at {
    TN_UINT n_units;    // of a row
    TN_UINT interleave; // 16, or 1
    TN_UINT scales_at;
    TN_UINT n_blocks; // of 256 elements, of a row
};

// embed: one workgroup a row; tokens -> f32 rows of `out`.
struct tn_vk_embed_params {
    TN_PART(tn_vk_dense_at) w;
    TN_UINT tokens;         // word of the step
    TN_UINT n;              // elements of a row
    TN_UINT y_at, y_stride; // out binding
    TN_UINT node;
    TN_UINT first_row, n_rows; // of the table that are bound; rows of other tokens are left alone
};

// row_quant: one workgroup a row. Spec constant ROW_OP: 0 norm, 1 norm_quant, 2 quant. in_at and in_stride are multiples of 4. Gains, f32
// [n], are the weights binding.
struct tn_vk_row_params {
    TN_UINT n;
    TN_UINT in_at, in_stride; // arena, f32
    TN_FLOAT eps, recip_n;    // RN(1/n)
    TN_UINT y_at, y_stride;   // norm: out binding, f32. Else: arena, code words a row (see common.glsl)
    TN_UINT scales, sums;     // arena: f32 and int32 [rows]
    TN_UINT node;
    TN_PART(tn_vk_row_of) row;
};

// quant_group: one workgroup a row: codes and scales for quantised dense weights. Codes are padded with 0 to a multiple of 256 elements.
// in_at and in_stride are multiples of 4.
struct tn_vk_group_params {
    TN_UINT n;
    TN_UINT in_at, in_stride;
    TN_UINT group;     // 32 or 256
    TN_UINT sum_group; // elements a sum: 32 (for groups of 32) or 16 (for groups of 256)
    TN_UINT codes, codes_stride;
    TN_UINT scales, scales_stride; // f32 [n_padded / group] a row; 0 beyond n
    TN_UINT sums, sums_stride;     // int32 [n_padded / sum_group] a row
    TN_UINT is_logits;             // rows are wanted rows of logits
};

// matmul_ternary: up to three matrices over one quantised input; see the shaders for the grid. 31 words of the 32 that there are.
struct tn_vk_ternary_params {
    TN_UINT n_chunks;                     // of 64 columns
    TN_UINT codes, codes_stride;          // arena: words a row
    TN_UINT scales, sums;                 // arena: of the input rows
    TN_UINT n_rows_0, n_rows_1, n_rows_2; // outputs of each matrix; 0: there is none
    TN_UINT w_0, w_1, w_2;                // word of the weights binding where its codes begin, a multiple of 4
    TN_UINT s_0, s_1, s_2;                // word of the weights binding (SCALES_AT_KV: of the KV binding): its scales
    TN_UINT per_row;                      // bit i: matrix i has a scale a row, else one
    TN_UINT y_0, y_1, y_2;                // word of the out binding
    TN_UINT y_stride;                     // of one output; of several each has its width, rounded up to 4
    TN_UINT node_0, node_1, node_2;
    TN_UINT add_at, add_stride, add_node; // EPILOGUE 1: arena, the residual
    TN_UINT glu_node;                     // EPILOGUE 2, 3
    TN_UINT logit_rows;                   // word of the step where the input's rows are wanted rows of logits; 0: they are tokens
    // ROW_OP: quantisation of the output's only row by the last workgroup. Gains are at the KV binding.
    TN_UINT row_codes, row_scale, row_sum; // arena
    TN_UINT counter;                       // word of the state, 0 between dispatches
};

// rope_append: one workgroup a (slot, row): slots are the heads of q, then of k, then of v, as far as their counts go. The weights binding
// is the table, f32 [n_ctx][head_dim]. Spec constant HAS_QUADS: 1 where head_dim is a multiple of 8, and offsets and strides are multiples
// of 4.
struct tn_vk_rope_params {
    TN_PART(tn_vk_step_at) step;
    TN_UINT head_dim, adjacent;                            // pairs (2i, 2i+1), else halves
    TN_UINT n_q, q_at, q_stride, qy_at, qy_stride, q_node; // heads that are only turned: arena -> out binding
    TN_UINT n_k, k_at, k_stride, k_turn, k_node;           // heads that are appended as keys; k_turn: turned first
    TN_UINT n_v, v_at, v_stride;                           // heads that are appended as values
    TN_UINT n_pages;                                       // of the KV binding (one layer)
    TN_UINT a_qk;                                          // A of keys
    TN_FLOAT recip_a_qk;                                   // RN(1/A)
};

// attention: see the shader for the grid. Spec constants: 0 invocations, 1 head_dim, 2 n_heads / n_kv_heads, 3 whether head_dim is a
// multiple of 8; if it is, q_at, q_stride, y_at, y_stride and partials are multiples of 4. In the "texel" forms, which need that, texel
// binding 6 shows the KV binding, not the weights.
struct tn_vk_attention_params {
    TN_PART(tn_vk_step_at) step;
    TN_UINT n_heads, n_kv_heads;
    TN_UINT first_row;                             // that grid z = 0 is; those below are of row 0
    TN_UINT q_at, q_stride;                        // arena f32
    TN_UINT y_at, y_stride;                        // out binding f32
    TN_UINT partials;                              // arena: [rows][n_heads][n_chunks_max][head_dim + 4] of the split form
    TN_UINT n_chunks_max;                          // of a row, of the split form
    TN_UINT counters;                              // state binding: [rows][n_kv_heads], 0 between steps
    TN_UINT a_qk;                                  // A of q and k
    TN_FLOAT recip_a_qk, recip_a_v, log2e_by_sqrt; // RN(1/A), RN(1/4095), RN(log2 e / sqrt(head_dim))
    TN_UINT node;
};

// attention_one: the same of one token with RoPE and append in front; its table, f32 [n_ctx][head_dim], is the weights binding. Spec
// constants: 0 invocations (128), 1 head_dim, 2 n_heads / n_kv_heads.
struct tn_vk_attention_one_params {
    TN_PART(tn_vk_step_at) step;
    TN_UINT n_kv_heads, n_pages; // of the KV binding
    TN_UINT q_at, k_at, v_at;    // arena f32
    TN_UINT adjacent;            // pairs (2i, 2i+1), else halves
    TN_UINT y_at;                // out binding f32
    TN_UINT partials;            // arena: [n_heads][n_chunks_max][head_dim + 4]
    TN_UINT n_chunks_max;
    TN_UINT counters;                              // state binding: [n_heads], 0 between steps
    TN_UINT a_qk;                                  // A of q and k
    TN_FLOAT recip_a_qk, recip_a_v, log2e_by_sqrt; // RN(1/A), RN(1/4095), RN(log2 e / sqrt(head_dim))
    TN_UINT q_node, k_node, node;
};

// matmul_dense: y = x . W^T over rows [first_row, first_row + n_rows) of W; one lane a row of W. See the shader for the grid.
struct tn_vk_dense_params {
    TN_PART(tn_vk_dense_at) w; // of row first_row, a multiple of 16, and those behind it
    TN_UINT n, first_row, n_rows;
    TN_UINT x_at, x_stride;                           // arena: f32, or code words
    TN_UINT scales, scales_stride, sums, sums_stride; // of quant_group
    TN_UINT first_token;                              // row of x that grid y = 0 begins with
    TN_UINT y_at, y_stride;                           // out binding, of the row first_token
    TN_UINT node;
    TN_UINT is_logits, logit_rows;
};

// elementwise (glu, add): grid x over groups of elements, y over rows. Spec constant ELEMENT_OP: 0 add, 1 glu relu2, 2 glu silu.
struct tn_vk_element_params {
    TN_UINT n;
    TN_UINT a_at, a_stride, b_at, b_stride; // arena
    TN_UINT y_at, y_stride;
    TN_UINT node;
    TN_PART(tn_vk_row_of) row;
};

// copy_rows: arena rows -> out binding rows. by_logits: output row r is input row step[logit_rows + r].
struct tn_vk_copy_params {
    TN_UINT n;
    TN_UINT in_at, in_stride, y_at, y_stride;
    TN_UINT by_logits, logit_rows;
    TN_UINT is_logits; // rows of the output are wanted rows of logits
};

// copy_pages: one workgroup column a copy, grid x over parts of a page, y copies, z layers.
struct tn_vk_pages_params {
    TN_UINT copies;  // word of the step
    TN_UINT n_pages; // of a layer
    TN_UINT page_words;
};

// rank_groups, rank: the best logits of rows of n, which are bound as the arena.
struct tn_vk_rank_params {
    TN_UINT n;
    TN_UINT n_top;                       // word of the step
    TN_UINT top_max;                     // candidates of a row
    TN_UINT counts, ids, logits, groups; // words of the state: [rows], [rows][top_max] twice, [rows][1024]
};

// probe_read: reads weights.
struct tn_vk_probe_params {
    TN_UINT n; // elements of 16 bytes
};

#endif
