// Attention of the tokens of a tile that share a sequence, on integer tensor cores, by a block of four warps. A row is a query head of a
// token.
//
// A warp has 16 rows and all 128 positions of a chunk, so that nothing of the weights leaves it: the sums of mma over keys lie in registers
// as mma takes weights over values. Keys and values are staged in shared memory for all warps, 8 KiB at a time: keys of some positions with
// all dims, then 32 dims of all values. Codes are limbs of 8 bits: four products, of three weights, exact modulo 2^32.
//
// Which dim or position an index of mma stands for is of no matter where both factors agree. Of 32 dims lane t of 4 has 8t .. 8t + 7, which
// are 16 bytes of a key. Of 32 positions it has those of its columns in the sums over keys: pairs t, t + 4, t + 8, t + 12. Of 32 dims of
// values column g of product j is dim 4g + j, so that 16 bytes of a pair are a lane's columns of four products.
#ifndef TN_CUDA_ATTENTION_TILE_CUH
#define TN_CUDA_ATTENTION_TILE_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/attention_weigh.cuh"
#include "cuda/kernels/kv_page.cuh"
#include "cuda/kernels/rope.cuh"

enum {
    TN_TILE_THREADS = 128,
    TN_TILE_ROWS = 64,     // of a block
    TN_TILE_STEPS_MAX = 4, // of 32 dims, of a head
    TN_TILE_STAGES = 3,    // of which two are on their way
    TN_TILE_STAGE_BYTES = 8192,
    TN_TILE_COLUMNS = TN_KV_CHUNK / 8, // of products over keys
};

struct tn_tile_shared {
    TN_SHARED_ARG(uint8_t, stages); // [TN_TILE_STAGES][512 units][16]
    TN_SHARED_ARG(uint8_t, q);      // [warps][steps][high, low][lanes][4 words of mma's left factor]
    TN_SHARED_ARG(float, q_scale);  // [rows]
    TN_SHARED_ARG(float, scales);   // of keys, then of values: [pairs of products over keys][lanes][2 products][2 positions]
};

// Tokens first .. first + n - 1 are of one sequence; rows from first_row on are being done.
struct tn_tile_job {
    uint32_t first, n, kv_head, seq, n_positions, first_row;
};

// Sums of a product: of high limbs with high ones, of high with low, of low with low.
struct tn_tile_sums {
    int32_t high[4], middle[4], low[4];
};

TN_FN int32_t tn_tile_sum(const tn_tile_sums &sums, uint32_t i)
{
    return (int32_t)(((uint32_t)sums.high[i] << 14) + ((uint32_t)sums.middle[i] << 7) + (uint32_t)sums.low[i]);
}

// Eight codes, two a word, as limbs.
struct tn_tile_limbs {
    uint32_t high[2], low[2];
};
TN_FN tn_tile_limbs tn_tile_limbs_of(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    tn_tile_limbs limbs;
    limbs.high[0] = tn_prmt(w0 >> 7, w1 >> 7, 0x6420);
    limbs.high[1] = tn_prmt(w2 >> 7, w3 >> 7, 0x6420);
    limbs.low[0] = tn_prmt(w0, w1, 0x6420) & 0x7f7f7f7fu;
    limbs.low[1] = tn_prmt(w2, w3, 0x6420) & 0x7f7f7f7fu;
    return limbs;
}

TN_FN void tn_tile_multiply(tn_tile_sums &sums, const uint32_t (&high)[4], const uint32_t (&low)[4], const tn_tile_limbs &limbs)
{
    tn_mma_ss(sums.high, high, limbs.high);
    tn_mma_ss(sums.middle, high, limbs.low);
    tn_mma_ss(sums.middle, low, limbs.high);
    tn_mma_ss(sums.low, low, limbs.low);
}

// ---- stages ----

// A chunk: keys, of which the rest follows, and how many positions the last token sees of it.
struct tn_tile_chunk {
    const int16_t *keys;
    uint32_t n;
};

