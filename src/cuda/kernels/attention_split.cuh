// Attention of one token: the query heads of a KV head over every n_splits'th chunk of 128 positions, by a block of four warps.
//
// A warp has 32 positions of a chunk, keys and values. It reads them in units of 16 bytes, neighbouring lanes neighbouring units, as far
// ahead as the ring has room: the ring is a queue of each thread's own, in shared memory because registers are few, and needs no barrier. A
// lane multiplies its 8 dims of a key with the same dims of all query heads, and sums are exchanged so that every lane ends with the dots
// of one head and some positions. Only the largest exponent, the largest weight and the sum of weights are told to the other warps. For the
// values a lane has 4 dims of pairs of positions; the warps' sums meet in shared memory.
//
// Products are of int16 codes of the cache with limbs of 8 bits (dp2a), a high and a low one, exact modulo 2^32.
#ifndef TN_CUDA_ATTENTION_SPLIT_CUH
#define TN_CUDA_ATTENTION_SPLIT_CUH

#include "cuda/kernels/attention_combine.cuh"
#include "cuda/kernels/attention_weigh.cuh"
#include "cuda/kernels/kv_append.cuh"

enum {
    TN_SPLIT_THREADS = 128,
    TN_SPLIT_WARPS = TN_SPLIT_THREADS / 32,
    TN_SPLIT_HEADS = 8,   // query heads at a time at most, and
    TN_SPLIT_CELLS = 256, // of 4 dims, of all heads at a time
    TN_SPLIT_RING = 16,   // units of a thread
};

// Shared arrays of a block.
struct tn_split_shared {
    TN_SHARED_ARG(uint8_t, ring);    // [TN_SPLIT_RING][threads][16]
    TN_SHARED_ARG(uint8_t, q);       // [heads][units of 8 dims][high, low][8]
    TN_SHARED_ARG(float, q_scale);   // [heads]
    TN_SHARED_ARG(int32_t, dots);    // [heads][threads], each seen by its own thread alone
    TN_SHARED_ARG(uint8_t, u);       // [warps][8 groups of 4 positions][heads][high, low][4]
    TN_SHARED_ARG(uint32_t, w_max);  // [warps][TN_SPLIT_HEADS]
    TN_SHARED_ARG(int32_t, l);       // the same
    TN_SHARED_ARG(int32_t, m);       // the same, of even and of odd chunks of the walk: the next ones are stored while these are read
    TN_SHARED_ARG(uint32_t, sums);   // [heads][4 dims][units of values]
    TN_SHARED_ARG(uint16_t, own);    // codes of the token's own key [256] and value [256]
    TN_SHARED_ARG(float, own_scale); // of both
};

// How a warp reads and computes: `lanes` have a key, `heads` query heads are done at a time.
template <uint32_t lanes_of_key, uint32_t heads_at_a_time> struct tn_split_form {
    static constexpr uint32_t lanes = lanes_of_key, heads = heads_at_a_time;
    static constexpr uint32_t keys = 32 / lanes;       // in a load of the warp
    static constexpr uint32_t value_units = 2 * lanes; // of a pair of values, padded
    static constexpr uint32_t value_lanes = value_units < 32 ? value_units : 32;
    static constexpr uint32_t pairs = 32 / value_lanes;                // of values in a load of the warp
    static constexpr uint32_t value_loads = value_units / value_lanes; // for such pairs
    static constexpr uint32_t batch = lanes < 32 ? 4 : 8;              // loads that are waited for together
    static constexpr uint32_t batches = lanes / batch;                 // for the keys of a chunk, and for its values
    static constexpr uint32_t ring_batches = TN_SPLIT_RING / batch;
    static constexpr uint32_t ahead = ring_batches - 1;
    static constexpr uint32_t round = lanes / heads;       // loads of keys between two exchanges of sums
    static constexpr uint32_t cells = heads * value_units; // of 4 dims of a head
    static constexpr uint32_t thread_cells = (cells + TN_SPLIT_THREADS - 1) / TN_SPLIT_THREADS;
};

// What a block works on: chunks split, split + n_splits, .. of a token and KV head.
struct tn_split_job {
    uint32_t token, kv_head, seq, position, n_chunks, split, n_splits;
};
// How it does: shares of chunks are left for the last block, the same with RoPE and append in front, or one block walks all chunks.
enum { TN_SPLIT_PLAIN, TN_SPLIT_APPENDS, TN_SPLIT_WALKS };

