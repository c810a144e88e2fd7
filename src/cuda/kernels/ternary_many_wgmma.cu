// Ternary matrices times many rows of codes on the tensor cores of sm_90a. A block computes 256 rows of a matrix (with GLU 128 of gate and
// the same 128 of up) times 64 rows of codes: warp w has the row tiles 2w and 2w + 1 (with GLU gate's tile w and up's), which are a
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
    AHEAD = STAGES - 3, // column blocks: of one products are under way still, at the two after it warps are
    WARPS = 8,
    TOKENS = TN_CUDA_WGMMA_TOKENS,
    PITCH = 2 * TN_CUDA_TILE_ROWS + 4, // words from one row of codes to the next in a warp's sums
    BATCH = 4,                         // rows of codes, side by side, that a lane stores at once
};
// Words of a stage, and where in shared memory each kind begins: stages of codes, stages of weights, scales and sums of the codes, scales
// of the block's rows of weights.
enum {
    CODE_WORDS = TOKENS * TN_CUDA_TILE_COLS / 4,
    WEIGHT_WORDS = TN_CUDA_WGMMA_ROWS * TN_CUDA_TILE_COLS / 16,
    FIRST_WEIGHTS = STAGES * CODE_WORDS,
    X_SCALES = FIRST_WEIGHTS + STAGES * WEIGHT_WORDS,
    X_SUMS = X_SCALES + TOKENS,
    W_SCALES = X_SUMS + TOKENS,
};
static_assert(WARPS * TOKENS * PITCH <= X_SCALES, "in the end a warp's sums take the place of stages");
static_assert((W_SCALES + TN_CUDA_WGMMA_ROWS) * 4 == TN_CUDA_WGMMA_SHARED_BYTES, "what the launch gives");

// The two row tiles of this warp.
TN_FN tn_many_tile tn_wide_tile_of(const tn_many_block &block, uint32_t i)
{
    if (block.is_glu) return {i, block.first_tile + tn_warp()};
    return {block.matrix, block.first_tile + 2 * tn_warp() + i};
}

// What this thread brings to shared memory: unit thread % 8 of rows thread / 8, 32 after it, ..; its own weights of both tiles.
struct tn_wide_feed {
    const int8_t *codes[TOKENS / 32]; // of column block 0
    const uint8_t *weights[2];
    uint32_t to_codes, to_weights; // in a stage
};
TN_FN tn_wide_feed tn_wide_feed_of(const tn_cuda_ternary_params &p, const tn_many_block &block)
{
    const uint32_t unit = tn_thread() % 8, row = tn_thread() / 8;
    tn_wide_feed feed;
    TN_UNROLL for (uint32_t i = 0; i < TOKENS / 32; i++) feed.codes[i] = tn_many_codes(p, block, row + 32 * i) + unit * 16;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) feed.weights[i] = tn_many_weights(p, tn_wide_tile_of(block, i)) + tn_lane() * 16;
    feed.to_codes = row * (TN_CUDA_TILE_COLS / 4) + tn_wgmma_unit(row, unit) * 4;
    feed.to_weights = FIRST_WEIGHTS + tn_thread() * 4;
    return feed;
}
TN_FN void tn_wide_feed_weights(const tn_wide_feed &feed, uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        tn_async16(shared, feed.to_weights + k % STAGES * WEIGHT_WORDS + i * (WEIGHT_WORDS / 2), feed.weights[i] + (size_t)k * 512);
    }
}
TN_FN void tn_wide_feed_codes(const tn_wide_feed &feed, uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    TN_UNROLL for (uint32_t i = 0; i < TOKENS / 32; i++)
    {
        tn_async16(shared, feed.to_codes + k % STAGES * CODE_WORDS + i * (32 * TN_CUDA_TILE_COLS / 4),
                   feed.codes[i] + (size_t)k * TN_CUDA_TILE_COLS);
    }
}

// This thread's weights of a column block, and half of them (two products' columns) unpacked; mask: 0x03 in each byte, or 0 for none.
struct tn_wide_words {
    tn_u4 of[2];
};
TN_FN tn_wide_words tn_wide_load(uint32_t k, TN_SHARED_ARG(uint32_t, shared))
{
    const uint32_t at = FIRST_WEIGHTS + k % STAGES * WEIGHT_WORDS + tn_thread() * 4;
    return {{tn_shared_load16(shared, at), tn_shared_load16(shared, at + WEIGHT_WORDS / 2)}};
}
TN_FN void tn_wide_unpack(const tn_wide_words &words, uint32_t half, uint32_t mask, uint32_t (&a)[2][2][4])
{
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) tn_tile_step(words.of[i / 2], 2 * half + i % 2, mask, a[i / 2][i % 2]);
}
TN_FN void tn_wide_multiply(uint32_t (&a)[2][2][4], uint64_t b, int32_t (&sums)[2][TOKENS / 2])
{
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) tn_wgmma_settle(a[i / 2][i % 2]);
    tn_wgmma_fence();
    TN_UNROLL for (uint32_t i = 0; i < 4; i++) tn_wgmma_us(sums[i % 2], a[i % 2][i / 2], b + 2 * (i / 2));
    tn_wgmma_commit();
}