TN_FN tn_tile_chunk tn_tile_chunk_of(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t chunk)
{
    tn_tile_chunk at;
    at.keys = 0;
    at.n = 0;
    if (chunk * TN_KV_CHUNK >= job.n_positions) return at;
    const uint32_t rest = job.n_positions - chunk * TN_KV_CHUNK;
    at.keys = tn_kv_head_of(p.kv, tn_kv_page(p.step, job.seq, chunk), job.kv_head, p.rope.head_dim).keys;
    at.n = rest < TN_KV_CHUNK ? rest : (uint32_t)TN_KV_CHUNK;
    return at;
}

// A thread's part of a stage: units whose rows are a stride apart. What there is not is taken from where there is something, for nothing.
struct tn_tile_units {
    const int16_t *from;          // its dims in row 0
    uint32_t row, stride, last;   // the first unit's row, and the last row there is
    uint32_t row_elements, words; // of a unit there are so many
    uint32_t to;                  // byte of the stages; the next unit's is TN_TILE_THREADS units on
};

// `steps` stages are keys, then as many are values.
template <uint32_t steps> TN_FN tn_tile_units tn_tile_units_of(const tn_tile_chunk &chunk, uint32_t stage, uint32_t slot, uint32_t head_dim)
{
    const uint32_t thread = tn_late(tn_thread());
    tn_tile_units units;
    if (stage < steps) {
        // [8 positions][step][position][4 units of 8 dims]: lanes of a product over keys as they lie.
        const uint32_t dim = thread / 32 % steps * 32 + thread % 4 * 8, d = dim < head_dim ? dim : 0;
        units.from = chunk.keys + d;
        units.row = stage * (TN_KV_CHUNK / steps) + thread / (32 * steps) * 8 + thread % 32 / 4;
        units.stride = TN_TILE_THREADS / (4 * steps);
        units.last = chunk.n - 1;
        units.row_elements = head_dim;
        units.words = (head_dim - d) / 2;
        units.to = slot * TN_TILE_STAGE_BYTES + thread * 16;
    } else {
        // [pair][8 units of 4 dims], units changing places so that four pairs' units lie in different banks.
        const uint32_t dim = (stage - steps) * 32 + thread % 8 * 4, d = dim < head_dim ? dim : 0;
        units.from = chunk.keys + TN_KV_CHUNK * head_dim + 2 * d;
        units.row = thread / 8;
        units.stride = TN_TILE_THREADS / 8;
        units.last = (chunk.n - 1) / 2;
        units.row_elements = 2 * head_dim;
        units.words = head_dim - d;
        units.to = slot * TN_TILE_STAGE_BYTES + (thread / 8 * 8 + (thread % 8 ^ thread / 8 % 4 * 2)) * 16;
    }
    return units;
}

TN_FN const int16_t *tn_tile_unit(const tn_tile_units &units, uint32_t j)
{
    const uint32_t row = units.row + j * units.stride;
    return units.from + (row < units.last ? row : units.last) * units.row_elements;
}

// Asks for a stage of a chunk.
template <uint32_t steps>
TN_FN void tn_tile_load(const tn_tile_shared &s, const tn_tile_chunk &chunk, uint32_t stage, uint32_t slot, uint32_t head_dim)
{
    const tn_tile_units units = tn_tile_units_of<steps>(chunk, stage, slot, head_dim);
    if (head_dim % 8 == 0) {
        TN_UNROLL
        for (uint32_t j = 0; j < 4; j++) tn_async16(s.stages, units.to + j * TN_TILE_THREADS * 16, tn_tile_unit(units, j));
    } else {
        TN_ROLLED
        for (uint32_t j = 0; j < 4; j++) tn_load_unit(s.stages, units.to + j * TN_TILE_THREADS * 16, tn_tile_unit(units, j), units.words);
    }
}

// The walk over the stages of all chunks.
struct tn_tile_queue {
    tn_tile_chunk chunk, next;
    uint32_t slot; // of the stage to be taken
};