// A chunk of a KV head. Of the n positions that the token sees n_stored are in the cache: all but its own, where that is not yet.
struct tn_split_chunk {
    const int16_t *keys; // of which the rest follows
    uint32_t n, n_stored;
};

template <bool appends> TN_FN tn_split_chunk tn_split_chunk_of(const tn_cuda_attention_params &p, const tn_split_job &job, uint32_t chunk)
{
    tn_split_chunk at;
    at.keys = 0;
    at.n = at.n_stored = 0;
    if (chunk >= job.n_chunks) return at;
    const uint32_t rest = job.position + 1 - chunk * TN_KV_CHUNK;
    at.keys = tn_kv_head_of(p.kv, tn_kv_page(p.step, job.seq, chunk), job.kv_head, p.rope.head_dim).keys;
    at.n = rest < TN_KV_CHUNK ? rest : (uint32_t)TN_KV_CHUNK;
    at.n_stored = appends && chunk == job.n_chunks - 1 ? at.n - 1 : at.n;
    return at;
}
// Whose codes and scales are read for a position: its own, or those of one that is there.
TN_FN uint32_t tn_split_stored(const tn_split_chunk &chunk, uint32_t position)
{
    return position < chunk.n_stored ? position : chunk.n_stored > 0 ? chunk.n_stored - 1 : 0;
}

// ---- loads ----

TN_FN uint32_t tn_split_ring_at(uint32_t unit) { return (unit * TN_SPLIT_THREADS + tn_thread()) * 16; }

// Asks for a batch of a chunk's units, keys first. Lanes without a unit load one that others have, for nothing.
template <class form>
TN_FN void tn_split_load(const tn_split_shared &s, const tn_split_chunk &chunk, uint32_t batch, uint32_t ring_batch, uint32_t head_dim)
{
    const bool is_keys = batch < form::batches;
    const uint32_t first = (is_keys ? batch : batch - form::batches) * form::batch;
    TN_UNROLL
    for (uint32_t j = 0; j < form::batch; j++) {
        const uint32_t load = first + j, to = tn_split_ring_at(ring_batch * form::batch + j);
        if (is_keys) {
            const uint32_t unit = tn_lane() % form::lanes, d = unit * 8 < head_dim ? unit * 8 : 0;
            const uint32_t position = tn_split_stored(chunk, tn_warp() * 32 + load * form::keys + tn_lane() / form::lanes);
            tn_load_unit(s.ring, to, chunk.keys + position * head_dim + d, (head_dim - d) / 2);
        } else {
            const uint32_t lane = tn_late<1200>(tn_lane());
            const uint32_t unit = lane % form::value_lanes + load % form::value_loads * 32, d = unit * 4 < head_dim ? unit * 4 : 0;
            const uint32_t pair = tn_late<1200>(tn_warp()) * 16 + load / form::value_loads * form::pairs + lane / form::value_lanes;
            const uint32_t stored = tn_split_stored(chunk, 2 * pair) / 2;
            tn_load_unit(s.ring, to, chunk.keys + TN_KV_CHUNK * head_dim + (stored * head_dim + d) * 2, head_dim - d);
        }
    }
}

// The walk of a thread's units through its ring: `taken` batches were taken out so far.
template <class form> struct tn_split_queue {
    tn_split_chunk chunk, next;
    uint32_t taken;
};

// Asks for what lies `ahead` batches behind this one, of this chunk or the next, and waits for this one. The ring's batch.
template <class form> TN_FN uint32_t tn_split_take(const tn_split_shared &s, tn_split_queue<form> &queue, uint32_t batch, uint32_t head_dim)
{
    const uint32_t later = batch + form::ahead, ring_batch = queue.taken % form::ring_batches;
    const uint32_t to = (queue.taken + form::ahead) % form::ring_batches;
    if (later < 2 * form::batches)
        tn_split_load<form>(s, queue.chunk, later, to, head_dim);
    else if (queue.next.n > 0)
        tn_split_load<form>(s, queue.next, later - 2 * form::batches, to, head_dim);
    tn_async_commit();
    tn_async_wait<form::ahead>();
    queue.taken++;
    return ring_batch;
}

// ---- queries ----

