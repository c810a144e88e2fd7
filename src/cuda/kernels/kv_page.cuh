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

// A unit of keys or values to a shared array, in the background: 16 bytes, n_words of whose 4 words there are, the others 0. Rows begin at
// multiples of 16 bytes only where heads are whole units.
template <class T> TN_FN void tn_load_unit(TN_SHARED_ARG(T, to), uint32_t at, const int16_t *from, uint32_t n_words)
{
    if (n_words >= 4 && ((uintptr_t)from & 15) == 0) {
        tn_async16(to, at, from);
        return;
    }
    const uint32_t *words = reinterpret_cast<const uint32_t *>(from);
    const tn_u4 unit = {words[0], n_words > 1 ? words[1] : 0, n_words > 2 ? words[2] : 0, n_words > 3 ? words[3] : 0};
    tn_shared_store16(to, at, unit);
}

#endif