// Waits until the stage is there for all warps and asks for the one behind the next. Its slot.
template <uint32_t steps> TN_FN uint32_t tn_tile_take(const tn_tile_shared &s, tn_tile_queue &queue, uint32_t stage, uint32_t head_dim)
{
    const uint32_t slot = queue.slot, later = stage + 2, free_slot = slot == 0 ? TN_TILE_STAGES - 1 : slot - 1;
    tn_async_wait<1>();
    tn_sync();
    if (later < 2 * steps)
        tn_tile_load<steps>(s, queue.chunk, later, free_slot, head_dim);
    else if (queue.next.n > 0)
        tn_tile_load<steps>(s, queue.next, later - 2 * steps, free_slot, head_dim);
    tn_async_commit();
    queue.slot = slot == TN_TILE_STAGES - 1 ? 0 : slot + 1;
    return slot;
}

// ---- queries ----

// Rows of the lane: row g and g + 8 of the warp's. n_positions: that it sees; 0: there is no such row.
struct tn_tile_rows {
    uint32_t n_positions[2];
    float q_scale[2];
};

TN_FN uint32_t tn_tile_token(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t row)
{
    return job.first + row / (p.n_heads / p.n_kv_heads);
}
TN_FN uint32_t tn_tile_head(const tn_cuda_attention_params &p, const tn_tile_job &job, uint32_t row)
{
    const uint32_t group = p.n_heads / p.n_kv_heads;
    return job.kv_head * group + row % group;
}

// The codes of the warp's rows as mma's left factor, by the warp.
template <uint32_t steps> TN_FN void tn_tile_queries(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_job &job)
{
    const uint32_t n_rows = job.n * (p.n_heads / p.n_kv_heads), head_dim = p.rope.head_dim;
    const uint32_t warp = tn_late(tn_warp()), warp_at = warp * steps * 1024, lane = tn_late(tn_lane());
    TN_UNROLL
    for (uint32_t j = 0; j < 2 * steps; j++) tn_shared_store16(s.q, warp_at + (j * 32 + lane) * 16, (tn_u4{0, 0, 0, 0}));
    tn_sync_warp();
    TN_ROLLED
    for (uint32_t r = 0; r < 16; r++) {
        const uint32_t row = job.first_row + warp * 16 + r;
        if (row >= n_rows) {
            if (lane == 0) s.q_scale[warp * 16 + r] = 0.0f;
            continue;
        }
        const float *x = tn_x_row(p.step, p.q, tn_tile_token(p, job, row)) + (size_t)tn_tile_head(p, job, row) * head_dim;
        const tn_head head = tn_head_take<1000>(p.rope, x, 0);
        const tn_head_codes codes = tn_head_codes_of(head, p.rope.a_qk, p.rope.recip_a_qk);
        TN_UNROLL
        for (uint32_t j = 0; j < 2 * TN_LANE_PAIRS; j++) {
            const uint32_t pair = lane + 32 * (j / 2);
            if (pair >= head_dim / 2) continue;
            const uint32_t d = j % 2 == 0 ? tn_pair_first(p.rope, pair) : tn_pair_second(p.rope, pair);
            const int32_t code = tn_round_int((j % 2 == 0 ? head.first[j / 2] : head.second[j / 2]) * codes.to_codes);
            const uint32_t at = warp_at + (d / 32 * 64 + r % 8 * 4 + d % 32 / 8) * 16 + (r / 8 + d % 8 / 4 * 2) * 4 + d % 4;
            s.q[at] = tn_limb_high(code);
            s.q[at + 512] = tn_limb_low(code);
        }
        if (lane == 0) s.q_scale[warp * 16 + r] = codes.scale * p.log2e_by_sqrt;
    }
    tn_sync_warp();
}

TN_FN tn_tile_rows tn_tile_rows_of(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_job &job)
{
    tn_tile_rows rows;
    TN_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t of_block = tn_warp() * 16 + tn_lane() / 4 + 8 * i, row = job.first_row + of_block;
        rows.n_positions[i] = 0;
        if (row < job.n * (p.n_heads / p.n_kv_heads)) rows.n_positions[i] = p.step.words[p.step.positions + tn_tile_token(p, job, row)] + 1;
        rows.q_scale[i] = s.q_scale[of_block];
    }
    return rows;
}

