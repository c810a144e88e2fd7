// BitNet b1.58: pre-norms, sub-norms before the output and down projections, squared ReLU or SiLU gate, RoPE in halves.
// Source: the model's published definition (transformers' BitNet) and GGUF's tensor names.
#include "model/decoder.h"

tn_status tn_arch_bitnet_build(tn_loader *loader)
{
    static const tn_decoder_style style = {.rope_pairs = TN_ROPE_HALVES, .sub_norms = true};
    return tn_decoder_build(loader, &style);
}
