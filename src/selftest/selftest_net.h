// What the self-test computes: a small model as data, and the same by src/ref.
#ifndef TN_SELFTEST_SELFTEST_NET_H
#define TN_SELFTEST_SELFTEST_NET_H

#include "graph/op.h"

// Shapes: rows that end inside a chunk, a row group, a block and a unit.
enum {
    TN_SELFTEST_TOKENS = 70, // of usual steps at most: more than any list for a few takes
    TN_SELFTEST_MANY = 20,
    TN_SELFTEST_FEW = 5,
    TN_SELFTEST_WIDE = 128, // of any step
    TN_SELFTEST_SEQS = 2,
    TN_SELFTEST_SEQ_PAGES = 2,
    TN_SELFTEST_PAGES = 5, // of the KV cache
    TN_SELFTEST_POSITIONS = TN_SELFTEST_SEQ_PAGES * 128,
    TN_SELFTEST_LAYERS = 2,
    TN_SELFTEST_HEADS = 4,
    TN_SELFTEST_KV_HEADS = 2,
    TN_SELFTEST_HEAD_DIM = 32,
    TN_SELFTEST_HEAD_PARTS = 2, // of other sizes of heads, each a layer behind the model's
    TN_SELFTEST_HEAD_DIM_MAX = 256,
    TN_SELFTEST_VOCAB = 21,
    TN_SELFTEST_VALUES = 80, // room for
    TN_SELFTEST_NODES = 80,
    TN_SELFTEST_WEIGHTS = 64,
};

// A run of nodes as one program has it.
typedef struct tn_selftest_part {
    uint32_t first_node, n_nodes, in_value, out_value;
    uint32_t first_layer, n_layers, n_kv_heads, head_dim;
} tn_selftest_part;

// Rows of a value: f32, or codes with a scale and a sum a row.
typedef struct tn_selftest_rows {
    float *f32;
    int8_t *codes;
    float scales[TN_SELFTEST_WIDE];
    int32_t sums[TN_SELFTEST_WIDE];
} tn_selftest_rows;

// The keys and values of one KV head in one layer, a head's dims a position.
typedef struct tn_selftest_kv {
    int16_t *k[TN_SELFTEST_SEQS], *v[TN_SELFTEST_SEQS];
    float k_scale[TN_SELFTEST_SEQS][TN_SELFTEST_POSITIONS], v_scale[TN_SELFTEST_SEQS][TN_SELFTEST_POSITIONS];
} tn_selftest_kv;

typedef struct tn_selftest_net {
    tn_graph graph; // of the arrays that follow
    tn_value values[TN_SELFTEST_VALUES];
    tn_node nodes[TN_SELFTEST_NODES];
    tn_weight_source weights[TN_SELFTEST_WEIGHTS];
    bool is_tapped[TN_SELFTEST_VALUES];
    tn_selftest_part singles;                       // each op for itself, from tokens
    tn_selftest_part layers[TN_SELFTEST_LAYERS];    // the first layers of a model, which are fused: one, two
    tn_selftest_part heads[TN_SELFTEST_HEAD_PARTS]; // attention with RoPE and append over heads of other sizes, from tokens
    uint64_t random;
    uint8_t *memory; // owned: of weights, rows, keys and values
    size_t used;

    // By the reference, of the last step.
    tn_selftest_rows rows[TN_SELFTEST_VALUES];
    uint32_t poison[TN_SELFTEST_WIDE];
    tn_selftest_kv kv[TN_SELFTEST_LAYERS + TN_SELFTEST_HEAD_PARTS][TN_SELFTEST_KV_HEADS]; // zero at first, as the device's cache is
} tn_selftest_net;

// The tokens of a step.
typedef struct tn_selftest_step {
    uint32_t n_tokens, n_logits;
    uint32_t tokens[TN_SELFTEST_WIDE], positions[TN_SELFTEST_WIDE], seqs[TN_SELFTEST_WIDE], logit_rows[TN_SELFTEST_WIDE];
} tn_selftest_step;

// The same net on every machine.  Errors: OUT_OF_MEMORY.
tn_status tn_selftest_net_create(tn_selftest_net **out_net);
void tn_selftest_net_destroy(tn_selftest_net *net);          // NULL is fine
float tn_selftest_random(tn_selftest_net *net, float range); // uniform in (-range, range)
uint32_t tn_selftest_n_rows(const tn_selftest_net *net, uint32_t value, const tn_selftest_step *step);
// Runs a part by src/ref: `rows` of all its values, from those of its input, and `poison`.
void tn_selftest_reference(tn_selftest_net *net, const tn_selftest_part *part, const tn_selftest_step *step);

#endif
