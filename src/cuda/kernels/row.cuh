// NORM, NORM_QUANT and QUANT of rows by the 8 warps of a block: of one row by all of them, or of up to 8 rows at once by teams.
//
// SUM wants lane l of a warp to add elements l, l + 32, .. of a block of 256, so a warp takes whole blocks: warp w of a team blocks w,
// w + n_warps, .., one a round. What the first rounds read stays in registers until the codes are made; rows that are longer are read
// twice. Rows come through L2 alone, since other blocks of the launch may have written them.
#ifndef TN_CUDA_ROW_CUH
#define TN_CUDA_ROW_CUH

#include "cuda/kernels/rows_io.cuh"
#include "cuda/kernels/warp.cuh"

enum {
    TN_ROW_WARPS = 8,  // of a block
    TN_ROW_SUMS = 512, // sums of blocks that wait to be added, of all teams
    TN_ROW_MAX = TN_ROW_SUMS,
    TN_ROW_CODES = TN_ROW_MAX + TN_ROW_WARPS,
    TN_ROW_SCRATCH = TN_ROW_CODES + TN_ROW_WARPS, // words of shared memory
    TN_ROW_ROUNDS = TN_ROW_SUMS / TN_ROW_WARPS,   // whose sums wait at most
};

// Warps of the block that share a row: a power of two of them, the same for all teams. A team that `is_idle` has no row and keeps step.
struct tn_row_team {
    uint32_t warp, n_warps; // this one's number in the team, and how many there are
    uint32_t first;         // warp of the block that leads the team
    bool is_idle;
};
// Teams for n_rows rows, 1 to 8: *out_row is this team's.
TN_FN tn_row_team tn_row_team_of(uint32_t n_rows, uint32_t *out_row)
{
    const uint32_t n_warps = n_rows <= 1 ? 8 : n_rows <= 2 ? 4 : n_rows <= 4 ? 2 : 1, row = tn_warp() / n_warps;
    *out_row = row;
    return {tn_warp() % n_warps, n_warps, row * n_warps, row >= n_rows};
}

// What all threads of the team know in the end.
struct tn_row_scale {
    float scale;
    int32_t sum;
};

// Where results go: tn_row_put takes a lane's elements first, first + 32, first + 64, first + 96, as far as there are n_out, and gives the
// sum of their codes. Of memory whole blocks of 128 are there, and all lanes of a warp are to call it.
struct tn_row_to_shared {
    TN_SHARED_ARG(int8_t, codes);
};
struct tn_row_to_memory {
    int8_t *codes;
    uint32_t is_permuted; // tn_cuda_codes
};
struct tn_row_to_floats {
    const tn_cuda_row_params &p;
    float *y;
    uint32_t row;
};
TN_FN int32_t tn_row_put(const tn_row_to_shared &to, uint32_t first, uint32_t n_out, const float (&scaled)[4])
{
    int32_t sum = 0;
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        if (first + 32 * i >= n_out) continue;
        const int8_t code = (int8_t)tn_round_int(scaled[i]);
        to.codes[first + 32 * i] = code;
        sum += code;
    }
    return sum;
}
// Four lanes side by side exchange their codes, so that each stores four that lie side by side: in natural order lane 4q + j those of
// columns 32j + 4q on, which permuted are bytes 16q + 4j on.
TN_FN int32_t tn_row_put(const tn_row_to_memory &to, uint32_t first, uint32_t n_out, const float (&scaled)[4])
{
    const uint32_t lane = tn_lane(), block = first - lane;
    if (block >= n_out) return 0;
    uint32_t word = 0;
    int32_t sum = 0;
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        const int32_t code = tn_round_int(scaled[i]);
        word |= ((uint32_t)code & 0xffu) << (8 * i);
        sum += (int8_t)code;
    }
    const bool is_odd = lane % 2 != 0, is_upper = lane / 2 % 2 != 0;
    word = tn_prmt(word, tn_shfl_xor(word, 1), is_odd ? 0x3715u : 0x6240u); // bytes 0 and 2 of both, or 1 and 3, the even lane's first
    word = tn_prmt(word, tn_shfl_xor(word, 2), is_upper ? 0x3276u : 0x5410u);
    const uint32_t at = to.is_permuted ? 4 * lane : lane % 4 * 32 + lane / 4 * 4;
    *reinterpret_cast<uint32_t *>(to.codes + block + at) = word;
    return sum;
}
TN_FN int32_t tn_row_put(const tn_row_to_floats &to, uint32_t first, uint32_t n_out, const float (&scaled)[4])
{
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        if (first + 32 * i >= n_out) continue;
        const float y = tn_fl(scaled[i]);
        to.y[first + 32 * i] = y;
        tn_mark_poison(to.p.step, to.p.poison, to.row, to.p.node, y);
    }
    return 0;
}

