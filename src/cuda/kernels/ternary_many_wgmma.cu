// Ternary matrices times many rows of codes on the tensor cores of sm_90a. A block computes 256 rows of a matrix (with GLU 128 of gate and
// the same 128 of up) times 64 or 128 rows of codes: warp w has the row tiles 2w and 2w + 1 (with GLU gate's tile w and up's), which are a
// quarter of the rows of two products of its warpgroup, so that what a block reads is little against what it multiplies.
//
// Codes are in the order in which products of 32 columns take them (tn_cuda_codes.is_permuted), and lie in shared memory as these want it.
// Weights go through shared memory too, each thread's own, packed, so that they can be on their way for long without any registers; they
// are unpacked in halves of a column block, one while the other is multiplied.
#include "cuda/kernels/quad.cuh"
#include "cuda/kernels/ternary_many.cuh"
#include "cuda/kernels/wgmma.cuh"

namespace
{

enum {
    STAGES = TN_CUDA_WGMMA_STAGES,
    AHEAD = STAGES - 2, // column blocks: of one products are under way still, the one after it warps are at
    WARPS = 8,
    PITCH = 2 * TN_CUDA_TILE_ROWS + 4, // words from one row of codes to the next in a warp's sums
    BATCH = 4,                         // rows of codes that a lane stores at once
};
// Words of a stage, and where in shared memory each kind begins: stages of codes, stages of weights, the codes' scales and their sums.
template <uint32_t n_tokens> struct tn_wide_at {
    static constexpr uint32_t CODES = n_tokens * TN_CUDA_TILE_COLS / 4, WEIGHTS = TN_CUDA_WGMMA_ROWS * TN_CUDA_TILE_COLS / 16;
    static constexpr uint32_t FIRST_WEIGHTS = STAGES * CODES, SCALES = FIRST_WEIGHTS + STAGES * WEIGHTS, SUMS = SCALES + n_tokens;
    static_assert(WARPS * n_tokens * PITCH <= SCALES, "in the end a warp's sums take the place of stages");
    static_assert((SUMS + n_tokens) * 4 == tn_cuda_ternary_wgmma_shared_bytes(n_tokens), "what the launch gives");
};

// The two row tiles of this warp.
TN_FN tn_many_tile tn_wide_tile_of(const tn_many_block &block, uint32_t i)
{
    if (block.is_glu) return {i, block.first_tile + tn_warp()};
    return {block.matrix, block.first_tile + 2 * tn_warp() + i};
}

// What this thread brings to shared memory: unit thread % 8 of rows thread / 8, 32 after it, ..; its own weights of both tiles.
template <uint32_t n_tokens> struct tn_wide_feed {
    const int8_t *codes[n_tokens / 32]; // of column block 0
    const uint8_t *weights[2];
    uint32_t to_codes, to_weights; // in a stage
};
template <uint32_t n_tokens> TN_FN tn_wide_feed<n_tokens> tn_wide_feed_of(const tn_cuda_ternary_params &p, const tn_many_block &block)
{
    const uint32_t unit = tn_thread() % 8, row = tn_thread() / 8;
    tn_wide_feed<n_tokens> feed;
    TN_UNROLL for (uint32_t i = 0; i < n_tokens / 32; i++) feed.codes[i] = tn_many_codes(p, block, row + 32 * i) + unit * 16;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) feed.weights[i] = tn_many_weights(p, tn_wide_tile_of(block, i)) + tn_lane() * 16;
    feed.to_codes = row * (TN_CUDA_TILE_COLS / 4) + tn_wgmma_unit(row, unit) * 4;
    feed.to_weights = tn_wide_at<n_tokens>::FIRST_WEIGHTS + tn_thread() * 4;
    return feed;
}
template <uint32_t n_tokens>
TN_FN void tn_wide_feed_weights(const tn_wide_feed<n_tokens> &feed, uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        tn_async16(shared, feed.to_weights + k % STAGES * tn_wide_at<n_tokens>::WEIGHTS + i * (tn_wide_at<n_tokens>::WEIGHTS / 2),
                   feed.weights[i] + (size_t)k * 512);
    }
}
template <uint32_t n_tokens> TN_FN void tn_wide_feed_codes(const tn_wide_feed<n_tokens> &feed, uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    TN_UNROLL for (uint32_t i = 0; i < n_tokens / 32; i++)
    {
        tn_async16(shared, feed.to_codes + k % STAGES * tn_wide_at<n_tokens>::CODES + i * (32 * TN_CUDA_TILE_COLS / 4),
                   feed.codes[i] + (size_t)k * TN_CUDA_TILE_COLS);
    }
}

