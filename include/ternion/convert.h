// Checkpoints of other formats to GGUF files.
#ifndef TERNION_CONVERT_H
#define TERNION_CONVERT_H

#include "ternion/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tn_convert_params {
    uint32_t struct_size;
    const char *input_dir;   // Hugging Face folder: config.json, tokenizer.json, model.safetensors or its shards
    const char *output_path; // GGUF file; written under a temporary name beside it, then renamed
    const char *type;        // "i2_s" (default where NULL), "tq1_0", "tq2_0", "iq1_bn", "iq2_bn": ternary weights
    const char
        *embd; // "f16" (default where NULL), "f32", "bf16", "q8_0", "q6_k", "q5_k", "q4_k", "q5_1", "q5_0", "q4_1", "q4_0": embedding, head
    bool overwrite; // false: an existing output file is an error
    tn_log log;
    tn_progress progress;
} tn_convert_params;
#define TN_CONVERT_PARAMS_INIT TN_PARAMS_INIT(tn_convert_params)

// Converts a checkpoint of a BitNet, or of a Llama with ternary weights: packed U8, or bf16, f16 or f32 master weights. Needs memory little
// above the largest tensor.
// Errors: IO (a full disk too), BAD_FILE, UNSUPPORTED, INVALID_ARGUMENT, OUT_OF_MEMORY, CANCELLED; nothing partial is left behind.
TN_NODISCARD TN_API tn_status tn_convert(const tn_convert_params *params);

#ifdef __cplusplus
}
#endif
#endif
