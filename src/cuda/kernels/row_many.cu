// NORM_QUANT and QUANT of many rows, of whole blocks of 256 elements. Blocks stay and walk over the rows, teams of 4 or 8 warps with a row
// each: every thread keeps its gains for all of them in shared memory, and a team's next row is on its way while one becomes codes. A row
// is read once: its lanes have all of it in registers until its codes are made. What a row lacks of a team's blocks is 0, without a branch.
#include "cuda/kernels/row.cuh"

namespace
{

enum {
    MAX = 32,                     // words of shared memory: SUM's parts of all teams, of each warp the largest |x * gain|,
    CODES = MAX + TN_ROW_WARPS,   // the sum of its codes,
    GAINS = CODES + TN_ROW_WARPS, // gains: [two for a block][thread][4]
    GAINS_EACH = 4 * 32 * TN_ROW_WARPS,
    SCRATCH = GAINS + 8 * GAINS_EACH,
};

// A warp of a team of n_warps, which has blocks `warp`, warp + n_warps, .. of a row: n_held at most.
template <uint32_t n_warps, uint32_t n_held> struct tn_rows_team {
    uint32_t number, warp;
    TN_METHOD uint32_t block(uint32_t i) const { return i * n_warps + warp; }
};

// n_blocks: of the row, 0 where there is none.
template <uint32_t n_warps, uint32_t n_held>
TN_FN void tn_rows_load(const tn_rows_team<n_warps, n_held> &team, const float *x, uint32_t n_blocks, float (&v)[n_held][8])
{
    const float *at = x + team.warp * 256 + tn_lane();
    TN_UNROLL for (uint32_t r = 0; r < n_held; r++)
    {
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[r][i] = 0.0f;
        if (team.block(r) >= n_blocks) continue;
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[r][i] = tn_load_fresh(at + r * n_warps * 256 + 32 * i);
    }
}
template <uint32_t n_warps, uint32_t n_held>
TN_FN void tn_rows_keep_gains(const tn_cuda_row_op &op, const tn_rows_team<n_warps, n_held> &team, TN_SHARED_ARG(uint32_t, scratch))
{
    TN_UNROLL for (uint32_t r = 0; r < n_held; r++)
    {
        tn_u4 gains[2];
        tn_row_load_gains(op, team.block(r), gains);
        TN_UNROLL for (uint32_t i = 0; i < 2; i++) tn_shared_store16(scratch, GAINS + (2 * r + i) * GAINS_EACH + tn_thread() * 4, gains[i]);
    }
}

// Parts of SUM and the largest |x * gain| to shared memory; v becomes x * gain.
template <uint32_t n_warps, uint32_t n_held>
TN_FN void tn_rows_measure(const tn_cuda_row_op &op, const tn_rows_team<n_warps, n_held> &team, float (&v)[n_held][8],
                           TN_SHARED_ARG(uint32_t, scratch))
{
    if (op.op != TN_CUDA_ROW_QUANT) {
        float sums[n_held];
        tn_row_block_sums(v, sums);
        TN_UNROLL for (uint32_t r = 0; r < n_held; r++)
        {
            if (tn_lane() == 0) scratch[team.number * n_held * n_warps + team.block(r)] = tn_bits(sums[r]);
        }
        TN_UNROLL for (uint32_t r = 0; r < n_held; r++)
        {
            const uint32_t at = GAINS + 2 * r * GAINS_EACH + tn_thread() * 4;
            const tn_u4 gains[2] = {tn_shared_load16(scratch, at), tn_shared_load16(scratch, at + GAINS_EACH)};
            tn_row_gain(op, v[r], gains);
        }
    }
    uint32_t max = 0;
    TN_UNROLL for (uint32_t i = 0; i < 8 * n_held; i++) max = tn_abs_bits(v[i / 8][i % 8]) > max ? tn_abs_bits(v[i / 8][i % 8]) : max;
    max = tn_lanes_max(max);
    if (tn_lane() == 0) scratch[MAX + tn_warp()] = max;
}
// What comes of the row's sum and maximum, of all warps of the team.
template <uint32_t n_warps, uint32_t n_held>
TN_FN tn_row_factor tn_rows_factor(const tn_cuda_row_op &op, const tn_rows_team<n_warps, n_held> &team, TN_SHARED_ARG(uint32_t, scratch))
{
    float sum = 0.0f;
    if (op.op != TN_CUDA_ROW_QUANT) {
        TN_ROLLED for (uint32_t b = 0; b < n_held * n_warps; b += 4)
        {
            const tn_u4 parts = tn_shared_load16(scratch, team.number * n_held * n_warps + b);
            sum = sum + tn_float(parts.x);
            sum = sum + tn_float(parts.y);
            sum = sum + tn_float(parts.z);
            sum = sum + tn_float(parts.w);
        }
    }
    return tn_row_factor_of(op, sum, tn_lanes_max(scratch[MAX + team.number * n_warps + tn_lane() % n_warps]));
}

// The codes of the warp's blocks, each lane's words as tn_row_put makes them; their sum. n_blocks as above.
template <uint32_t n_warps, uint32_t n_held>
TN_FN int32_t tn_rows_put(const tn_rows_team<n_warps, n_held> &team, const float (&v)[n_held][8], float factor, int8_t *codes,
                          uint32_t is_permuted, uint32_t n_blocks)
{
    const uint32_t lane = tn_lane(), odd = lane % 2 != 0 ? 0x3715u : 0x6240u, upper = lane / 2 % 2 != 0 ? 0x3276u : 0x5410u;
    int8_t *at = codes + team.warp * 256 + (is_permuted ? 4 * lane : lane % 4 * 32 + lane / 4 * 4);
    int32_t sum = 0;
    TN_UNROLL for (uint32_t r = 0; r < 2 * n_held; r++)
    {
        uint32_t code[4]; // tn_round_int's, of which the lower bytes are wanted
        TN_UNROLL for (uint32_t i = 0; i < 4; i++) code[i] = tn_bits((v[r / 2][r % 2 * 4 + i] * factor) + 12582912.0f);
        uint32_t word = tn_prmt(tn_prmt(code[0], code[1], 0x0040u), tn_prmt(code[2], code[3], 0x0040u), 0x5410u);
        sum = tn_dp4a_ss(word, 0x01010101u, sum);
        word = tn_prmt(word, tn_shfl_xor(word, 1), odd);
        word = tn_prmt(word, tn_shfl_xor(word, 2), upper);
        if (team.block(r / 2) < n_blocks) *reinterpret_cast<uint32_t *>(at + r / 2 * n_warps * 256 + r % 2 * 128) = word;
    }
    return sum;
}

template <uint32_t n_warps, uint32_t n_held> TN_FN void tn_rows_walk(const tn_cuda_row_params &p, TN_SHARED_ARG(uint32_t, scratch))
{
    const uint32_t n_rows = tn_n_rows(p.step, p.poison.is_logits), n_teams = TN_ROW_WARPS / n_warps, step = tn_grid_x() * n_teams;
    const tn_rows_team<n_warps, n_held> team = {tn_warp() / n_warps, tn_warp() % n_warps};
    const uint32_t n_blocks = p.row.n / 256;
    tn_rows_keep_gains(p.row, team, scratch);
    float next[n_held][8];
    tn_wait_previous();
    uint32_t row = tn_block_x() * n_teams + team.number;
    tn_rows_load(team, tn_x_row(p.step, p.x, row), row < n_rows ? n_blocks : 0, next);
    TN_ROLLED for (uint32_t first = tn_block_x() * n_teams; first < n_rows; first += step, row += step)
    {
        float v[n_held][8];
        TN_UNROLL for (uint32_t i = 0; i < 8 * n_held; i++) v[i / 8][i % 8] = next[i / 8][i % 8];
        tn_rows_load(team, tn_x_row(p.step, p.x, row + step), row + step < n_rows ? n_blocks : 0, next);
        tn_rows_measure(p.row, team, v, scratch);
        tn_sync();
        const tn_row_factor factor = tn_rows_factor(p.row, team, scratch);
        int32_t sum = tn_rows_put(team, v, factor.factor, p.codes.at + (size_t)row * p.codes.stride_bytes, p.codes.is_permuted,
                                  row < n_rows ? n_blocks : 0);
        sum = tn_lanes_sum(sum);
        if (tn_lane() == 0) scratch[CODES + tn_warp()] = (uint32_t)sum;
        tn_sync();
        sum = tn_lanes_sum(tn_lane() < n_warps ? (int32_t)scratch[CODES + team.number * n_warps + tn_lane() % n_warps] : 0);
        if (row >= n_rows || team.warp != 0 || tn_lane() != 0) continue;
        p.codes.scales[row] = factor.scale;
        p.codes.sums[row] = sum;
    }
}

} // namespace

TN_KERNEL_EARLY(row_many, tn_cuda_row_params, 256, 2)
{
    TN_SHARED(uint32_t, scratch, SCRATCH);
    if (p.n_teams == 2)
        tn_rows_walk<4, 3>(p, scratch);
    else
        tn_rows_walk<8, 4>(p, scratch);
}