// The codes of a query head as limbs, by a warp. Dims that the head does not have are 0.
template <class form>
TN_FN void tn_split_store_query(const tn_cuda_rope &rope, const tn_split_shared &s, uint32_t h, const tn_head &head, float log2e_by_sqrt)
{
    const tn_head_codes codes = tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk);
    if (tn_lane() < form::lanes) tn_shared_store16(s.q, (h * form::lanes + tn_lane()) * 16, (tn_u4{0, 0, 0, 0}));
    tn_sync_warp();
    TN_UNROLL
    for (uint32_t j = 0; j < 2 * TN_LANE_PAIRS; j++) {
        const uint32_t pair = tn_lane() + 32 * (j / 2);
        if (pair >= rope.head_dim / 2) continue;
        const uint32_t d = j % 2 == 0 ? tn_pair_first(rope, pair) : tn_pair_second(rope, pair);
        const int32_t code = tn_round_int((j % 2 == 0 ? head.first[j / 2] : head.second[j / 2]) * codes.to_codes);
        const uint32_t at = (h * form::lanes + d / 8) * 16 + d % 8;
        s.q[at] = tn_limb_high(code);
        s.q[at + 8] = tn_limb_low(code);
    }
    if (tn_lane() == 0) s.q_scale[h] = codes.scale * log2e_by_sqrt;
}

// Query heads first_head .. of the token, turned where `appends`.
template <class form, bool appends>
TN_FN void tn_split_queries(const tn_cuda_attention_params &p, const tn_split_shared &s, const tn_split_job &job, uint32_t first_head,
                            uint32_t n_heads)
{
    for (uint32_t h = tn_warp(); h < form::heads; h += TN_SPLIT_WARPS) {
        tn_head head = {};
        if (h < n_heads) {
            const float *x = tn_x_row(p.step, appends ? p.rope.q : p.q, job.token) + (size_t)(first_head + h) * p.rope.head_dim;
            head = tn_head_take(p.rope, x, appends ? tn_rope_table_row(p.rope, job.position) : 0);
            if (appends && tn_lane() == 0) tn_mark_poison(p.step, p.poison, job.token, p.rope.q_node, tn_float(head.absmax));
        }
        tn_split_store_query<form>(p.rope, s, h, head, p.log2e_by_sqrt);
    }
}

// The token's own key (which = 0) or value: into the cache for later steps, and to where this block takes it from.
TN_FN void tn_split_append(const tn_cuda_attention_params &p, const tn_split_shared &s, const tn_split_job &job, uint32_t which)
{
    const tn_cuda_rope &rope = p.rope;
    const uint32_t page = tn_kv_page(p.step, job.seq, job.position / TN_KV_CHUNK), position = job.position % TN_KV_CHUNK;
    const float *x = tn_x_row(p.step, which == 0 ? rope.k : rope.v, job.token) + (size_t)job.kv_head * rope.head_dim;
    const tn_head head = tn_head_take(rope, x, which == 0 ? tn_rope_table_row(rope, job.position) : 0);
    const tn_head_codes codes =
        which == 0 ? tn_head_codes_of(head, rope.a_qk, rope.recip_a_qk) : tn_head_codes_of(head, TN_A_V, TN_RECIP_A_V);
    TN_UNROLL
    for (uint32_t j = 0; j < 2 * TN_LANE_PAIRS; j++) {
        const uint32_t pair = tn_lane() + 32 * (j / 2), d = j % 2 == 0 ? tn_pair_first(rope, pair) : tn_pair_second(rope, pair);
        const float value = j % 2 == 0 ? head.first[j / 2] : head.second[j / 2];
        if (pair < rope.head_dim / 2) s.own[which * TN_HEAD_DIM_MAX + d] = (uint16_t)tn_round_int(value * codes.to_codes);
    }
    for (uint32_t d = rope.head_dim + tn_lane(); d < TN_HEAD_DIM_MAX; d += 32) s.own[which * TN_HEAD_DIM_MAX + d] = 0;
    if (tn_lane() == 0) s.own_scale[which] = codes.scale;
    if (which == 0 && tn_lane() == 0) tn_mark_poison(p.step, p.poison, job.token, rope.k_node, tn_float(head.absmax));
    if (page >= p.kv.n_pages) return;
    const tn_kv_head kv = tn_kv_head_of(p.kv, page, job.kv_head, rope.head_dim);
    if (which == 0)
        tn_append_key(rope, head, codes, kv, position);
    else
        tn_append_value(rope, head, codes, kv, position);
}

// ---- dots ----