// This thread's weights of a column block, and half of them (two products' columns) unpacked.
struct tn_wide_words {
    tn_u4 of[2];
};
template <uint32_t n_tokens> TN_FN tn_wide_words tn_wide_load(uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    const uint32_t at = tn_wide_at<n_tokens>::FIRST_WEIGHTS + k % STAGES * tn_wide_at<n_tokens>::WEIGHTS + tn_thread() * 4;
    return {{tn_shared_load16(shared, at), tn_shared_load16(shared, at + tn_wide_at<n_tokens>::WEIGHTS / 2)}};
}
TN_FN void tn_wide_unpack(const tn_wide_words &words, uint32_t half, uint32_t (&a)[2][2][4])
{
    TN_UNROLL for (uint32_t i = 0; i < 16; i++)
    {
        const tn_u4 &of = words.of[i / 8];
        const uint32_t word = half == 0 ? (i / 4 % 2 == 0 ? of.x : of.y) : (i / 4 % 2 == 0 ? of.z : of.w);
        a[i / 8][i / 4 % 2][i % 4] = (word >> (2 * (i % 4))) & 0x03030303u;
    }
}
template <uint32_t n_tokens> TN_FN void tn_wide_multiply(uint32_t (&a)[2][2][4], uint64_t b, int32_t (&sums)[2][n_tokens / 2])
{
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) tn_wgmma_settle(a[i / 2][i % 2]);
    tn_wgmma_fence();
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) tn_wgmma_us(sums[i % 2], a[i % 2][i / 2], b + 2 * (i / 2));
    tn_wgmma_commit();
}

template <uint32_t n_tokens>
TN_FN void tn_wide_loop(const tn_cuda_ternary_params &p, const tn_wide_feed<n_tokens> &feed, TN_SHARED_ARG(uint32_t, shared),
                        int32_t (&sums)[2][n_tokens / 2])
{
    uint32_t first[2][2][4], second[2][2][4];
    tn_async_wait<AHEAD - 1>();
    tn_wide_words words = tn_wide_load<n_tokens>(0, shared);
    tn_wide_unpack(words, 0, first);
    TN_ROLLED for (uint32_t k = 0; k < p.n_blocks; k++)
    {
        tn_async_wait<AHEAD - 2>(); // for the next one's weights too
        tn_async_fence();
        tn_sync();
        const uint64_t b = tn_wgmma_b(shared, k % STAGES * tn_wide_at<n_tokens>::CODES);
        tn_wide_multiply<n_tokens>(first, b, sums);
        if (k + AHEAD < p.n_blocks) { // over what was multiplied before the barrier
            tn_wide_feed_weights(feed, k + AHEAD, shared);
            tn_wide_feed_codes(feed, k + AHEAD, shared);
        }
        tn_async_commit();
        tn_wgmma_wait<1>();
        tn_wide_unpack(words, 1, second);
        tn_wide_multiply<n_tokens>(second, b + 4, sums);
        tn_wgmma_wait<1>();
        words = tn_wide_load<n_tokens>(k + 1 < p.n_blocks ? k + 1 : k, shared);
        tn_wide_unpack(words, 0, first);
    }
    tn_wgmma_wait<0>();
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) tn_wgmma_settle(sums[i]);
}

// A warp's sums in shared memory: [row of codes][PITCH], of the warp's 32 rows, at which words of all lanes lie in banks of their own.
template <uint32_t n_tokens> TN_FN void tn_wide_lay(const int32_t (&sums)[2][n_tokens / 2], TN_SHARED_ARG(uint32_t, shared))
{
    const uint32_t at = (tn_warp() * n_tokens + tn_lane() % 4 * 2) * PITCH + tn_lane() / 4;
    TN_UNROLL for (uint32_t i = 0; i < n_tokens; i++)
    {
        const uint32_t tile = i / (n_tokens / 2), j = i % (n_tokens / 2);
        shared[at + (j / 4 * 8 + j % 2) * PITCH + tile * TN_CUDA_TILE_ROWS + j / 2 % 2 * 8] = (uint32_t)sums[tile][j];
    }
    tn_sync_warp();
}

