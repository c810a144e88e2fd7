// What architectures use to turn a file's keys and tensors into a graph, with every shape checked.
#ifndef TN_MODEL_LOADER_H
#define TN_MODEL_LOADER_H

#include "format/gguf.h"
#include "format/ternary.h"
#include "graph/graph.h"

// The hyperparameters that graphs are made from.
typedef struct tn_hparams {
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_ctx, n_vocab;
    float norm_eps, rope_theta;
    double rope_scale; // linear scaling: angles are divided by it
    tn_glu_kind glu;
} tn_hparams;

// A weight's place in the file; read_rows of its source reads it. Its address is stable.
typedef struct tn_model_weight {
    const tn_gguf *gguf;
    const tn_gguf_tensor *tensor; // NULL for the RoPE table
    tn_ternary_tensor ternary;
    float scale;           // what the source's `scales` points to,
    float *row_scales;     // or this, where each row has a scale: owned, [n_rows]
    const double *inverse; // RoPE: inverse frequencies [n_cols/2]
    char name[64];
} tn_model_weight;

// One thread at a time. Lives while the graph is built; what sources point to goes over to the model.
typedef struct tn_loader {
    const tn_gguf *gguf;
    const char *arch; // general.architecture
    const tn_log *log;
    const tn_progress *progress;
    tn_ternary_options ternary; // what the file does not say of its types
    tn_hparams hparams;
    tn_graph *graph;
    tn_model_weight *weights; // [n_weights_max], filled from the start
    uint32_t n_weights, n_weights_max;
    uint8_t *used;   // [tensors of the file]: 1 where the graph uses it
    double *inverse; // [head_dim/2]
} tn_loader;

// A family of models: the graph is data, this makes it.
typedef struct tn_arch {
    const char *name;        // general.architecture
    tn_glu_kind default_glu; // where the file has no <arch>.hidden_activation
    tn_status (*build)(tn_loader *loader);
} tn_arch;
// All that this version builds; NULL where `name` is not among them.
const tn_arch *tn_arch_find(const char *name);
const tn_arch *tn_arch_list(size_t *out_count);
// BitNet: squared ReLU or SiLU, sub-norms before the output and down projections, RoPE in halves, head tied unless output.weight exists.
tn_status tn_arch_bitnet_build(tn_loader *loader);
// Llama with ternary linear layers: SiLU, no sub-norms, RoPE of neighbours, head tied unless output.weight exists.
tn_status tn_arch_llama_build(tn_loader *loader);

// Reads <arch>.* keys into loader->hparams, with every check.  Errors: BAD_FILE, UNSUPPORTED.
tn_status tn_loader_read_hparams(tn_loader *loader, const tn_arch *arch);
// Add a weight to the graph. `name` without ".weight". Errors: BAD_FILE (missing, wrong shape), UNSUPPORTED (type, by name).
tn_status tn_loader_ternary(tn_loader *loader, const char *name, uint32_t n_rows, uint32_t n_cols,
                            uint32_t *out_weight); // with its optional .scale
tn_status tn_loader_dense(tn_loader *loader, const char *name, uint32_t n_rows, uint32_t n_cols, uint32_t *out_weight);
tn_status tn_loader_gains(tn_loader *loader, const char *name, uint32_t n, uint32_t *out_weight);
tn_status tn_loader_rope(tn_loader *loader, uint32_t *out_weight); // honours rope_freqs.weight
bool tn_loader_has(const tn_loader *loader, const char *name);
// UNSUPPORTED, by name, for what makes the file another model than its architecture's plain one: experts, biases, norms of queries and
// keys, windows, scaled residuals and so on. Before the graph is built, so that the reason is not a missing tensor.
tn_status tn_loader_refuse_variants(const tn_loader *loader);
// UNSUPPORTED where the file has a tensor that the graph does not use: the answer would not be the model's.
tn_status tn_loader_check_all_used(const tn_loader *loader);

#endif