// ---- dots ----

TN_FN void tn_tile_factor(TN_SHARED_ARG(uint8_t, q), uint32_t at, uint32_t (&a)[4])
{
    const tn_u4 v = tn_shared_load16(q, at);
    a[0] = v.x;
    a[1] = v.y;
    a[2] = v.z;
    a[3] = v.w;
}

// Dots of the warp's rows with the positions of a stage, two products of eight positions at a time.
template <uint32_t steps>
TN_FN void tn_tile_dots(const tn_tile_shared &s, uint32_t stage, uint32_t slot, int32_t (&dots)[TN_TILE_COLUMNS][4])
{
    constexpr uint32_t columns = TN_TILE_COLUMNS / steps;
    const uint32_t warp = tn_late(tn_warp()), lane = tn_late(tn_lane());
    TN_UNROLL
    for (uint32_t first = 0; first < columns; first += 2) {
        tn_tile_sums sums[2] = {};
        TN_UNROLL
        for (uint32_t step = 0; step < steps; step++) {
            uint32_t high[4], low[4];
            tn_tile_factor(s.q, ((warp * steps + step) * 64 + lane) * 16, high);
            tn_tile_factor(s.q, ((warp * steps + step) * 64 + 32 + lane) * 16, low);
            TN_UNROLL
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t unit = ((first + j) * steps + step) * 32 + lane;
                const tn_u4 k = tn_shared_load16(s.stages, slot * TN_TILE_STAGE_BYTES + unit * 16);
                tn_tile_multiply(sums[j], high, low, tn_tile_limbs_of(k.x, k.y, k.z, k.w));
            }
        }
        TN_UNROLL
        for (uint32_t j = 0; j < 8; j++) dots[stage * columns + first + j / 4][j % 4] = tn_tile_sum(sums[j / 4], j % 4);
    }
}

// ---- weights ----

// Of the lane's two rows, a chunk's share but for the sums over values; then what brings shares so far and this one to the same exponent.
struct tn_tile_weights {
    uint32_t high[TN_KV_CHUNK / 32][4], low[TN_KV_CHUNK / 32][4]; // mma's left factor
    float u_scale[2], by[2], by_chunk[2];
};
struct tn_tile_state {
    int32_t m[2];
    float l[2];
};

// The scales of the chunk's positions, one a thread, on their way to shared memory.
struct tn_tile_scales {
    float k, v;
};
TN_FN tn_tile_scales tn_tile_load_scales(const tn_tile_chunk &chunk, uint32_t head_dim)
{
    tn_tile_scales scales = {0.0f, 0.0f};
    if (tn_thread() >= chunk.n) return scales;
    const float *at = reinterpret_cast<const float *>(chunk.keys + 2 * TN_KV_CHUNK * head_dim) + tn_thread();
    scales.k = at[0];
    scales.v = at[TN_KV_CHUNK];
    return scales;
}
TN_FN void tn_tile_store_scales(const tn_tile_shared &s, const tn_tile_scales &scales)
{
    const uint32_t thread = tn_late(tn_thread()), column = thread / 8, lane = thread % 8 / 2,
                   at = (column / 2 * 4 + lane) * 4 + column % 2 * 2 + thread % 2;
    s.scales[at] = scales.k;
    s.scales[TN_KV_CHUNK + at] = scales.v;
}
// Those of the lane's positions in two columns; of keys (which = 0) or values.
TN_FN void tn_tile_take_scales(const tn_tile_shared &s, uint32_t which, uint32_t column, float (&scales)[4])
{
    const tn_u4 v = tn_shared_load16(s.scales, which * TN_KV_CHUNK + (column / 2 * 4 + tn_lane() % 4) * 4);
    scales[0] = tn_float(v.x);
    scales[1] = tn_float(v.y);
    scales[2] = tn_float(v.z);
    scales[3] = tn_float(v.w);
}