// A step of the exchange below: lanes whose numbers differ by `half` share 2 * half sums, the upper one keeps the upper ones.
template <uint32_t half> TN_FN void tn_split_halve(uint32_t *v)
{
    const bool is_upper = (tn_lane() & half) != 0;
    TN_UNROLL
    for (uint32_t i = 0; i < half; i++) {
        const uint32_t low = v[i], high = v[i + half];
        v[i] = (is_upper ? high : low) + tn_shfl_xor(is_upper ? low : high, half);
    }
}
// Lane i of each n lanes gets the sum over them of v[i]; modulo 2^32, since poisoned sequences pass it.
template <uint32_t n> TN_FN int32_t tn_split_exchange(uint32_t *v)
{
    if (n > 16) tn_split_halve<16>(v);
    if (n > 8) tn_split_halve<8>(v);
    tn_split_halve<4>(v);
    tn_split_halve<2>(v);
    tn_split_halve<1>(v);
    return (int32_t)v[0];
}

// The dots of the lane's head with positions tn_split_position<form>(0), (1), .. to s.dots.
template <class form, bool appends> TN_FN void tn_split_dots(const tn_split_shared &s, tn_split_queue<form> &queue, uint32_t head_dim)
{
    const uint32_t unit = tn_lane() % form::lanes;
    tn_u4 q[form::heads];
    TN_UNROLL
    for (uint32_t h = 0; h < form::heads; h++) q[h] = tn_shared_load16(s.q, (h * form::lanes + unit) * 16);
    TN_ROLLED
    for (uint32_t batch = 0; batch < form::batches; batch++) {
        const uint32_t from = tn_split_take<form>(s, queue, batch, head_dim) * form::batch;
        uint32_t v[form::lanes] = {};
        TN_UNROLL
        for (uint32_t j = 0; j < form::batch; j++) {
            tn_u4 k = tn_shared_load16(s.ring, tn_split_ring_at(from + j));
            if (appends) {
                const uint32_t position = tn_warp() * 32 + (batch * form::batch + j) * form::keys + tn_lane() / form::lanes;
                if (position == queue.chunk.n_stored && position < queue.chunk.n) k = tn_shared_load16(s.own, unit * 8);
            }
            TN_UNROLL
            for (uint32_t h = 0; h < form::heads; h++) {
                int32_t high = tn_dp2a_lo(k.x, q[h].x, 0);
                high = tn_dp2a_hi(k.y, q[h].x, high);
                high = tn_dp2a_lo(k.z, q[h].y, high);
                high = tn_dp2a_hi(k.w, q[h].y, high);
                int32_t dot = tn_dp2a_lo(k.x, q[h].z, (int32_t)((uint32_t)high << 7));
                dot = tn_dp2a_hi(k.y, q[h].z, dot);
                dot = tn_dp2a_lo(k.z, q[h].w, dot);
                v[j % form::round * form::heads + h] = (uint32_t)tn_dp2a_hi(k.w, q[h].w, dot);
            }
            if (j % form::round == form::round - 1) {
                const uint32_t at = (batch * form::batch + j) / form::round;
                s.dots[at * TN_SPLIT_THREADS + tn_thread()] = tn_split_exchange<form::lanes>(v);
            }
        }
    }
}
// The position in the chunk of the lane's i'th dot.
template <class form> TN_FN uint32_t tn_split_position(uint32_t i)
{
    const uint32_t load = i * form::round + tn_lane() % form::lanes / form::heads;
    return tn_warp() * 32 + load * form::keys + tn_lane() / form::lanes;
}

// ---- weights ----

template <class form> struct tn_split_scales {
    float k[form::heads], v[form::heads]; // of the lane's positions
};
template <class form, bool appends>
TN_FN tn_split_scales<form> tn_split_load_scales(const tn_split_shared &s, const tn_split_chunk &chunk, uint32_t head_dim)
{
    const float *in_cache = reinterpret_cast<const float *>(chunk.keys + 2 * TN_KV_CHUNK * head_dim);
    tn_split_scales<form> scales;
    TN_UNROLL
    for (uint32_t i = 0; i < form::heads; i++) {
        const uint32_t position = tn_split_position<form>(i), at = tn_split_stored(chunk, position);
        const bool is_own = appends && position == chunk.n_stored && position < chunk.n;
        scales.k[i] = is_own ? (float)s.own_scale[0] : in_cache[at];
        scales.v[i] = is_own ? (float)s.own_scale[1] : in_cache[TN_KV_CHUNK + at];
    }
    return scales;
}

// The codes of the weight of a position, for the warp's own lanes.
template <class form> TN_FN void tn_split_store_weight(const tn_split_shared &s, uint32_t position, uint32_t h, int32_t code)
{
    const uint32_t pair = position % 32 / 2, load = pair / form::pairs; // of pairs, not counting loads of one pair twice
    const uint32_t group = load / 2 * form::pairs + pair % form::pairs, byte = load % 2 * 2 + position % 2;
    const uint32_t at = ((tn_warp() * 8 + group) * form::heads + h) * 8 + byte;
    s.u[at] = tn_limb_high(code);
    s.u[at + 4] = tn_limb_low(code);
}

