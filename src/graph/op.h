// The closed list of ops, and the graph as data: values, weights, nodes. No devices in here.
#ifndef TN_GRAPH_OP_H
#define TN_GRAPH_OP_H

#include "base/status.h"
#include "format/dtype.h"

// What each op computes is docs/design/0001-numerics.md; src/ref has one function for each.
typedef enum tn_op {
    TN_OP_EMBED,          // tokens of the step -> x f32; weight: the embedding
    TN_OP_NORM_QUANT,     // f32 -> q8; weight: gains [1, n]
    TN_OP_QUANT,          // f32 -> q8
    TN_OP_NORM,           // f32 -> f32; weight: gains
    TN_OP_MATMUL_TERNARY, // q8 [K] -> f32 [N]; weight: ternary [N, K]
    TN_OP_MATMUL_DENSE,   // f32 [K] -> f32 [N]; weight: dense [N, K]
    TN_OP_ROPE,           // f32 -> f32; weight: table [n_ctx, head_dim], cos then sin of every pair
    TN_OP_KV_APPEND,      // k, v f32 -> the layer's KV cache at the token's position
    TN_OP_ATTENTION,      // q f32 -> f32, over the layer's KV cache
    TN_OP_GLU,            // gate, up -> f32
    TN_OP_ADD,            // f32 + f32
    TN_OP_COPY,           // the rows whose logits are wanted
    TN_OP_COUNT_,
} tn_op;

typedef enum tn_value_type { TN_VALUE_F32, TN_VALUE_Q8 } tn_value_type; // Q8: int8 codes with a f32 scale and an int32 sum a row
typedef enum tn_rows { TN_ROWS_TOKENS, TN_ROWS_LOGITS } tn_rows;        // how many rows: every token of the step, or the wanted ones

typedef struct tn_value {
    tn_value_type type;
    tn_rows rows;
    uint32_t width; // elements a row
} tn_value;

typedef enum tn_weight_kind {
    TN_WEIGHT_TERNARY, // matrix of -1, 0, +1 with scales
    TN_WEIGHT_DENSE,   // matrix or gains in a dense dtype; packing applies FL
    TN_WEIGHT_TABLE,   // f32, taken as it is (RoPE)
} tn_weight_kind;

// Whether a device keeps a copy of low precision beside a matrix, to find out which of its products with a row can be among the largest
// (tn_step_view.n_top). AUTO: and uses it only where it pays.
typedef enum tn_screening { TN_SCREENING_NONE, TN_SCREENING_AUTO, TN_SCREENING_ALWAYS } tn_screening;

typedef enum tn_scale_kind { TN_SCALE_TENSOR, TN_SCALE_ROW } tn_scale_kind;

// A weight in canonical form, whatever its file type: what weight_pack reads. Borrows from the model.
typedef struct tn_weight_source {
    const char *name; // "blk.3.ffn_up.weight"
    tn_weight_kind kind;
    tn_dtype dtype; // DENSE: of the rows as read; TABLE: F32; TERNARY: NONE
    uint32_t n_rows, n_cols;
    tn_scale_kind scale_kind;
    const float *scales; // TERNARY: 1 or n_rows, FL applied, >= 0; else NULL
    // Writes rows [row, row + n): TERNARY int8 -1/0/+1 [n][n_cols], else n rows of dtype.   Threads: any.
    // Errors: BAD_FILE (an invalid code), IO (the file was cut short).
    tn_status (*read_rows)(const struct tn_weight_source *self, uint32_t row, uint32_t n, void *dst);
    const void *ctx;
    // Ternary elements of all weights of the model, 0 where unknown: whether they stay in a cache decides how they are packed best.
    uint64_t n_model_ternary;
    // Rows [row, row + n) are not needed for now: what lies only in the page cache may leave this process's memory, and comes back when it
    // is read again. NULL: nothing to do.   Threads: any, also while others read the same rows.
    void (*release_rows)(const struct tn_weight_source *self, uint32_t row, uint32_t n);
    tn_screening screening; // DENSE; a device that has no such copies ignores it
} tn_weight_source;

typedef enum tn_rope_pairs { TN_ROPE_HALVES, TN_ROPE_ADJACENT } tn_rope_pairs; // (i, i + d/2) or (2i, 2i + 1)
typedef enum tn_glu_kind { TN_GLU_RELU2, TN_GLU_SILU } tn_glu_kind;

#define TN_NONE        UINT32_MAX
#define TN_LAYER_EMBED (-1)
#define TN_LAYER_HEAD  INT32_MAX

typedef struct tn_node {
    tn_op op;
    int32_t layer;     // TN_LAYER_EMBED, 0.., TN_LAYER_HEAD: the unit of placement; nodes are in ascending order of it
    uint32_t in[2];    // values, TN_NONE where unused
    uint32_t out;      // value, TN_NONE for KV_APPEND
    uint32_t weight;   // index, TN_NONE where unused
    const char *trace; // suffix of the op's name in traces ("q" in "L3.q"), NULL: not traced. Static text
    union {
        struct {
            float eps;
        } norm;
        struct {
            uint32_t n_heads, head_dim;
            tn_rope_pairs pairs;
        } rope;
        struct {
            uint32_t n_heads, n_kv_heads, head_dim;
        } attention; // KV_APPEND too
        struct {
            tn_glu_kind kind;
        } glu;
    } p;
} tn_node;

typedef struct tn_graph {
    uint32_t n_values, n_nodes, n_weights, n_layers;
    tn_value *values;
    tn_node *nodes;
    tn_weight_source *weights;                                // owned array; what the entries point to belongs to the model
    uint32_t n_vocab, n_ctx;                                  // n_ctx: rows of the RoPE table
    uint32_t n_kv_heads, head_dim;                            // the same in every layer
    size_t values_capacity, nodes_capacity, weights_capacity; // private to graph.c
} tn_graph;

// The unit of placement that a node belongs to: the embedding, 1 + i for layer i, or 1 + n_layers for the head.
static inline uint32_t tn_node_unit(const tn_graph *graph, const tn_node *node)
{
    return node->layer == TN_LAYER_HEAD ? graph->n_layers + 1 : (uint32_t)(node->layer + 1);
}

#define TN_KV_PAGE_POSITIONS 128u
// Bytes of KV cache for one page of one layer: int16 codes and f32 scales for K and V. How a backend orders them is its own affair.
static inline uint64_t tn_kv_page_layer_bytes(uint32_t n_kv_heads, uint32_t head_dim)
{
    return (uint64_t)n_kv_heads * TN_KV_PAGE_POSITIONS * (4u * (uint64_t)head_dim + 8u);
}

const char *tn_op_name(tn_op op); // "matmul_ternary"
// Writes the traced name of a node ("L3.q", "embed", "logits"); "" where it is not traced. At most 32 bytes.
void tn_node_trace_name(const tn_node *node, char name[32]);

#endif
