// Attention of many tokens, each by itself: a block walks the chunks of a token and combines them as it goes. A launch whose grid has
// TN_CUDA_ATTENTION_TOKENS blocks in z gives each token of a tile a block.
#include "cuda/kernels/attention_split.cuh"

TN_KERNEL_BLOCKS(attention_tile, tn_cuda_attention_params, 128, 3) { tn_attention_split<TN_SPLIT_WALKS>(p); }