// `set`: where m goes.
template <class form> TN_FN void tn_split_weigh(const tn_split_shared &s, const tn_split_scales<form> &scales, uint32_t n, uint32_t set)
{
    const uint32_t h = tn_lane() % form::heads, m_at = set * TN_SPLIT_WARPS * TN_SPLIT_HEADS + h;
    const float q_scale = s.q_scale[h];
    tn_exponent e[form::heads];
    int32_t m = TN_NO_EXPONENT;
    TN_UNROLL
    for (uint32_t i = 0; i < form::heads; i++) {
        e[i] = tn_exponent_of(tn_logit_of(s.dots[i * TN_SPLIT_THREADS + tn_thread()], q_scale, scales.k[i]));
        if (tn_split_position<form>(i) >= n) e[i].n = TN_NO_EXPONENT;
        m = e[i].n > m ? e[i].n : m;
    }
    TN_UNROLL
    for (uint32_t mask = form::heads; mask < 32; mask *= 2) {
        const int32_t other = tn_shfl_xor(m, mask);
        m = other > m ? other : m;
    }
    if (tn_lane() < form::heads) s.m[m_at + tn_warp() * TN_SPLIT_HEADS] = m;
    tn_sync();
    TN_UNROLL
    for (uint32_t warp = 0; warp < TN_SPLIT_WARPS; warp++) {
        const int32_t other = s.m[m_at + warp * TN_SPLIT_HEADS];
        m = other > m ? other : m;
    }
    uint32_t w_max = 0;
    int32_t l = 0;
    TN_UNROLL
    for (uint32_t i = 0; i < form::heads; i++) {
        const float weight = tn_weight_of(e[i], m);
        l += tn_weight_units(weight);
        e[i].p = weight * scales.v[i];
        w_max = tn_bits(e[i].p) > w_max ? tn_bits(e[i].p) : w_max;
    }
    TN_UNROLL
    for (uint32_t mask = form::heads; mask < 32; mask *= 2) {
        const uint32_t other = tn_shfl_xor(w_max, mask);
        w_max = other > w_max ? other : w_max;
        l += tn_shfl_xor(l, mask);
    }
    if (tn_lane() < form::heads) {
        s.w_max[tn_warp() * TN_SPLIT_HEADS + h] = w_max;
        s.l[tn_warp() * TN_SPLIT_HEADS + h] = l;
    }
    tn_sync();
    TN_UNROLL
    for (uint32_t warp = 0; warp < TN_SPLIT_WARPS; warp++) {
        const uint32_t other = s.w_max[warp * TN_SPLIT_HEADS + h];
        w_max = other > w_max ? other : w_max;
    }
    const float to_codes = tn_weights_to_codes(w_max);
    TN_UNROLL
    for (uint32_t i = 0; i < form::heads; i++)
        tn_split_store_weight<form>(s, tn_split_position<form>(i), h, tn_round_int(e[i].p * to_codes));
    tn_sync_warp();
}

// ---- values ----

// The token's own value in place of what the cache has there.
TN_FN tn_u4 tn_split_with_own(const tn_split_shared &s, tn_u4 v, uint32_t d, bool is_second)
{
    const uint32_t own[4] = {s.own[TN_HEAD_DIM_MAX + d], s.own[TN_HEAD_DIM_MAX + d + 1], s.own[TN_HEAD_DIM_MAX + d + 2],
                             s.own[TN_HEAD_DIM_MAX + d + 3]};
    if (!is_second) return {own[0], own[1], own[2], own[3]};
    return {(v.x & 0xffffu) | own[0] << 16, (v.y & 0xffffu) | own[1] << 16, (v.z & 0xffffu) | own[2] << 16, (v.w & 0xffffu) | own[3] << 16};
}

