// Attention of few tokens, whose queries are turned and whose keys and values are in the cache.
#include "cuda/kernels/attention_split.cuh"

TN_KERNEL_BLOCKS(attention_split, tn_cuda_attention_params, 128, 4) { tn_attention_split<TN_SPLIT_PLAIN>(p); }
