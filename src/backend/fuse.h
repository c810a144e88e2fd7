// Which nodes of a program run in one dispatch: a pure function of the graph.
#ifndef TN_BACKEND_FUSE_H
#define TN_BACKEND_FUSE_H

#include "backend/backend.h"

typedef enum tn_group_kind {
    TN_GROUP_EMBED,
    TN_GROUP_ROW,     // NORM, NORM_QUANT, QUANT
    TN_GROUP_TERNARY, // up to three matrices over one input; or one and the residual behind it; or gate and up with GLU behind them
    TN_GROUP_DENSE,
    TN_GROUP_ROPE, // RoPE of q, RoPE of k, KV_APPEND: those that are there
    TN_GROUP_ATTENTION,
    TN_GROUP_ELEMENT, // ADD, GLU
    TN_GROUP_COPY,
} tn_group_kind;

// A dispatch, or a kernel, to be. Nodes by their index in the graph, TN_NONE where unused.
typedef struct tn_group {
    tn_group_kind kind;
    uint32_t nodes[3]; // TERNARY: the matrices. ROPE: of q, of k, KV_APPEND. Else: nodes[0]
    uint32_t behind;   // TERNARY: ADD or GLU
    uint32_t row;     // TERNARY: the NORM_QUANT or QUANT over the output that the last workgroup to finish does too. EMBED: the same by any
    uint32_t before;  // TERNARY: the NORM_QUANT or QUANT that makes the input, which nobody else reads
    uint32_t rope[3]; // ATTENTION: of q, of k, KV_APPEND, which its own workgroups do first; all or none
} tn_group;

// Where the quantisation of rows may go that stands beside a product.
typedef enum tn_fuse_rows { TN_FUSE_ROWS_NONE, TN_FUSE_ROWS_BEHIND, TN_FUSE_ROWS_BEFORE } tn_fuse_rows; // tn_group.row, tn_group.before

// What may not be merged away, and which weights one binding reaches.
typedef struct tn_fuse_params {
    const tn_program_desc *desc;
    uint64_t range_bytes; // of one binding; UINT64_MAX: weights of a group may lie anywhere
    tn_fuse_rows rows;
    bool fuses_rope;  // groups may have `rope`
    bool fuses_embed; // embeddings may have `row`, where products may
} tn_fuse_params;

// Writes at most desc->n_nodes groups, in an order in which every input is computed before it is read.  Errors: OUT_OF_MEMORY.
tn_status tn_fuse(const tn_fuse_params *params, tn_group *groups, uint32_t *out_n_groups);

#endif
