// Llama with ternary linear layers: pre-norms only, SiLU gate, RoPE over neighbouring elements, because GGUF files of this architecture
// store the rows of q and k in that order (convert.c does so too). Source: transformers' Llama with BitLinear layers, and GGUF's tensor
// names.
#include "model/decoder.h"

tn_status tn_arch_llama_build(tn_loader *loader)
{
    static const tn_decoder_style style = {.rope_pairs = TN_ROPE_ADJACENT, .sub_norms = false};
    return tn_decoder_build(loader, &style);
}
