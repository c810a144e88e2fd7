// Open a model file, read what it is.
#ifndef TERNION_MODEL_H
#define TERNION_MODEL_H

#include "ternion/base.h"
#include "ternion/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

// A model file and the graph made from it. Immutable after open; any thread. Holds the file mapped until closed.
typedef struct tn_model tn_model;

typedef enum tn_model_load {
    TN_MODEL_LOAD_ALL = 0,       // ready for tn_session_create
    TN_MODEL_LOAD_TOKENIZER = 1, // metadata, tensor list and tokenizer: vocabulary-only files too
    TN_MODEL_LOAD_METADATA = 2,  // metadata and tensor list of any GGUF file, also of unsupported models
} tn_model_load;

typedef struct tn_model_params {
    uint32_t struct_size;
    tn_model_load load;
    tn_log log;
    tn_progress progress; // of TN_MODEL_LOAD_ALL: weights looked at
    // Pre-tokenizer to use in place of the one that the file names, "falcon_e" for example; NULL: the file's. INVALID_ARGUMENT, with the
    // known names, where there is none of this name, and where the tokenizer is SentencePiece, which has none.
    const char *pre_tokenizer;
    // What files do not say. Order of the codes in I2_S tensors: "x86" (default where NULL, and that of published files), "arm" (made by a
    // program built for ARM), "rows4" or "seq" (made by unusual builds). A wrong choice gives a model that writes nonsense.
    const char *i2s_layout;
    // Which kernel preset of bitnet.cpp TL1 and TL2 tensors were made with: "bitnet_b1_58-large", "bitnet_b1_58-3B", "Llama3-8B-1.58", or
    // for TL1 also "Llama3-8B-1.58-setup". NULL: files with such tensors are refused.
    const char *tl_preset;
} tn_model_params;
#define TN_MODEL_PARAMS_INIT TN_PARAMS_INIT(tn_model_params)

typedef struct tn_model_info {
    char name[128]; // general.name, else the file's name
    char architecture[32];
    char type[32];       // what most weights are stored as: "I2_S"
    char activation[16]; // "relu2" or "silu"
    uint64_t file_bytes; // over all shards
    uint64_t n_params;   // elements over all tensors
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab;
    uint32_t n_ctx_train; // context length in tokens
    float rope_theta, norm_eps;
    bool head_tied; // the embedding is the output head
} tn_model_info;    // numbers are 0 where the file was opened without its graph

typedef struct tn_tensor_info {
    const char *name; // borrowed from the model
    const char *type; // "I2_S"
    uint32_t n_dims;
    uint64_t dims[4];                  // innermost first, as in the file
    uint64_t offset_bytes, size_bytes; // offset from the start of its file
} tn_tensor_info;

// Opens a GGUF file (for a split model: its first shard).  `params` NULL: defaults.  Returns owned.
// Errors: IO, BAD_FILE, UNSUPPORTED (type or architecture, with the reason), OUT_OF_MEMORY.
TN_NODISCARD TN_API tn_status tn_model_open(const char *path, const tn_model_params *params, tn_model **out_model);
// Sessions on this model must be destroyed before. NULL is fine.
TN_API void tn_model_close(tn_model *model);
TN_API void tn_model_get_info(const tn_model *model, tn_model_info *out_info);
// NULL where the file has no tokenizer or was opened with TN_MODEL_LOAD_METADATA. Borrowed from the model.
TN_API const tn_tokenizer *tn_model_tokenizer(const tn_model *model);

TN_API size_t tn_model_metadata_count(const tn_model *model);
// Key (borrowed), type name ("string", "u32", "[string]") and value as text of metadata entry `index`; long arrays are shortened to
// their first elements, control characters are escaped. Writes at most `capacity` bytes with terminator. Errors: INVALID_ARGUMENT.
TN_NODISCARD TN_API tn_status tn_model_metadata(const tn_model *model, size_t index, const char **out_key, const char **out_type,
                                                char *value, size_t capacity);
TN_API size_t tn_model_tensor_count(const tn_model *model);
TN_NODISCARD TN_API tn_status tn_model_tensor(const tn_model *model, size_t index, tn_tensor_info *out_info);

#ifdef __cplusplus
}
#endif
#endif
