// Attention of one token with RoPE, quantisation and the append in front. Every block turns the queries for itself; the token's own key and
// value are made by the block of each KV head that has the last chunk, which alone reads that position.
#include "cuda/kernels/attention_split.cuh"

TN_KERNEL_BLOCKS(attention_one, tn_cuda_attention_params, 128, 4) { tn_attention_split<TN_SPLIT_APPENDS>(p); }