// What a lane stores: four rows of the matrix, from `n` on, of every `step`th row of codes from `token` on.
struct tn_wide_lane {
    uint32_t n, token, step;
    uint32_t sums_at; // of the first row of codes
    bool is_idle;     // the matrix has no such rows
};
TN_FN tn_wide_lane tn_wide_lane_of(const tn_many_block &block, const tn_cuda_matrix &first, uint32_t n_tokens)
{
    const uint32_t n_quads = block.is_glu ? 4 : 8, quad = tn_lane() % n_quads, token = tn_lane() / n_quads;
    const uint32_t n = tn_wide_tile_of(block, 0).tile * TN_CUDA_TILE_ROWS + quad * 4;
    return {n, token, 32 / n_quads, (tn_warp() * n_tokens + token) * PITCH + quad * 4, n >= first.n_rows};
}
TN_FN void tn_wide_weight_scales(const tn_cuda_matrix &matrix, uint32_t n, float (&scales)[4])
{
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) scales[i] = n + i < matrix.n_rows ? tn_ternary_weight_scale(matrix, n + i) : 0.0f;
}
TN_FN void tn_wide_residuals(const tn_cuda_ternary_params &p, const tn_many_block &block, const tn_wide_lane &lane, uint32_t token,
                             const float *add, float (&v)[BATCH][4])
{
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        const uint32_t row = token + i * lane.step;
        TN_UNROLL for (uint32_t j = 0; j < 4; j++) v[i][j] = 0.0f;
        if (add && row < block.n_rows)
            tn_load_quad(add + (size_t)row * p.add.stride, p.add.stride, lane.n, p.matrices[block.matrix].n_rows, v[i]);
    }
}

template <uint32_t n_tokens>
TN_FN tn_ternary_row tn_wide_row_of(const tn_many_block &block, uint32_t token, float *y, uint32_t y_stride, const float *add,
                                    TN_SHARED_ARG(uint32_t, shared))
{
    return {block.first_row + token, tn_float(shared[tn_wide_at<n_tokens>::SCALES + token]),
            (int32_t)shared[tn_wide_at<n_tokens>::SUMS + token], y + (size_t)token * y_stride, add};
}

template <uint32_t n_tokens>
TN_FN void tn_wide_store(const tn_cuda_ternary_params &p, const tn_many_block &block, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_cuda_matrix &matrix = p.matrices[block.matrix];
    const tn_wide_lane lane = tn_wide_lane_of(block, matrix, n_tokens);
    if (lane.is_idle) return;
    float *y = tn_y_row(p.step, matrix.y, block.first_row), scales[4], next[BATCH][4];
    const float *add = p.behind == TN_CUDA_BEHIND_ADD ? tn_x_row(p.step, p.add, block.first_row) : nullptr;
    tn_wide_weight_scales(matrix, lane.n, scales);
    tn_wide_residuals(p, block, lane, lane.token, add, next);
    TN_ROLLED for (uint32_t first = lane.token; first < block.n_rows; first += BATCH * lane.step)
    {
        float residuals[BATCH][4];
        TN_UNROLL for (uint32_t i = 0; i < BATCH * 4; i++) residuals[i / 4][i % 4] = next[i / 4][i % 4];
        tn_wide_residuals(p, block, lane, first + BATCH * lane.step, add, next); // before the stores, which loads might have to wait for
        TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
        {
            const uint32_t token = first + i * lane.step;
            if (token >= block.n_rows) continue;
            const tn_ternary_row to = tn_wide_row_of<n_tokens>(block, token, y, matrix.y.stride, add, shared);
            const tn_u4 sums = tn_shared_load16(shared, lane.sums_at + (token - lane.token) * PITCH);
            const uint32_t accs[4] = {sums.x, sums.y, sums.z, sums.w};
            float v[4];
            TN_UNROLL for (uint32_t j = 0; j < 4; j++) v[j] =
                tn_ternary_finish(p, matrix, to, scales[j], (int32_t)accs[j], residuals[i][j]);
            tn_store_quad(to.y, matrix.y.stride, lane.n, matrix.n_rows, v);
        }
    }
}