// sums += the products of a head's weights of eight positions, four in a word of high limbs and in one of low limbs, with four dims of
// values.
TN_FN void tn_split_add(uint32_t (&sums)[4], const tn_u4 (&v)[4], uint32_t high0, uint32_t low0, uint32_t high1, uint32_t low1)
{
    const uint32_t words[4][4] = {{v[0].x, v[1].x, v[2].x, v[3].x},
                                  {v[0].y, v[1].y, v[2].y, v[3].y},
                                  {v[0].z, v[1].z, v[2].z, v[3].z},
                                  {v[0].w, v[1].w, v[2].w, v[3].w}};
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t *w = words[i];
        const int32_t high = tn_dp2a_hi(w[3], high1, tn_dp2a_lo(w[2], high1, tn_dp2a_hi(w[1], high0, tn_dp2a_lo(w[0], high0, 0))));
        const int32_t sum = tn_dp2a_hi(w[1], low0, tn_dp2a_lo(w[0], low0, (int32_t)sums[i]));
        sums[i] = (uint32_t)tn_dp2a_hi(w[3], low1, tn_dp2a_lo(w[2], low1, sum)) + ((uint32_t)high << 7);
    }
}

// Four loads of a lane's pairs of values, out of the ring.
template <class form, bool appends>
TN_FN void tn_split_take_values(const tn_split_shared &s, const tn_split_chunk &chunk, uint32_t batch, uint32_t ring_at, uint32_t part,
                                uint32_t head_dim, tn_u4 (&v)[4])
{
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        v[i] = tn_shared_load16(s.ring, tn_split_ring_at(ring_at + i * form::value_loads + part));
        if (!appends) continue;
        const uint32_t pair = tn_warp() * 16 + (batch * 4 + i) * form::pairs + tn_lane() / form::value_lanes;
        const uint32_t d = (tn_lane() % form::value_lanes + part * 32) * 4;
        if (pair == chunk.n_stored / 2 && chunk.n_stored < chunk.n && d < head_dim)
            v[i] = tn_split_with_own(s, v[i], d, chunk.n_stored % 2 != 0);
    }
}

// Adds the warp's products of weights and values to s.sums.
template <class form, bool appends> TN_FN void tn_split_values(const tn_split_shared &s, tn_split_queue<form> &queue, uint32_t head_dim)
{
    uint32_t sums[form::value_loads][form::heads][4] = {};
    TN_ROLLED
    for (uint32_t batch = 0; batch < form::batches; batch++) {
        const uint32_t from = tn_split_take<form>(s, queue, form::batches + batch, head_dim) * form::batch;
        const uint32_t group = tn_warp() * 8 + batch * 2 * form::pairs + tn_lane() / form::value_lanes; // of weights; the next is pairs on
        TN_UNROLL
        for (uint32_t part = 0; part < form::value_loads; part++) {
            tn_u4 v[4];
            tn_split_take_values<form, appends>(s, queue.chunk, batch, from, part, head_dim, v);
            TN_UNROLL
            for (uint32_t h = 0; h < form::heads; h += 2) {
                const tn_u4 u0 = tn_shared_load16(s.u, (group * form::heads + h) * 8);
                const tn_u4 u1 = tn_shared_load16(s.u, ((group + form::pairs) * form::heads + h) * 8);
                tn_split_add(sums[part][h], v, u0.x, u0.y, u1.x, u1.y);
                tn_split_add(sums[part][h + 1], v, u0.z, u0.w, u1.z, u1.w);
            }
        }
    }
    TN_UNROLL
    for (uint32_t part = 0; part < form::value_loads; part++) {
        const uint32_t unit = tn_lane() % form::value_lanes + part * 32;
        TN_UNROLL
        for (uint32_t i = 0; i < form::heads * 4; i++) tn_shared_add(s.sums, i * form::value_units + unit, sums[part][i / 4][i % 4]);
    }
}

// ---- chunks ----

template <class form> TN_FN void tn_split_clear_sums(const tn_split_shared &s)
{
    TN_UNROLL
    for (uint32_t j = 0; j < form::thread_cells; j++) {
        const uint32_t cell = tn_thread() + j * TN_SPLIT_THREADS, h = cell / form::value_units, unit = cell % form::value_units;
        if (cell >= form::cells) continue;
        TN_UNROLL
        for (uint32_t i = 0; i < 4; i++) s.sums[(h * 4 + i) * form::value_units + unit] = 0;
    }
}

// What the chunk gives for 4 dims of a head.
template <class form> TN_FN tn_share tn_split_share(const tn_split_shared &s, uint32_t set, uint32_t h, uint32_t unit, float recip_a_v)
{
    tn_share share;
    int32_t l = 0;
    uint32_t w_max = 0;
    share.m = TN_NO_EXPONENT;
    TN_UNROLL
    for (uint32_t warp = 0; warp < TN_SPLIT_WARPS; warp++) {
        const uint32_t at = warp * TN_SPLIT_HEADS + h, w = s.w_max[at];
        const int32_t m = s.m[set * TN_SPLIT_WARPS * TN_SPLIT_HEADS + at];
        share.m = m > share.m ? m : share.m;
        w_max = w > w_max ? w : w_max;
        l += s.l[at];
    }
    const float u_scale = tn_float(w_max) * recip_a_v;
    share.l = (float)l * 0x1p-22f;
    TN_UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t sum = s.sums[(h * 4 + i) * form::value_units + unit];
        share.o[i] = (float)(int32_t)sum * u_scale;
    }
    return share;
}