// Column blocks k and k + 1 are between two barriers, of which there are half as many so. Behind the last one comes one of zeros where
// their number is odd. Copies stand in front of the products: branches between products would have these wait for each other.
TN_FN void tn_wide_loop(const tn_cuda_ternary_params &p, const tn_wide_feed &feed, TN_SHARED_ARG(uint32_t, shared),
                        int32_t (&sums)[2][TOKENS / 2])
{
    const uint32_t n = p.n_blocks, ALL = TN_TILE_MASK;
    uint32_t first[2][2][4], second[2][2][4];
    TN_ROLLED for (uint32_t k = 0; k < n; k += 2)
    {
        tn_async_wait<1>(); // for k + 1
        tn_async_fence();
        tn_wide_words words = tn_wide_load(k, shared);
        tn_wgmma_wait<1>();
        tn_wide_unpack(words, 0, ALL, first);
        tn_sync();
        const uint32_t next = k + 1 < n ? k + 1 : k, mask = k + 1 < n ? ALL : 0;
        const uint64_t b[2] = {tn_wgmma_b(shared, k % STAGES * CODE_WORDS), tn_wgmma_b(shared, next % STAGES * CODE_WORDS)};
        TN_UNROLL for (uint32_t i = AHEAD; i < AHEAD + 2; i++) // over what was multiplied before the barrier
        {
            if (k + i < n) {
                tn_wide_feed_weights(feed, k + i, shared);
                tn_wide_feed_codes(feed, k + i, shared);
            }
            tn_async_commit();
        }
        tn_wide_multiply(first, b[0], sums);
        tn_wgmma_wait<1>();
        tn_wide_unpack(words, 1, ALL, second);
        tn_wide_multiply(second, b[0] + 4, sums);
        words = tn_wide_load(next, shared);
        tn_wgmma_wait<1>();
        tn_wide_unpack(words, 0, mask, first);
        tn_wide_multiply(first, b[1], sums);
        tn_wgmma_wait<1>();
        tn_wide_unpack(words, 1, mask, second);
        tn_wide_multiply(second, b[1] + 4, sums);
    }
    tn_wgmma_wait<0>();
    TN_UNROLL for (uint32_t i = 0; i < 2; i++) tn_wgmma_settle(sums[i]);
}

// A warp's sums in shared memory: [row of codes][PITCH], of the warp's 32 rows, at which words of all lanes lie in banks of their own.
TN_FN void tn_wide_lay(const int32_t (&sums)[2][TOKENS / 2], TN_SHARED_ARG(uint32_t, shared))
{
    const uint32_t at = (tn_warp() * TOKENS + tn_lane() % 4 * 2) * PITCH + tn_lane() / 4;
    TN_UNROLL for (uint32_t i = 0; i < TOKENS; i++)
    {
        const uint32_t tile = i / (TOKENS / 2), j = i % (TOKENS / 2);
        shared[at + (j / 4 * 8 + j % 2) * PITCH + tile * TN_CUDA_TILE_ROWS + j / 2 % 2 * 8] = (uint32_t)sums[tile][j];
    }
    tn_sync_warp();
}

// What a lane stores: four rows of the matrix, from `n` on, of BATCH rows of codes, from `token` on, and again `step` behind them.
struct tn_wide_lane {
    uint32_t n, token, step;
    uint32_t sums_at, scales_at; // of the first row of codes; of the rows of the matrix
};
TN_FN tn_wide_lane tn_wide_lane_of(const tn_many_block &block)
{
    const uint32_t n_quads = block.is_glu ? 4 : 8, quad = tn_lane() % n_quads, token = tn_lane() / n_quads * BATCH;
    const uint32_t n = tn_wide_tile_of(block, 0).tile * TN_CUDA_TILE_ROWS + quad * 4;
    return {n, token, 32 / n_quads * BATCH, (tn_warp() * TOKENS + token) * PITCH + quad * 4, W_SCALES + tn_warp() * 32 + quad * 4};
}