// Where a row comes from: tn_row_ready is called once, when what does not depend on the row has been asked for. Of a lane's elements first,
// first + 32, .. of a row of n, 0 beyond it, tn_row_ask asks for what they are made of, as that of round r of those that are asked for
// together; then tn_row_values makes them, and tn_row_values_again gives the same a second time.
TN_FN void tn_row_ready(const float *) {}
TN_FN void tn_row_load(const float *x, uint32_t n, uint32_t first, float (&v)[8])
{
    TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[i] = first + 32 * i < n ? tn_load_fresh(x + first + 32 * i) : 0.0f;
}
template <class From> TN_FN void tn_row_ask(From &, uint32_t, uint32_t, uint32_t) {}
TN_FN void tn_row_values(const float *x, uint32_t n, uint32_t, uint32_t first, float (&v)[8]) { tn_row_load(x, n, first, v); }
TN_FN void tn_row_values_again(const float *x, uint32_t n, uint32_t first, float (&v)[8]) { tn_row_load(x, n, first, v); }

// A row that the kernel before this one makes.
struct tn_row_of_previous {
    const float *x;
};
TN_FN void tn_row_ready(const tn_row_of_previous &) { tn_wait_previous(); }
TN_FN void tn_row_values(const tn_row_of_previous &from, uint32_t n, uint32_t, uint32_t first, float (&v)[8])
{
    tn_row_load(from.x, n, first, v);
}
TN_FN void tn_row_values_again(const tn_row_of_previous &from, uint32_t n, uint32_t first, float (&v)[8])
{
    tn_row_load(from.x, n, first, v);
}

// The gains of a lane's 8 elements of block b; 0 beyond the row.
TN_FN void tn_row_load_gains(const tn_cuda_row_op &op, uint32_t b, tn_u4 (&gains)[2])
{
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        const bool is_there = op.gains && b * 256 + i * 128 < op.n;
        if (is_there)
            gains[i] = tn_load16(op.gains + ((size_t)(2 * b + i) * 32 + tn_lane()) * 4);
        else
            gains[i] = {0, 0, 0, 0};
    }
}
TN_FN void tn_row_gain(const tn_cuda_row_op &op, float (&v)[8], const tn_u4 (&gains)[2])
{
    if (!op.gains) return;
    TN_UNROLL for (uint32_t i = 0; i < 2; i++)
    {
        v[4 * i] = v[4 * i] * tn_float(gains[i].x);
        v[4 * i + 1] = v[4 * i + 1] * tn_float(gains[i].y);
        v[4 * i + 2] = v[4 * i + 2] * tn_float(gains[i].z);
        v[4 * i + 3] = v[4 * i + 3] * tn_float(gains[i].w);
    }
}

// SUM's parts of n blocks, the same in all lanes. The trees are climbed side by side.
template <uint32_t n> TN_FN void tn_row_block_sums(const float (&v)[n][8], float (&sums)[n])
{
    TN_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        sums[r] = 0.0f;
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) sums[r] = sums[r] + (v[r][i] * v[r][i]);
    }
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2)
    {
        TN_UNROLL for (uint32_t r = 0; r < n; r++) sums[r] = sums[r] + tn_shfl_xor(sums[r], width);
    }
}

// A row on its way: how long it is, how far its sum is, and the maximum of this lane's |x * gain|.
struct tn_row_state {
    uint32_t n_blocks, n_rounds; // blocks of 256; n_rounds makes the sums of a team a multiple of 8
    uint32_t max;
    float sum;
};

TN_FN uint32_t tn_row_block(const tn_row_team &team, uint32_t round) { return round * team.n_warps + team.warp; }

// Asks for n rounds, all loads before anything waits for them.
template <uint32_t n>
TN_FN void tn_row_gains_of_rounds(const tn_cuda_row_op &op, const tn_row_team &team, const tn_row_state &state, uint32_t first,
                                  tn_u4 (&gains)[n][2])
{
    TN_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        const uint32_t b = tn_row_block(team, first + r);
        gains[r][0] = gains[r][1] = {0, 0, 0, 0};
        if (b < state.n_blocks) tn_row_load_gains(op, b, gains[r]);
    }
}
template <uint32_t n, class From>
TN_FN void tn_row_values_of_rounds(const tn_cuda_row_op &op, From &from, const tn_row_team &team, const tn_row_state &state, uint32_t first,
                                   bool again, float (&v)[n][8])
{
    TN_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        const uint32_t b = tn_row_block(team, first + r);
        if (!again && b < state.n_blocks) tn_row_ask(from, op.n, r, b * 256 + tn_lane());
    }
    TN_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        const uint32_t b = tn_row_block(team, first + r);
        TN_UNROLL for (uint32_t i = 0; i < 8; i++) v[r][i] = 0.0f;
        if (b >= state.n_blocks) continue;
        if (again)
            tn_row_values_again(from, op.n, b * 256 + tn_lane(), v[r]);
        else
            tn_row_values(from, op.n, r, b * 256 + tn_lane(), v[r]);
    }
}