// all: of the walk's chunks so far.
template <class form, uint32_t mode>
TN_FN void tn_split_store_chunk(const tn_cuda_attention_params &p, const tn_split_shared &s, const tn_split_job &job, uint32_t chunk,
                                uint32_t set, uint32_t first_head, uint32_t n_heads, tn_share (&all)[form::thread_cells])
{
    TN_UNROLL
    for (uint32_t j = 0; j < form::thread_cells; j++) {
        const uint32_t cell = tn_thread() + j * TN_SPLIT_THREADS, h = cell / form::value_units, unit = cell % form::value_units;
        if (h >= n_heads || unit * 4 >= p.rope.head_dim) continue;
        tn_share share = tn_split_share<form>(s, set, h, unit, p.recip_a_v);
        if (mode == TN_SPLIT_WALKS) {
            if (chunk > 0) {
                tn_absorb(all[j], share);
                share = all[j];
            }
            all[j] = share;
        }
        if (mode == TN_SPLIT_WALKS ? chunk == job.n_chunks - 1 : job.n_chunks == 1)
            tn_store_share(p, job.token, first_head + h, unit * 4, share);
        else if (mode != TN_SPLIT_WALKS)
            tn_store_partial(p, job.token, first_head + h, chunk, unit * 4, share);
    }
}

// Up to form::heads query heads of the KV head, over the job's chunks. Whoever comes here again may store queries at once: the last chunk's
// barriers lie behind all that reads them.
template <class form, uint32_t mode>
TN_FN void tn_split_heads(const tn_cuda_attention_params &p, const tn_split_shared &s, const tn_split_job &job, uint32_t first_head,
                          uint32_t n_heads)
{
    constexpr bool appends = mode == TN_SPLIT_APPENDS;
    const uint32_t head_dim = p.rope.head_dim;
    tn_split_queue<form> queue;
    queue.chunk = tn_split_chunk_of<appends>(p, job, job.split);
    queue.taken = 0;
    uint32_t set = 0;
    TN_ROLLED
    for (uint32_t batch = 0; batch < form::ahead; batch++) {
        tn_split_load<form>(s, queue.chunk, batch, batch, head_dim);
        tn_async_commit();
    }
    tn_split_queries<form, appends>(p, s, job, first_head, n_heads);
    const bool is_first = first_head % (p.n_heads / p.n_kv_heads) == 0, has_own = (job.n_chunks - 1) % job.n_splits == job.split;
    if (appends && is_first && has_own && tn_warp() < 2) tn_split_append(p, s, job, tn_warp());
    tn_split_clear_sums<form>(s);
    tn_sync();
    tn_share all[form::thread_cells] = {};
    TN_ROLLED
    for (uint32_t chunk = job.split; chunk < job.n_chunks; chunk += job.n_splits) {
        queue.next = tn_split_chunk_of<appends>(p, job, chunk + job.n_splits);
        const tn_split_scales<form> scales = tn_split_load_scales<form, appends>(s, queue.chunk, head_dim);
        tn_split_dots<form, appends>(s, queue, head_dim);
        tn_split_weigh<form>(s, scales, queue.chunk.n, set);
        tn_split_values<form, appends>(s, queue, head_dim);
        tn_sync();
        tn_split_store_chunk<form, mode>(p, s, job, chunk, set, first_head, n_heads, all);
        tn_split_clear_sums<form>(s); // each thread what it has read itself; others add behind the barriers of the next chunk
        queue.chunk = queue.next;
        set ^= 1;
    }
}

template <class form, uint32_t mode>
TN_FN void tn_split_group(const tn_cuda_attention_params &p, const tn_split_shared &s, const tn_split_job &job)
{
    const uint32_t group = p.n_heads / p.n_kv_heads;
    TN_ROLLED
    for (uint32_t first = 0; first < group; first += form::heads) {
        const uint32_t rest = group - first;
        tn_split_heads<form, mode>(p, s, job, job.kv_head * group + first, rest < form::heads ? rest : form::heads);
    }
}