// Four words of shared memory, as numbers.
TN_FN void tn_wide_four(uint32_t at, TN_SHARED_ARG(uint32_t, shared), uint32_t (&v)[4])
{
    const tn_u4 words = tn_shared_load16(shared, at);
    v[0] = words.x, v[1] = words.y, v[2] = words.z, v[3] = words.w;
}
// A batch's products, from row `token` of the codes on; `tile`: of the warp's two.
TN_FN void tn_wide_values(const tn_wide_lane &lane, uint32_t token, uint32_t tile, TN_SHARED_ARG(uint32_t, shared), float (&v)[BATCH][4])
{
    uint32_t w_scales[4], x_scales[4], x_sums[4];
    tn_wide_four(lane.scales_at + tile * TN_CUDA_TILE_ROWS, shared, w_scales);
    tn_wide_four(X_SCALES + token, shared, x_scales);
    tn_wide_four(X_SUMS + token, shared, x_sums);
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        uint32_t sums[4];
        tn_wide_four(lane.sums_at + (token - lane.token + i) * PITCH + tile * TN_CUDA_TILE_ROWS, shared, sums);
        const tn_ternary_row to = {0, tn_float(x_scales[i]), (int32_t)x_sums[i], nullptr, nullptr};
        TN_UNROLL for (uint32_t j = 0; j < 4; j++) v[i][j] = tn_ternary_value(to, tn_float(w_scales[j]), (int32_t)sums[j]);
    }
}
// tn_mark_poison of what `node` stores of a batch, with one branch for all of it.
TN_FN void tn_wide_mark(const tn_cuda_ternary_params &p, const tn_many_block &block, uint32_t token, uint32_t node,
                        const float (&v)[BATCH][4])
{
    uint32_t largest[BATCH], largest_of_all = 0;
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        largest[i] = 0;
        TN_UNROLL for (uint32_t j = 0; j < 4; j++) largest[i] = tn_abs_bits(v[i][j]) > largest[i] ? tn_abs_bits(v[i][j]) : largest[i];
        largest_of_all = largest[i] > largest_of_all ? largest[i] : largest_of_all;
    }
    if (largest_of_all < TN_ABS_BITS_2P56) return;
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        if (token + i < block.n_rows) tn_mark_poison(p.step, p.poison, block.first_row + token + i, node, tn_float(largest[i]));
    }
}
TN_FN void tn_wide_store_batch(const tn_many_block &block, const tn_wide_lane &lane, uint32_t token, const tn_cuda_matrix &matrix, float *y,
                               const float (&v)[BATCH][4])
{
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        if (token + i < block.n_rows)
            tn_store_quad(y + (size_t)(token + i) * matrix.y.stride, matrix.y.stride, lane.n, matrix.n_rows, v[i]);
    }
}

TN_FN void tn_wide_store(const tn_cuda_ternary_params &p, const tn_many_block &block, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_cuda_matrix &matrix = p.matrices[block.matrix];
    const tn_wide_lane lane = tn_wide_lane_of(block);
    if (lane.n >= matrix.n_rows) return;
    float *y = tn_y_row(p.step, matrix.y, block.first_row);
    TN_ROLLED for (uint32_t token = lane.token; token < block.n_rows; token += lane.step)
    {
        float v[BATCH][4];
        tn_wide_values(lane, token, 0, shared, v);
        tn_wide_mark(p, block, token, matrix.node, v);
        tn_wide_store_batch(block, lane, token, matrix, y, v);
    }
}

// The other operand of ADD for a batch; of rows that the block has not, the last one it has.
TN_FN void tn_wide_residuals(const tn_cuda_ternary_params &p, const tn_many_block &block, const tn_wide_lane &lane, uint32_t token,
                             const float *add, float (&v)[BATCH][4])
{
    TN_UNROLL for (uint32_t i = 0; i < BATCH; i++)
    {
        const uint32_t row = token + i < block.n_rows ? token + i : block.n_rows - 1;
        tn_load_quad(add + (size_t)row * p.add.stride, p.add.stride, lane.n, p.matrices[0].n_rows, v[i]);
    }
}
TN_FN void tn_wide_store_sum(const tn_cuda_ternary_params &p, const tn_many_block &block, const int32_t (&sums)[2][TOKENS / 2],
                             TN_SHARED_ARG(uint32_t, shared))
{
    const tn_cuda_matrix &matrix = p.matrices[0];
    const tn_wide_lane lane = tn_wide_lane_of(block);
    const bool is_idle = lane.n >= matrix.n_rows;
    const float *add = tn_x_row(p.step, p.add, block.first_row);
    float *y = tn_y_row(p.step, matrix.y, block.first_row), next[BATCH][4];
    if (!is_idle) tn_wide_residuals(p, block, lane, lane.token, add, next);
    tn_wide_lay(sums, shared);
    if (is_idle) return;
    TN_ROLLED for (uint32_t token = lane.token; token < block.n_rows; token += lane.step)
    {
        float v[BATCH][4], y_of[BATCH][4];
        tn_wide_values(lane, token, 0, shared, v);
        tn_wide_mark(p, block, token, matrix.node, v);
        TN_UNROLL for (uint32_t i = 0; i < 4 * BATCH; i++) y_of[i / 4][i % 4] = tn_fl(next[i / 4][i % 4] + v[i / 4][i % 4]);
        tn_wide_mark(p, block, token, p.behind_node, y_of);
        tn_wide_residuals(p, block, lane, token + lane.step, add, next); // before the stores, which loads might have to wait for
        tn_wide_store_batch(block, lane, token, matrix, y, y_of);
    }
}