// Logits in place of dots; positions that a row does not see get TN_NO_LOGIT. The largest of each row.
TN_FN void tn_tile_logits(const tn_tile_shared &s, const tn_tile_rows &rows, const uint32_t (&n)[2],
                          const int32_t (&dots)[TN_TILE_COLUMNS][4], float (&t)[TN_TILE_COLUMNS][4], float (&largest)[2])
{
    largest[0] = largest[1] = TN_NO_LOGIT;
    TN_UNROLL
    for (uint32_t first = 0; first < TN_TILE_COLUMNS; first += 2) {
        float scales[4];
        tn_tile_take_scales(s, 0, first, scales);
        TN_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const uint32_t column = first + j / 4, i = j % 4, row = i / 2, position = column * 8 + tn_lane() % 4 * 2 + i % 2;
            const float logit = tn_logit_of(dots[column][i], rows.q_scale[row], scales[j / 4 * 2 + i % 2]);
            t[column][i] = position < n[row] ? logit : TN_NO_LOGIT;
            largest[row] = t[column][i] > largest[row] ? t[column][i] : largest[row];
        }
    }
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const float other = tn_shfl_xor(largest[i % 2], 1 + i / 2);
        largest[i % 2] = other > largest[i % 2] ? other : largest[i % 2];
    }
}

// Weights times scales of values in place of logits; their largest, and the sum of weights, of each row.
TN_FN void tn_tile_weigh(const tn_tile_shared &s, const int32_t (&m)[2], float (&t)[TN_TILE_COLUMNS][4], uint32_t (&w_max)[2],
                         int32_t (&l)[2])
{
    w_max[0] = w_max[1] = 0;
    l[0] = l[1] = 0;
    TN_UNROLL
    for (uint32_t first = 0; first < TN_TILE_COLUMNS; first += 2) {
        float scales[4];
        tn_tile_take_scales(s, 1, first, scales);
        TN_UNROLL
        for (uint32_t j = 0; j < 8; j++) {
            const uint32_t column = first + j / 4, i = j % 4, row = i / 2;
            const float weight = tn_weight_of(tn_exponent_of(t[column][i]), m[row]);
            l[row] += tn_weight_units(weight);
            t[column][i] = weight * scales[j / 4 * 2 + i % 2];
            w_max[row] = tn_bits(t[column][i]) > w_max[row] ? tn_bits(t[column][i]) : w_max[row];
        }
    }
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t other = tn_shfl_xor(w_max[i % 2], 1 + i / 2);
        w_max[i % 2] = other > w_max[i % 2] ? other : w_max[i % 2];
        l[i % 2] += tn_shfl_xor(l[i % 2], 1 + i / 2);
    }
}

// Codes of weights, as the sums over keys have them, to mma's left factor.
TN_FN void tn_tile_codes(const float (&w)[TN_TILE_COLUMNS][4], const float (&to_codes)[2], tn_tile_weights &weights)
{
    TN_UNROLL
    for (uint32_t step = 0; step < TN_KV_CHUNK / 32; step++) {
        TN_UNROLL
        for (uint32_t row = 0; row < 2; row++) {
            uint32_t words[4];
            TN_UNROLL
            for (uint32_t j = 0; j < 4; j++) {
                const uint32_t first = (uint32_t)tn_round_int(w[step * 4 + j][row * 2] * to_codes[row]);
                const uint32_t second = (uint32_t)tn_round_int(w[step * 4 + j][row * 2 + 1] * to_codes[row]);
                words[j] = (first & 0xffffu) | second << 16;
            }
            const tn_tile_limbs limbs = tn_tile_limbs_of(words[0], words[1], words[2], words[3]);
            weights.high[step][row] = limbs.high[0];
            weights.high[step][row + 2] = limbs.high[1];
            weights.low[step][row] = limbs.low[0];
            weights.low[step][row + 2] = limbs.low[1];
        }
    }
}

