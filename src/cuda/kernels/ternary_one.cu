// Ternary matrices times one row of codes. Its weights are what a token costs, so they are asked for first; the codes follow, from memory
// or made here from x by each block for itself.
#include "cuda/kernels/ternary_walk.cuh"

template <uint32_t n_parts>
TN_FN void tn_ternary_one(const tn_cuda_ternary_params &p, TN_SHARED_ARG(int8_t, codes), TN_SHARED_ARG(uint32_t, scratch),
                          TN_SHARED_ARG(int32_t, sums))
{
    const tn_walk walk = tn_walk_of<n_parts>(p);
    tn_ahead<tn_dot_one::AHEAD, n_parts> ahead;
    tn_walk_begin(p, walk, ahead);
    // A step has a token, but not always a wanted row of logits.
    if (tn_block_x() * walk.n_teams >= walk.n_tiles || (p.poison.is_logits && tn_n_rows(p.step, 1) == 0)) return;

    const uint32_t n_codes = p.n_blocks * TN_CUDA_TILE_COLS;
    tn_row_scale scale;
    if (p.before.op == TN_CUDA_ROW_NONE) {
        for (uint32_t i = tn_thread() * 16; i < n_codes; i += 256 * 16) tn_shared_store16(codes, i, tn_load16_fresh(p.codes.at + i));
        scale = {p.codes.scales[0], p.codes.sums[0]};
        tn_sync();
    } else {
        const tn_row_team team = {tn_warp(), TN_ROW_WARPS, 0, false};
        const tn_row_to_shared to = {codes};
        scale = tn_row_do(p.before, tn_x_row(p.step, p.x, 0), team, n_codes, scratch, to);
    }
    const tn_codes_shared from = {codes, scale};
    tn_walk_all<tn_dot_one>(p, walk, ahead, from, 1, sums);
}

static_assert((TN_ROW_SCRATCH + tn_walk_sums<tn_dot_one, 2>::N) * sizeof(uint32_t) <= TN_CUDA_ONE_OWN_SHARED_BYTES, "of a block");

TN_KERNEL_BLOCKS(ternary_one, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    TN_SHARED(int32_t, sums, (tn_walk_sums<tn_dot_one, 1>::N));
    tn_ternary_one<1>(p, codes, scratch, sums);
}

TN_KERNEL_BLOCKS(ternary_one_glu, tn_cuda_ternary_params, 256, 2)
{
    TN_SHARED_DYNAMIC(int8_t, codes);
    TN_SHARED(uint32_t, scratch, TN_ROW_SCRATCH);
    TN_SHARED(int32_t, sums, (tn_walk_sums<tn_dot_one, 2>::N));
    tn_ternary_one<2>(p, codes, scratch, sums);
}
