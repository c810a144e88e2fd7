// Which nodes of a program run in one dispatch: a pure function of the graph.
#ifndef TN_VULKAN_VK_FUSE_H
#define TN_VULKAN_VK_FUSE_H

#include "backend/backend.h"

typedef enum tn_vk_group_kind {
    TN_VK_GROUP_EMBED,
    TN_VK_GROUP_ROW,     // NORM, NORM_QUANT, QUANT
    TN_VK_GROUP_TERNARY, // up to three matrices over one input; or one and the residual behind it; or gate and up with GLU behind them
    TN_VK_GROUP_DENSE,
    TN_VK_GROUP_ROPE, // RoPE of q, RoPE of k, KV_APPEND: those that are there
    TN_VK_GROUP_ATTENTION,
    TN_VK_GROUP_ELEMENT, // ADD, GLU
    TN_VK_GROUP_COPY,
} tn_vk_group_kind;

// A dispatch to be. Nodes by their index in the graph, TN_NONE where unused.
typedef struct tn_vk_group {
    tn_vk_group_kind kind;
    uint32_t nodes[3]; // TERNARY: the matrices. ROPE: of q, of k, KV_APPEND. Else: nodes[0]
    uint32_t behind;   // TERNARY: ADD or GLU
    uint32_t row;      // the NORM_QUANT or QUANT over the output that the last workgroup to finish does too; steps of one token alone
} tn_vk_group;

// What may not be merged away, and which weights one binding reaches.
typedef struct tn_vk_fuse_params {
    const tn_program_desc *desc;
    uint64_t range_bytes; // of one binding
    bool fuses_rows;      // groups may have `row`
} tn_vk_fuse_params;

// Writes at most desc->n_nodes groups, in an order in which every input is computed before it is read.  Errors: OUT_OF_MEMORY.
tn_status tn_vk_fuse(const tn_vk_fuse_params *params, tn_vk_group *groups, uint32_t *out_n_groups);

#endif
