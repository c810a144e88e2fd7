// What the self-test computes: a small model as data, and the same by src/ref.
#ifndef TN_VULKAN_VK_SELFTEST_NET_H
#define TN_VULKAN_VK_SELFTEST_NET_H

#include "graph/op.h"

// Shapes: rows that end inside a chunk, a row group, a block and a unit.
enum {
    TN_VK_TEST_TOKENS = 20, // of a step at most: more than the lists for a few take
    TN_VK_TEST_FEW = 5,
    TN_VK_TEST_SEQS = 2,
    TN_VK_TEST_SEQ_PAGES = 2,
    TN_VK_TEST_PAGES = 5, // of the KV cache
    TN_VK_TEST_POSITIONS = TN_VK_TEST_SEQ_PAGES * 128,
    TN_VK_TEST_LAYERS = 2,
    TN_VK_TEST_HEADS = 4,
    TN_VK_TEST_KV_HEADS = 2,
    TN_VK_TEST_HEAD_DIM = 32,
    TN_VK_TEST_VOCAB = 21,
    TN_VK_TEST_VALUES = 64, // room for
    TN_VK_TEST_NODES = 64,
    TN_VK_TEST_WEIGHTS = 48,
};

// A run of nodes as one program has it.
typedef struct tn_vk_test_part {
    uint32_t first_node, n_nodes, in_value, out_value, n_layers;
} tn_vk_test_part;

// Rows of a value: f32, or codes with a scale and a sum a row.
typedef struct tn_vk_test_rows {
    float *f32;
    int8_t *codes;
    float scales[TN_VK_TEST_TOKENS];
    int32_t sums[TN_VK_TEST_TOKENS];
} tn_vk_test_rows;

// The keys and values of one KV head in one layer.
typedef struct tn_vk_test_kv {
    int16_t k[TN_VK_TEST_SEQS][TN_VK_TEST_POSITIONS][TN_VK_TEST_HEAD_DIM], v[TN_VK_TEST_SEQS][TN_VK_TEST_POSITIONS][TN_VK_TEST_HEAD_DIM];
    float k_scale[TN_VK_TEST_SEQS][TN_VK_TEST_POSITIONS], v_scale[TN_VK_TEST_SEQS][TN_VK_TEST_POSITIONS];
} tn_vk_test_kv;

typedef struct tn_vk_test_net {
    tn_graph graph; // of the arrays that follow
    tn_value values[TN_VK_TEST_VALUES];
    tn_node nodes[TN_VK_TEST_NODES];
    tn_weight_source weights[TN_VK_TEST_WEIGHTS];
    bool is_tapped[TN_VK_TEST_VALUES];
    tn_vk_test_part singles;                   // each op for itself, from tokens
    tn_vk_test_part layers[TN_VK_TEST_LAYERS]; // the first layers of a model, which are fused: one, two
    uint64_t random;
    uint8_t *memory; // owned: of weights and rows
    size_t used;

    // By the reference, of the last step.
    tn_vk_test_rows rows[TN_VK_TEST_VALUES];
    uint32_t poison[TN_VK_TEST_TOKENS];
    tn_vk_test_kv kv[TN_VK_TEST_LAYERS][TN_VK_TEST_KV_HEADS]; // zero at first, as the device's cache is
} tn_vk_test_net;

// The tokens of a step.
typedef struct tn_vk_test_step {
    uint32_t n_tokens, n_logits;
    uint32_t tokens[TN_VK_TEST_TOKENS], positions[TN_VK_TEST_TOKENS], seqs[TN_VK_TEST_TOKENS], logit_rows[TN_VK_TEST_TOKENS];
} tn_vk_test_step;

// The same net on every machine.  Errors: OUT_OF_MEMORY.
tn_status tn_vk_test_net_create(tn_vk_test_net **out_net);
void tn_vk_test_net_destroy(tn_vk_test_net *net);          // NULL is fine
float tn_vk_test_random(tn_vk_test_net *net, float range); // uniform in (-range, range)
uint32_t tn_vk_test_n_rows(const tn_vk_test_net *net, uint32_t value, const tn_vk_test_step *step);
// Runs a part by src/ref: `rows` of all its values, from those of its input, and `poison`.
void tn_vk_test_reference(tn_vk_test_net *net, const tn_vk_test_part *part, const tn_vk_test_step *step);

#endif
