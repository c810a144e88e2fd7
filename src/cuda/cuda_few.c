#include "cuda/cuda_few.h"

#include "cuda/cuda_cut.h"
#include "cuda/kernels/kernel_params.h"

enum {
    AHEAD_LEAST = 3,                 // column blocks of a warp that are under way, or all it has: the kernel counts on it
    AHEAD_MOST = 12,                 // as many as a warp of the largest products of a small model has
    SHARED_BYTES_WANTED = 110 << 10, // so that two blocks fit a multiprocessor
};

// Rows of codes of the smallest kernel for n_tokens.
static uint32_t capacity_of(uint32_t n_tokens)
{
    uint32_t n = 8;
    while (n < n_tokens) n *= 2;
    return n;
}
static tn_cuda_kernel kernel_of(uint32_t capacity)
{
    return capacity == 8    ? TN_CUDA_ternary_few8_mma
           : capacity == 16 ? TN_CUDA_ternary_few16_mma
           : capacity == 32 ? TN_CUDA_ternary_few32_mma
                            : TN_CUDA_ternary_few64_mma;
}

bool tn_cuda_has_few_mma(const tn_cuda_device *device, uint32_t n_tokens)
{
    return device->traits.has_mma && n_tokens <= TN_CUDA_FEW_TOKENS_MMA &&
           tn_cuda_has_shared(device, tn_cuda_ternary_few_shared_bytes(capacity_of(n_tokens), 0, AHEAD_LEAST));
}

// The most weights ahead that fit; 0: not even the fewest do.
static uint32_t ahead_of(const tn_cuda_device *device, uint32_t capacity, uint32_t log2_split, uint32_t n_steps)
{
    const uint32_t least = tn_cuda_at_most(n_steps, AHEAD_LEAST);
    for (uint32_t n = tn_cuda_at_most(n_steps, AHEAD_MOST); n >= least; n--) {
        const uint32_t n_bytes = tn_cuda_ternary_few_shared_bytes(capacity, log2_split, n);
        if (tn_cuda_has_shared(device, n_bytes) && (n_bytes <= SHARED_BYTES_WANTED || n == least)) return n;
    }
    return 0;
}

// Clocks, about: products of the busiest multiprocessor, by what Hopper's mma takes (13 for a token and a column block of 8 warps) and
// unpacking (150), and what all blocks read of codes, and store and read of partial sums, at 28 bytes a clock and multiprocessor from L2.
static uint64_t cost_of(const tn_cuda_few_shape *shape, uint32_t n_sms, uint32_t capacity, uint32_t log2_split, uint32_t n_parts)
{
    const uint64_t n_each = tn_cuda_ceil_div(shape->n_blocks, n_parts), n_steps = (n_each + (1u << log2_split) - 1) >> log2_split;
    const uint64_t n_all = (uint64_t)tn_cuda_ternary_few_blocks(shape->n_groups, log2_split) * n_parts;
    const uint64_t n_code_bytes = n_all * n_each * TN_CUDA_TILE_COLS * capacity;
    const uint64_t n_part_bytes = (uint64_t)2 * n_parts * capacity * shape->n_rows * 4;
    return (n_all + n_sms - 1) / n_sms * n_steps * (13 * capacity + 150) + (n_code_bytes + n_part_bytes) / (28 * n_sms) + 100 * n_parts;
}

tn_cuda_few_plan tn_cuda_plan_few(const tn_cuda_device *device, const tn_cuda_few_shape *shape)
{
    const uint32_t capacity = capacity_of(shape->n_tokens), parts_most = shape->is_joined ? TN_CUDA_FEW_PARTS_MAX : 1;
    tn_cuda_few_plan best = {.kernel = kernel_of(capacity)};
    uint64_t best_cost = UINT64_MAX;
    for (uint32_t n_parts = 1; n_parts <= tn_cuda_at_most(parts_most, shape->n_blocks); n_parts++) {
        const uint32_t n_each = tn_cuda_ceil_div(shape->n_blocks, n_parts);
        if (tn_cuda_ceil_div(shape->n_blocks, n_each) != n_parts) continue; // the last part would be empty
        for (uint32_t s = 0; s <= 3; s++) {
            const uint32_t n_ahead = ahead_of(device, capacity, s, tn_cuda_ceil_div(n_each, 1u << s));
            const uint64_t cost = cost_of(shape, device->traits.n_sms, capacity, s, n_parts);
            if (n_ahead == 0 || cost >= best_cost) continue;
            best_cost = cost;
            best.log2_split = s;
            best.n_parts = n_parts;
            best.n_ahead = n_ahead;
        }
    }
    best.shared_bytes = tn_cuda_ternary_few_shared_bytes(capacity, best.log2_split, best.n_ahead);
    if (shape->is_joined) best.partials_bytes = (uint64_t)shape->n_tokens * best.n_parts * tn_cuda_ternary_part_words(shape->n_rows) * 4;
    return best;
}
