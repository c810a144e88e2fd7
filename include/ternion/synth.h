// Random models of real shapes: to measure speed and memory without a download.
#ifndef TERNION_SYNTH_H
#define TERNION_SYNTH_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tn_synth_head {
    TN_SYNTH_HEAD_OF_SHAPE = 0, // as the named shape has it; custom shapes: tied
    TN_SYNTH_HEAD_TIED = 1,     // the embedding is the output head
    TN_SYNTH_HEAD_OWN = 2,      // a matrix of its own
} tn_synth_head;

// Sizes of 0 are those of the named shape. A custom shape needs n_layers, n_embd, n_ff and n_heads; of the rest, n_kv_heads is n_heads,
// head_dim n_embd / n_heads, n_vocab 32000 and n_ctx 4096 where 0.
typedef struct tn_synth_params {
    uint32_t struct_size;
    const char *shape;       // "2b-4t", "large" (or "0.7b"), "3b", "llama3-8b", "falcon3-1b", -3b, -7b, -10b, "100b" or "custom"
    const char *output_path; // GGUF file; written under a temporary name beside it, then renamed
    const char *type;        // ternary weights, by the type's name; NULL: "i2_s"
    const char *embd;        // embedding and head, by the type's name; NULL: "f16"
    const char *arch;        // "bitnet-b1.58", "bitnet" or "llama"; NULL: the shape's, custom: "bitnet-b1.58"
    uint64_t seed;           // the same seed, sizes and types give the same bytes on every machine
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx;
    tn_synth_head head;
    bool overwrite; // false: an existing output file is an error
    tn_log log;
    tn_progress progress;
} tn_synth_params;
#define TN_SYNTH_PARAMS_INIT TN_PARAMS_INIT(tn_synth_params)

// Writes a random model that loads, tokenizes and runs; activations stay in a trained model's range at any depth, and about half of the
// squared-ReLU gates are zero. The tokenizer is made up too. Memory: the vocabulary, and about
// 1 KiB for each value of every row length that tensors have (24 MiB for rows of 23 040).   Threads: any.
// Errors: UNSUPPORTED (a type that the shape does not allow: the message says which do), INVALID_ARGUMENT (shape, type or size), IO (a
// full disk too), OUT_OF_MEMORY, CANCELLED; nothing partial is left behind.
TN_NODISCARD TN_API tn_status tn_synth(const tn_synth_params *params);
// Name of shape `index`; NULL past the last.   Threads: any.
TN_API const char *tn_synth_shape_name(size_t index);

#ifdef __cplusplus
}
#endif
#endif