template <uint32_t mode> TN_FN void tn_split_token(const tn_cuda_attention_params &p, const tn_split_shared &s, tn_split_job job)
{
    const uint32_t head_dim = p.rope.head_dim;
    const bool has_few = p.n_heads / p.n_kv_heads <= 4;
    if (head_dim > 128)
        tn_split_group<tn_split_form<32, 4>, mode>(p, s, job);
    else if (head_dim > 64 && has_few)
        tn_split_group<tn_split_form<16, 4>, mode>(p, s, job);
    else if (head_dim > 64)
        tn_split_group<tn_split_form<16, 8>, mode>(p, s, job);
    else if (has_few)
        tn_split_group<tn_split_form<8, 4>, mode>(p, s, job);
    else
        tn_split_group<tn_split_form<8, 8>, mode>(p, s, job);
}

TN_FN tn_split_job tn_split_job_of(const tn_cuda_attention_params &p, uint32_t token, uint32_t kv_head, uint32_t split, uint32_t n_splits)
{
    tn_split_job job;
    job.token = token;
    job.kv_head = kv_head;
    job.position = p.step.words[p.step.positions + token];
    job.seq = p.step.words[p.step.seqs + token];
    job.n_chunks = job.position / TN_KV_CHUNK + 1;
    job.split = split;
    job.n_splits = n_splits;
    return job;
}

// The block's split of one token.
template <uint32_t mode> TN_FN void tn_split_one(const tn_cuda_attention_params &p, const tn_split_shared &s)
{
    if (tn_block_z() >= p.step.words[0]) return;
    const tn_split_job job = tn_split_job_of(p, tn_block_z(), tn_block_y(), tn_block_x(), p.n_splits);
    if (job.split >= job.n_chunks) return;
    tn_split_token<mode>(p, s, job);
    if (job.n_chunks == 1) return;
    const uint32_t n_blocks = job.n_chunks < job.n_splits ? job.n_chunks : job.n_splits;
    if (tn_is_last_block(p.counters + job.token * p.n_kv_heads + job.kv_head, n_blocks))
        tn_combine_partials(p, job.token, job.kv_head, job.n_chunks);
}

// All chunks of the block's tokens: every tn_grid_z()'th of a tile.
TN_FN void tn_split_walk(const tn_cuda_attention_params &p, const tn_split_shared &s)
{
    const uint32_t first = tn_block_x() * TN_CUDA_ATTENTION_TOKENS, n_tokens = p.step.words[0];
    const uint32_t end = n_tokens - first < TN_CUDA_ATTENTION_TOKENS ? n_tokens : first + TN_CUDA_ATTENTION_TOKENS;
    if (first >= n_tokens || !tn_has_tile(p, first, end)) return;
    TN_ROLLED
    for (uint32_t token = first + tn_block_z(); token < end; token += tn_grid_z())
        tn_split_token<TN_SPLIT_WALKS>(p, s, tn_split_job_of(p, token, tn_block_y(), 0, 1));
}

template <uint32_t mode> TN_FN void tn_attention_split(const tn_cuda_attention_params &p)
{
    TN_SHARED(uint8_t, ring, TN_SPLIT_RING * TN_SPLIT_THREADS * 16);
    TN_SHARED(uint8_t, q, TN_SPLIT_CELLS * 8);
    TN_SHARED(float, q_scale, TN_SPLIT_HEADS);
    TN_SHARED(int32_t, dots, TN_SPLIT_HEADS * TN_SPLIT_THREADS);
    TN_SHARED(uint8_t, u, TN_SPLIT_THREADS / 4 * TN_SPLIT_HEADS * 8);
    TN_SHARED(uint32_t, w_max, TN_SPLIT_WARPS * TN_SPLIT_HEADS);
    TN_SHARED(int32_t, l, TN_SPLIT_WARPS * TN_SPLIT_HEADS);
    TN_SHARED(int32_t, m, 2 * TN_SPLIT_WARPS * TN_SPLIT_HEADS);
    TN_SHARED(uint32_t, sums, TN_SPLIT_CELLS * 4);
    TN_SHARED(uint16_t, own, 2 * TN_HEAD_DIM_MAX);
    TN_SHARED(float, own_scale, 2);
    const tn_split_shared s = {ring, q, q_scale, dots, u, w_max, l, m, sums, own, own_scale};
    if (mode == TN_SPLIT_WALKS)
        tn_split_walk(p, s);
    else
        tn_split_one<mode>(p, s);
}

#endif