TN_FN float tn_tile_power(int32_t n) { return n < -60 ? 0.0f : tn_pow2(n); }

// A row's first chunk is combined with nothing as with a sum of 0 far below it: F leaves shares of a chunk, which are 0 or above 2^-80, as
// they are. A chunk that the row does not see changes nothing.
TN_FN void tn_tile_weights_of(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_rows &rows, uint32_t chunk,
                              const int32_t (&dots)[TN_TILE_COLUMNS][4], tn_tile_state &state, tn_tile_weights &weights)
{
    uint32_t n[2], w_max[2];
    float t[TN_TILE_COLUMNS][4], largest[2], to_codes[2];
    int32_t m[2], l[2];
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++)
        n[row] = rows.n_positions[row] > chunk * TN_KV_CHUNK ? rows.n_positions[row] - chunk * TN_KV_CHUNK : 0;
    tn_tile_logits(s, rows, n, dots, t, largest);
    m[0] = tn_round_int(largest[0]);
    m[1] = tn_round_int(largest[1]);
    tn_tile_weigh(s, m, t, w_max, l);
    TN_UNROLL
    for (uint32_t row = 0; row < 2; row++) {
        const int32_t both = state.m[row] > m[row] ? state.m[row] : m[row];
        to_codes[row] = tn_weights_to_codes(w_max[row]);
        weights.u_scale[row] = tn_float(w_max[row]) * p.recip_a_v;
        weights.by[row] = n[row] > 0 ? tn_tile_power(state.m[row] - both) : 1.0f;
        weights.by_chunk[row] = n[row] > 0 ? tn_tile_power(m[row] - both) : 0.0f;
        const float l_chunk = (float)l[row] * 0x1p-22f;
        state.l[row] = tn_f100(state.l[row] * weights.by[row]) + tn_f100(l_chunk * weights.by_chunk[row]);
        if (n[row] > 0) state.m[row] = both;
    }
    tn_tile_codes(t, to_codes, weights);
}

// ---- values ----

TN_FN uint32_t tn_tile_word(const tn_u4 &v, uint32_t i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// 32 dims of the rows' outputs with one more chunk.
TN_FN void tn_tile_values(const tn_tile_shared &s, uint32_t slot, const tn_tile_weights &weights, float (&o)[4][4])
{
    const uint32_t lane = tn_late(tn_lane()), g = lane / 4, t = lane % 4;
    tn_tile_sums sums[4] = {};
    TN_UNROLL
    for (uint32_t step = 0; step < TN_KV_CHUNK / 32; step++) {
        tn_u4 v[4];
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t unit = (step * 16 + i * 4 + t) * 8 + (g ^ t * 2);
            v[i] = tn_shared_load16(s.stages, slot * TN_TILE_STAGE_BYTES + unit * 16);
        }
        TN_UNROLL
        for (uint32_t j = 0; j < 4; j++) {
            const tn_tile_limbs limbs =
                tn_tile_limbs_of(tn_tile_word(v[0], j), tn_tile_word(v[1], j), tn_tile_word(v[2], j), tn_tile_word(v[3], j));
            tn_tile_multiply(sums[j], weights.high[step], weights.low[step], limbs);
        }
    }
    TN_UNROLL
    for (uint32_t j = 0; j < 16; j++) {
        const uint32_t row = j % 4 / 2;
        const float o_chunk = (float)tn_tile_sum(sums[j / 4], j % 4) * weights.u_scale[row];
        o[j / 4][j % 4] = tn_f100(o[j / 4][j % 4] * weights.by[row]) + tn_f100(o_chunk * weights.by_chunk[row]);
    }
}

// ---- rows ----

