// Hyperparameters as the keys of a GGUF file: what hparams.c reads back.
#ifndef TN_MODEL_HPARAMS_WRITE_H
#define TN_MODEL_HPARAMS_WRITE_H

#include "format/gguf_write.h"
#include "model/loader.h"

// Writes the keys of `arch`, without general.* and RoPE's scaling.  Errors: those of the writer.
tn_status tn_hparams_write(tn_gguf_writer *writer, const char *arch, const tn_hparams *hparams);

// A key with the architecture before it, "llama.block_count" for example.
typedef struct tn_arch_key {
    char text[96];
} tn_arch_key;
tn_arch_key tn_arch_key_of(const char *arch, const char *name);

#endif
