// Writes the keys that hparams.c reads.
#include "model/hparams_write.h"

#include <stdio.h>

tn_arch_key tn_arch_key_of(const char *arch, const char *name)
{
    tn_arch_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", arch, name);
    return key;
}

tn_status tn_hparams_write(tn_gguf_writer *writer, const char *arch, const tn_hparams *h)
{
    const struct {
        const char *name;
        uint32_t value;
    } counts[] = {
        {"vocab_size", h->n_vocab},
        {"context_length", h->n_ctx},
        {"embedding_length", h->n_embd},
        {"block_count", h->n_layers},
        {"feed_forward_length", h->n_ff},
        {"rope.dimension_count", h->head_dim},
        {"attention.head_count", h->n_heads},
        {"attention.head_count_kv", h->n_kv_heads},
        {"attention.key_length", h->head_dim},
        {"attention.value_length", h->head_dim},
    };
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        TN_TRY(tn_gguf_writer_u32(writer, tn_arch_key_of(arch, counts[i].name).text, counts[i].value));
    }
    TN_TRY(tn_gguf_writer_f32(writer, tn_arch_key_of(arch, "attention.layer_norm_rms_epsilon").text, h->norm_eps));
    TN_TRY(tn_gguf_writer_f32(writer, tn_arch_key_of(arch, "rope.freq_base").text, h->rope_theta));
    if (strcmp(arch, "llama") == 0) return TN_OK; // its activation is part of the architecture
    return tn_gguf_writer_str(writer, tn_arch_key_of(arch, "hidden_activation").text, h->glu == TN_GLU_RELU2 ? "relu2" : "silu");
}
