// Where keys and values lie in the pages of a layer (tn_cuda_kv): pages hold the chunks of 128 positions that attention works on.
#ifndef TN_CUDA_KV_PAGE_CUH
#define TN_CUDA_KV_PAGE_CUH

#include "cuda/kernels/gpu.cuh"

enum { TN_KV_CHUNK = 128 };

// A KV head's part of a page.
struct tn_kv_head {
    int16_t *keys;            // [128][head_dim]
    int16_t *values;          // [64][head_dim][2]
    float *k_scale, *v_scale; // [128]
};

TN_FN tn_kv_head tn_kv_head_of(const tn_cuda_kv &kv, uint32_t page, uint32_t kv_head, uint32_t head_dim)
{
    const size_t codes_bytes = (size_t)head_dim * TN_KV_CHUNK * sizeof(int16_t), scales_bytes = TN_KV_CHUNK * sizeof(float);
    uint8_t *at = kv.at + page * kv.page_bytes + kv_head * 2 * (codes_bytes + scales_bytes);
    tn_kv_head head;
    head.keys = reinterpret_cast<int16_t *>(at);
    head.values = reinterpret_cast<int16_t *>(at + codes_bytes);
    head.k_scale = reinterpret_cast<float *>(at + 2 * codes_bytes);
    head.v_scale = head.k_scale + TN_KV_CHUNK;
    return head;
}
// Element of the values: dim d of a position.
TN_FN size_t tn_kv_value_at(uint32_t position, uint32_t d, uint32_t head_dim)
{
    return ((size_t)(position / 2) * head_dim + d) * 2 + position % 2;
}

// The page with a chunk of a sequence.
TN_FN uint32_t tn_kv_page(const tn_cuda_step &step, uint32_t seq, uint32_t chunk)
{
    return step.words[step.page_table + seq * step.n_seq_pages + chunk];
}

#endif