template <uint32_t n_tokens>
TN_FN void tn_wide_store_glu(const tn_cuda_ternary_params &p, const tn_many_block &block, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_cuda_matrix &gate = p.matrices[0];
    const tn_wide_lane lane = tn_wide_lane_of(block, gate, n_tokens);
    if (lane.is_idle) return;
    float *y = tn_y_row(p.step, gate.y, block.first_row), scales[2][4];
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) tn_wide_weight_scales(p.matrices[i], lane.n, scales[i]);
    TN_ROLLED for (uint32_t token = lane.token; token < block.n_rows; token += lane.step)
    {
        const tn_ternary_row to = tn_wide_row_of<n_tokens>(block, token, y, gate.y.stride, nullptr, shared);
        const uint32_t at = lane.sums_at + (token - lane.token) * PITCH;
        const tn_u4 sums[2] = {tn_shared_load16(shared, at), tn_shared_load16(shared, at + TN_CUDA_TILE_ROWS)};
        const uint32_t accs[4][2] = {{sums[0].x, sums[1].x}, {sums[0].y, sums[1].y}, {sums[0].z, sums[1].z}, {sums[0].w, sums[1].w}};
        float v[4];
        TN_UNROLL for (uint32_t j = 0; j < 4; j++)
        {
            const float w_scales[2] = {scales[0][j], scales[1][j]};
            const int32_t both[2] = {(int32_t)accs[j][0], (int32_t)accs[j][1]};
            v[j] = tn_ternary_finish_glu(p, to, w_scales, both);
        }
        tn_store_quad(to.y, gate.y.stride, lane.n, gate.n_rows, v);
    }
}

template <uint32_t n_tokens> TN_FN void tn_wide_product(const tn_cuda_ternary_params &p, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_many_block block = tn_many_block_of<TN_CUDA_WGMMA_ROWS, n_tokens>(p);
    if (block.n_rows == 0) {
        tn_wait_previous();
        return;
    }
    const tn_wide_feed<n_tokens> feed = tn_wide_feed_of<n_tokens>(p, block);
    TN_UNROLL for (uint32_t k = 0; k < AHEAD; k++)
    {
        if (k < p.n_blocks) tn_wide_feed_weights(feed, k, shared);
    }
    tn_wait_previous();
    TN_UNROLL for (uint32_t k = 0; k < AHEAD; k++)
    {
        if (k < p.n_blocks) tn_wide_feed_codes(feed, k, shared);
        tn_async_commit();
    }
    if (tn_thread() < n_tokens) {
        const uint32_t row = block.first_row + (tn_thread() < block.n_rows ? tn_thread() : 0);
        shared[tn_wide_at<n_tokens>::SCALES + tn_thread()] = tn_bits(p.codes.scales[row]);
        shared[tn_wide_at<n_tokens>::SUMS + tn_thread()] = (uint32_t)p.codes.sums[row];
    }
    int32_t sums[2][n_tokens / 2] = {};
    tn_wide_loop<n_tokens>(p, feed, shared, sums);
    tn_sync(); // products of other warps are done with the stages
    tn_wide_lay<n_tokens>(sums, shared);
    if (block.is_glu)
        tn_wide_store_glu<n_tokens>(p, block, shared);
    else
        tn_wide_store<n_tokens>(p, block, shared);
}

} // namespace

TN_KERNEL_EARLY(ternary_many_wgmma_64, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED_DYNAMIC_AT(uint32_t, shared, 1024);
    tn_wide_product<64>(p, shared);
}
TN_KERNEL_EARLY(ternary_many_wgmma_128, tn_cuda_ternary_params, 256, 1)
{
    TN_SHARED_DYNAMIC_AT(uint32_t, shared, 1024);
    tn_wide_product<128>(p, shared);
}