template <uint32_t steps>
TN_FN void tn_tile_store(const tn_cuda_attention_params &p, const tn_tile_job &job, const tn_tile_rows &rows, const tn_tile_state &state,
                         const float (&o)[steps][4][4])
{
    TN_UNROLL
    for (uint32_t i = 0; i < 2; i++) {
        if (rows.n_positions[i] == 0) continue;
        const uint32_t row = job.first_row + tn_late(tn_warp()) * 16 + tn_late(tn_lane()) / 4 + 8 * i, lane = tn_late(tn_lane());
        const uint32_t token = tn_tile_token(p, job, row), head = tn_tile_head(p, job, row);
        TN_UNROLL
        for (uint32_t j = 0; j < 2 * steps; j++) {
            const uint32_t d = j / 2 * 32 + lane % 4 * 8 + j % 2 * 4;
            tn_share share;
            TN_UNROLL
            for (uint32_t k = 0; k < 4; k++) share.o[k] = o[j / 2][k][i * 2 + j % 2];
            share.l = state.l[i];
            share.m = state.m[i];
            if (d < p.rope.head_dim) tn_store_share(p, token, head, d, share);
        }
    }
}

// TN_TILE_ROWS rows from job.first_row on.
template <uint32_t steps> TN_FN void tn_tile_pass(const tn_cuda_attention_params &p, const tn_tile_shared &s, const tn_tile_job &job)
{
    const uint32_t head_dim = p.rope.head_dim, n_chunks = (job.n_positions + TN_KV_CHUNK - 1) / TN_KV_CHUNK;
    tn_tile_queue queue;
    queue.chunk = tn_tile_chunk_of(p, job, 0);
    queue.slot = 0;
    tn_tile_load<steps>(s, queue.chunk, 0, 0, head_dim);
    tn_async_commit();
    tn_tile_load<steps>(s, queue.chunk, 1, 1, head_dim);
    tn_async_commit();
    tn_tile_scales scales = tn_tile_load_scales(queue.chunk, head_dim);
    tn_tile_queries<steps>(p, s, job);
    const tn_tile_rows rows = tn_tile_rows_of(p, s, job);
    tn_tile_state state = {{TN_NO_EXPONENT, TN_NO_EXPONENT}, {0.0f, 0.0f}};
    float o[steps][4][4] = {};
    TN_ROLLED
    for (uint32_t chunk = 0; TN_MAKES_EARLY ? queue.chunk.n > 0 : chunk < n_chunks; chunk++) {
        queue.next = tn_tile_chunk_of(p, job, chunk + 1);
        tn_tile_store_scales(
            s, scales); // read behind the barriers of this chunk's keys; those of the last one lie behind all that read before
        int32_t dots[TN_TILE_COLUMNS][4];
        TN_UNROLL
        for (uint32_t stage = 0; stage < steps; stage++)
            tn_tile_dots<steps>(s, stage, tn_tile_take<steps>(s, queue, stage, head_dim), dots);
        tn_tile_weights weights;
        tn_tile_weights_of(p, s, rows, chunk, dots, state, weights);
        scales = tn_tile_load_scales(queue.next, head_dim);
        TN_UNROLL
        for (uint32_t stage = 0; stage < steps; stage++)
            tn_tile_values(s, tn_tile_take<steps>(s, queue, steps + stage, head_dim), weights, o[stage]);
        queue.chunk = queue.next;
    }
    tn_tile_store<steps>(p, job, rows, state, o);
    tn_sync(); // stages are filled again for the next rows
}

// The tokens of one sequence.
TN_FN void tn_tile_run(const tn_cuda_attention_params &p, const tn_tile_shared &s, tn_tile_job job)
{
    job.n_positions = p.step.words[p.step.positions + job.first + job.n - 1] + 1;
    const uint32_t n_rows = job.n * (p.n_heads / p.n_kv_heads);
    TN_ROLLED
    for (job.first_row = 0; job.first_row < (TN_MAKES_EARLY ? tn_late(job.n) * (p.n_heads / p.n_kv_heads) : n_rows);
         job.first_row += TN_TILE_ROWS) {
        job.n_positions = tn_late(job.n_positions);
        if (p.rope.head_dim > 64)
            tn_tile_pass<4>(p, s, job);
        else
            tn_tile_pass<2>(p, s, job);
    }
}

#endif