// First pass over n rounds: `v` holds x and gets x * gain. Block sums wait in shared memory, 0 beyond the row.
template <uint32_t n>
TN_FN void tn_row_measure(const tn_cuda_row_op &op, const tn_row_team &team, uint32_t first, float (&v)[n][8], const tn_u4 (&gains)[n][2],
                          TN_SHARED_ARG(uint32_t, scratch), tn_row_state &state)
{
    if (first >= state.n_rounds) return;
    if (op.op != TN_CUDA_ROW_QUANT) {
        float sums[n];
        tn_row_block_sums(v, sums);
        TN_UNROLL for (uint32_t r = 0; r < n; r++)
        {
            const uint32_t at = team.first * TN_ROW_ROUNDS + (first + r) % TN_ROW_ROUNDS * team.n_warps + team.warp;
            if (tn_lane() == 0 && first + r < state.n_rounds) scratch[at] = tn_bits(sums[r]);
        }
    }
    TN_UNROLL for (uint32_t r = 0; r < n; r++)
    {
        tn_row_gain(op, v[r], gains[r]);
        TN_UNROLL for (uint32_t i = 0; i < 8; i++)
        {
            const uint32_t bits = tn_abs_bits(v[r][i]);
            state.max = bits > state.max ? bits : state.max;
        }
    }
}

// Adds the block sums that wait, ascending: those of n_rounds. Every thread does it for itself, from sums that all lanes read at once and
// ask for 8 ahead.
TN_FN void tn_row_add_sums(const tn_row_team &team, uint32_t n_rounds, TN_SHARED_ARG(uint32_t, scratch), tn_row_state &state)
{
    const uint32_t at = team.first * TN_ROW_ROUNDS, n = n_rounds * team.n_warps;
    tn_u4 next[2] = {tn_shared_load16(scratch, at), tn_shared_load16(scratch, at + 4)};
    TN_ROLLED for (uint32_t i = 0; i < n; i += 8)
    {
        const uint32_t sums[8] = {next[0].x, next[0].y, next[0].z, next[0].w, next[1].x, next[1].y, next[1].z, next[1].w};
        if (i + 8 < n) {
            next[0] = tn_shared_load16(scratch, at + i + 8);
            next[1] = tn_shared_load16(scratch, at + i + 12);
        }
        TN_UNROLL for (uint32_t j = 0; j < 8; j++) state.sum = state.sum + tn_float(sums[j]);
    }
}

// What the row's values are multiplied with, and the scale of the codes (0 for NORM).
struct tn_row_factor {
    float factor, scale;
};
TN_FN tn_row_factor tn_row_factor_of(const tn_cuda_row_op &op, float sum, uint32_t max)
{
    if (op.op == TN_CUDA_ROW_QUANT) {
        const float a = max > tn_bits(1e-5f) ? tn_float(max) : 1e-5f;
        return {127.0f * tn_recip(a), a * (float)(1.0 / 127.0)};
    }
    const float mean = (sum * op.recip_n) + op.eps;
    const float r = tn_rsqrt(mean > 0x1p-100f ? mean : 0x1p-100f);
    if (op.op == TN_CUDA_ROW_NORM) return {r, 0.0f};
    // Both, since the reciprocal need not wait for r.
    const float a = tn_float(max), an = a * r, by_max = 127.0f * tn_recip(a);
    const bool is_large = an >= 1e-5f;
    return {is_large ? by_max : r * 12700000.0f, is_large ? an * (float)(1.0 / 127.0) : (float)(1e-5 / 127.0)};
}

// Second pass over a round; the sum of this lane's codes.
template <class Out>
TN_FN int32_t tn_row_finish(const tn_row_team &team, const tn_row_state &state, uint32_t round, const float (&v)[8], float factor,
                            uint32_t n_out, const Out &out)
{
    const uint32_t b = tn_row_block(team, round), first = b * 256 + tn_lane();
    int32_t sum = 0;
    if (b >= state.n_blocks) return 0;
    TN_UNROLL for (uint32_t i = 0; i < 8; i += 4)
    {
        const float scaled[4] = {v[i] * factor, v[i + 1] * factor, v[i + 2] * factor, v[i + 3] * factor};
        sum += tn_row_put(out, first + 32 * i, n_out, scaled);
    }
    return sum;
}