template <uint32_t behind>
TN_FN void tn_wide_store_glu(const tn_cuda_ternary_params &p, const tn_many_block &block, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_cuda_matrix &gate = p.matrices[0];
    const tn_wide_lane lane = tn_wide_lane_of(block);
    if (lane.n >= gate.n_rows) return;
    float *y = tn_y_row(p.step, gate.y, block.first_row);
    TN_ROLLED for (uint32_t token = lane.token; token < block.n_rows; token += lane.step)
    {
        float of_gate[BATCH][4], v[BATCH][4];
        tn_wide_values(lane, token, 0, shared, of_gate);
        tn_wide_values(lane, token, 1, shared, v);
        tn_wide_mark(p, block, token, gate.node, of_gate);
        tn_wide_mark(p, block, token, p.matrices[1].node, v);
        TN_UNROLL for (uint32_t i = 0; i < 4 * BATCH; i++) v[i / 4][i % 4] = tn_ternary_glu(behind, of_gate[i / 4][i % 4], v[i / 4][i % 4]);
        tn_wide_mark(p, block, token, p.behind_node, v);
        tn_wide_store_batch(block, lane, token, gate, y, v);
    }
}

TN_FN void tn_wide_product(const tn_cuda_ternary_params &p, TN_SHARED_ARG(uint32_t, shared))
{
    const tn_many_block block = tn_many_block_of<TN_CUDA_WGMMA_ROWS, TOKENS>(p);
    if (block.n_rows == 0) {
        tn_wait_previous();
        return;
    }
    const tn_wide_feed feed = tn_wide_feed_of(p, block);
    TN_UNROLL for (uint32_t k = 0; k < AHEAD; k++)
    {
        if (k < p.n_blocks) tn_wide_feed_weights(feed, k, shared);
    }
    const tn_many_tile tile = tn_wide_tile_of(block, tn_lane() / TN_CUDA_TILE_ROWS);
    const uint32_t n = tile.tile * TN_CUDA_TILE_ROWS + tn_lane() % TN_CUDA_TILE_ROWS;
    const tn_cuda_matrix &matrix = p.matrices[tile.matrix];
    shared[W_SCALES + tn_thread()] = n < matrix.n_rows ? tn_bits(tn_ternary_weight_scale(matrix, n)) : 0;
    tn_wait_previous();
    TN_UNROLL for (uint32_t k = 0; k < AHEAD; k++)
    {
        if (k < p.n_blocks) tn_wide_feed_codes(feed, k, shared);
        tn_async_commit();
    }
    if (tn_thread() < TOKENS) {
        const uint32_t row = block.first_row + (tn_thread() < block.n_rows ? tn_thread() : 0);
        shared[X_SCALES + tn_thread()] = tn_bits(p.codes.scales[row]);
        shared[X_SUMS + tn_thread()] = (uint32_t)p.codes.sums[row];
    }
    int32_t sums[2][TOKENS / 2] = {};
    tn_wide_loop(p, feed, shared, sums);
    tn_sync(); // products of other warps are done with the stages
    if (p.behind == TN_CUDA_BEHIND_ADD) {
        tn_wide_store_sum(p, block, sums, shared);
        return;
    }
    tn_wide_lay(sums, shared);
    if (p.behind == TN_CUDA_BEHIND_RELU2)
        tn_wide_store_glu<TN_CUDA_BEHIND_RELU2>(p, block, shared);
    else if (p.behind == TN_CUDA_BEHIND_SILU)
        tn_wide_store_glu<TN_CUDA_BEHIND_SILU>(p, block, shared);
    else
        tn_wide_store(p, block, shared);
}

} // namespace

TN_KERNEL_EARLY(ternary_many_wgmma, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED_DYNAMIC_AT(uint32_t, shared, 1024);
    tn_wide_product(p, shared);
}
