// The copies of pages that a step begins with.
#include "cuda/kernels/gpu.cuh"

enum { TN_COPY_UNITS = 4 }; // of 16 bytes, that a thread has under way

TN_KERNEL(copy_pages, tn_cuda_pages_params, 256)
{
    const uint32_t part = TN_CUDA_PAGE_PART;
    const uint64_t begin = (uint64_t)tn_block_x() * part;
    if (begin >= p.page_bytes) return;
    const uint32_t n = p.page_bytes - begin < part ? (uint32_t)(p.page_bytes - begin) : part;
    const uint32_t n_copies = p.step.words[3];
    uint8_t *layer = p.kv + tn_block_y() * p.layer_bytes + begin;
    for (uint32_t copy = 0; copy < n_copies; copy++) {
        // No page is both the source of a copy and the target of another, so that any order will do.
        const uint8_t *from = layer + p.step.words[p.step.copies + 2 * copy] * p.page_bytes;
        uint8_t *to = layer + p.step.words[p.step.copies + 2 * copy + 1] * p.page_bytes;
        const uint32_t stride = 16 * tn_n_threads();
        for (uint32_t at = 16 * tn_thread(); at < n; at += TN_COPY_UNITS * stride) {
            tn_u4 units[TN_COPY_UNITS] = {};
            TN_UNROLL
            for (uint32_t j = 0; j < TN_COPY_UNITS; j++) {
                if (at + j * stride < n) units[j] = tn_load16(from + at + j * stride);
            }
            TN_UNROLL
            for (uint32_t j = 0; j < TN_COPY_UNITS; j++) {
                if (at + j * stride < n) tn_store16(to + at + j * stride, units[j]);
            }
        }
    }
}