// A team's row. n_out elements are put, those beyond op.n as 0. Called by all threads of the block; what was put in shared memory is there
// for all of them on return.
template <uint32_t n_pairs = 2, class From, class Out>
TN_FN tn_row_scale tn_row_do(const tn_cuda_row_op &op, From from, const tn_row_team &team, uint32_t n_out, TN_SHARED_ARG(uint32_t, scratch),
                             const Out &out)
{
    enum { HELD = 2 * n_pairs };
    const uint32_t n_blocks = (n_out + 255) / 256;
    tn_row_state state = {team.is_idle ? 0 : n_blocks, (n_blocks + 7) / 8 * (TN_ROW_WARPS / team.n_warps), 0, 0.0f};
    float kept[n_pairs][2][8];
    {
        tn_u4 gains[n_pairs][2][2];
        TN_UNROLL for (uint32_t i = 0; i < n_pairs; i++) tn_row_gains_of_rounds(op, team, state, 2 * i, gains[i]);
        tn_row_ready(from);
        TN_UNROLL for (uint32_t i = 0; i < n_pairs; i++) tn_row_values_of_rounds(op, from, team, state, 2 * i, false, kept[i]);
        TN_UNROLL for (uint32_t i = 0; i < n_pairs; i++) tn_row_measure(op, team, 2 * i, kept[i], gains[i], scratch, state);
    }
    uint32_t n_waiting = HELD < state.n_rounds ? (uint32_t)HELD : state.n_rounds; // of QUANT nothing waits
    TN_ROLLED for (uint32_t round = HELD; round < state.n_rounds; round += 2)
    {
        if (n_waiting == TN_ROW_ROUNDS && op.op != TN_CUDA_ROW_QUANT) {
            tn_sync();
            tn_row_add_sums(team, n_waiting, scratch, state);
            tn_sync();
            n_waiting = 0;
        }
        float v[2][8];
        tn_u4 gains[2][2];
        tn_row_gains_of_rounds(op, team, state, round, gains);
        tn_row_values_of_rounds(op, from, team, state, round, false, v);
        tn_row_measure(op, team, round, v, gains, scratch, state);
        n_waiting += round + 1 < state.n_rounds ? 2 : 1;
    }

    state.max = tn_lanes_max(state.max);
    if (tn_lane() == 0) scratch[TN_ROW_MAX + tn_warp()] = state.max;
    tn_sync();
    if (op.op != TN_CUDA_ROW_QUANT) tn_row_add_sums(team, n_waiting, scratch, state);
    state.max = tn_lanes_max(scratch[TN_ROW_MAX + team.first + tn_lane() % team.n_warps]);
    const tn_row_factor factor = tn_row_factor_of(op, state.sum, state.max);

    int32_t sum = 0;
    TN_UNROLL for (uint32_t r = 0; r < HELD; r++) sum += tn_row_finish(team, state, r, kept[r / 2][r % 2], factor.factor, n_out, out);
    TN_ROLLED for (uint32_t round = HELD; round < state.n_rounds; round += 2)
    {
        float v[2][8];
        tn_u4 gains[2][2];
        tn_row_gains_of_rounds(op, team, state, round, gains);
        tn_row_values_of_rounds(op, from, team, state, round, true, v);
        TN_UNROLL for (uint32_t r = 0; r < 2; r++)
        {
            tn_row_gain(op, v[r], gains[r]);
            sum += tn_row_finish(team, state, round + r, v[r], factor.factor, n_out, out);
        }
    }
    sum = tn_lanes_sum(sum);
    if (tn_lane() == 0) scratch[TN_ROW_CODES + tn_warp()] = (uint32_t)sum;
    tn_sync();
    sum = tn_lane() < team.n_warps ? (int32_t)scratch[TN_ROW_CODES + team.first + tn_lane()] : 0;
    return {factor.scale, tn_lanes_sum(sum)};
}

// A row's codes, scale and sum by all warps of the block.
template <uint32_t n_pairs = 2, class From>
TN_FN void tn_row_codes(const tn_cuda_row_op &op, From from, const tn_cuda_codes &codes, uint32_t row, TN_SHARED_ARG(uint32_t, scratch))
{
    const tn_row_team team = {tn_warp(), TN_ROW_WARPS, 0, false};
    const tn_row_to_memory out = {codes.at + (size_t)row * codes.stride_bytes, codes.is_permuted};
    const tn_row_scale done = tn_row_do<n_pairs>(op, from, team, codes.stride_bytes, scratch, out);
    if (tn_thread() != 0) return;
    codes.scales[row] = done.scale;
    codes.sums[row] = done.sum;
}

#endif
