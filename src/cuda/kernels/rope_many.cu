// rope_append of many tokens, for heads of 32, 64, 128 or 256 dims that are turned in halves: a block a token. A lane has four dims of each
// half of a head, so that head_dim / 8 lanes have a head, and cosines and sines of these for all heads that it comes to.
#include "cuda/kernels/kv_append.cuh"
#include "cuda/kernels/rows_io.cuh"

namespace
{

enum { HELD = 4 }; // heads of a lane that are on their way at once

// What a lane has of every head: its number among `n` lanes, and the turns of its dims.
struct tn_rope_lane {
    uint32_t n, number;
    float c[4], s[4];
};
// The same of one: its first dim and the one half a head behind, and three after each.
struct tn_rope_part {
    float first[4], second[4];
    uint32_t max; // bits, of the whole head
};

TN_FN void tn_rope_four(const tn_u4 &bits, float (&v)[4])
{
    v[0] = tn_float(bits.x), v[1] = tn_float(bits.y), v[2] = tn_float(bits.z), v[3] = tn_float(bits.w);
}
TN_FN void tn_rope_store(float *at, const float (&v)[4]) { tn_store16(at, {tn_bits(v[0]), tn_bits(v[1]), tn_bits(v[2]), tn_bits(v[3])}); }

// Where a head is: of q, k or v, and which of these.
struct tn_rope_slot {
    bool is_there, is_query, is_key, turns;
    uint32_t index;
};
TN_FN tn_rope_slot tn_rope_slot_of(const tn_cuda_rope &rope, uint32_t slot)
{
    tn_rope_slot of;
    of.is_there = slot < rope.n_q + 2 * rope.n_kv;
    of.is_query = slot < rope.n_q;
    of.is_key = !of.is_query && slot < rope.n_q + rope.n_kv;
    of.turns = of.is_query || (of.is_key && rope.k_node != 0);
    of.index = slot - (of.is_query ? 0 : of.is_key ? rope.n_q : rope.n_q + rope.n_kv);
    return of;
}

TN_FN void tn_rope_turn(const tn_rope_lane &lane, bool turns, tn_rope_part &part)
{
    part.max = 0;
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        const float a = part.first[i], b = part.second[i];
        const float first = tn_fl((a * lane.c[i]) - (b * lane.s[i])), second = tn_fl((a * lane.s[i]) + (b * lane.c[i]));
        part.first[i] = turns ? first : a;
        part.second[i] = turns ? second : b;
        const uint32_t x = tn_abs_bits(part.first[i]), y = tn_abs_bits(part.second[i]), larger = x > y ? x : y;
        part.max = larger > part.max ? larger : part.max;
    }
    TN_UNROLL for (uint32_t width = 16; width > 0; width /= 2)
    {
        const uint32_t other = tn_shfl_xor(part.max, width);
        if (width < lane.n && other > part.max) part.max = other;
    }
}

TN_FN tn_head_codes tn_rope_codes_of(uint32_t max, uint32_t A, float recip_A)
{
    tn_head head;
    head.absmax = max;
    return tn_head_codes_of(head, A, recip_A);
}
TN_FN void tn_rope_put_key(const tn_cuda_rope &rope, const tn_rope_lane &lane, const tn_rope_part &part, const tn_kv_head &kv,
                           uint32_t position)
{
    const tn_head_codes codes = tn_rope_codes_of(part.max, rope.a_qk, rope.recip_a_qk);
    TN_UNROLL for (uint32_t half = 0; half < 2; half++)
    {
        int16_t *at = kv.keys + (size_t)position * rope.head_dim + half * (rope.head_dim / 2) + lane.number * 4;
        TN_UNROLL for (uint32_t i = 0; i < 4; i += 2)
        {
            const float *of = half == 0 ? part.first : part.second;
            const uint32_t low = (uint32_t)tn_round_int(of[i] * codes.to_codes), high = (uint32_t)tn_round_int(of[i + 1] * codes.to_codes);
            *reinterpret_cast<uint32_t *>(at + i) = tn_prmt(low, high, 0x5410u);
        }
    }
    if (lane.number == 0) kv.k_scale[position] = codes.scale;
}
TN_FN void tn_rope_put_value(const tn_cuda_rope &rope, const tn_rope_lane &lane, const tn_rope_part &part, const tn_kv_head &kv,
                             uint32_t position)
{
    const tn_head_codes codes = tn_rope_codes_of(part.max, TN_A_V, TN_RECIP_A_V);
    int16_t *at = kv.values + tn_kv_value_at(position, lane.number * 4, rope.head_dim);
    TN_UNROLL for (uint32_t i = 0; i < 4; i++)
    {
        at[2 * i] = (int16_t)tn_round_int(part.first[i] * codes.to_codes);
        at[2 * i + rope.head_dim] = (int16_t)tn_round_int(part.second[i] * codes.to_codes);
    }
    if (lane.number == 0) kv.v_scale[position] = codes.scale;
}

// A head that was turned to where it belongs.
TN_FN void tn_rope_put(const tn_cuda_rope_params &p, const tn_rope_lane &lane, const tn_rope_slot &slot, const tn_rope_part &part,
                       uint32_t row, uint32_t position, uint32_t page)
{
    if (!slot.is_there) return;
    if (slot.turns && lane.number == 0)
        tn_mark_poison(p.step, p.poison, row, slot.is_query ? p.rope.q_node : p.rope.k_node, tn_float(part.max));
    if (slot.is_query) {
        float *y = tn_y_row(p.step, p.qy, row) + (size_t)slot.index * p.rope.head_dim + lane.number * 4;
        tn_rope_store(y, part.first);
        tn_rope_store(y + p.rope.head_dim / 2, part.second);
        return;
    }
    if (page >= p.kv.n_pages) return;
    const tn_kv_head kv = tn_kv_head_of(p.kv, page, slot.index, p.rope.head_dim);
    if (slot.is_key)
        tn_rope_put_key(p.rope, lane, part, kv, position % TN_KV_CHUNK);
    else
        tn_rope_put_value(p.rope, lane, part, kv, position % TN_KV_CHUNK);
}

TN_FN tn_rope_lane tn_rope_lane_of(const tn_cuda_rope &rope, uint32_t position)
{
    tn_rope_lane lane = {rope.head_dim / 8, tn_lane() % (rope.head_dim / 8), {}, {}};
    const float *table = tn_rope_table_row(rope, position);
    if (!table) return lane;
    tn_rope_four(tn_load16(table + lane.number * 4), lane.c);
    tn_rope_four(tn_load16(table + rope.head_dim / 2 + lane.number * 4), lane.s);
    return lane;
}

} // namespace

TN_KERNEL_EARLY(rope_many, tn_cuda_rope_params, 128, 4)
{
    const tn_cuda_rope &rope = p.rope;
    const uint32_t row = tn_block_x(), n_slots = rope.n_q + 2 * rope.n_kv;
    if (row >= p.step.words[0]) {
        tn_wait_previous();
        return;
    }
    const uint32_t position = p.step.words[p.step.positions + row];
    const uint32_t page = rope.n_kv > 0 ? tn_kv_page(p.step, p.step.words[p.step.seqs + row], position / TN_KV_CHUNK) : 0;
    const tn_rope_lane lane = tn_rope_lane_of(rope, position);
    const uint32_t n_at_once = 128 / lane.n, mine = tn_thread() / lane.n;
    tn_wait_previous();
    TN_ROLLED for (uint32_t first = 0; first < n_slots; first += HELD * n_at_once)
    {
        tn_rope_part parts[HELD];
        TN_UNROLL for (uint32_t i = 0; i < HELD; i++)
        {
            const tn_rope_slot slot = tn_rope_slot_of(rope, first + i * n_at_once + mine);
            parts[i] = {};
            if (!slot.is_there) continue;
            const tn_cuda_rows &rows = slot.is_query ? rope.q : slot.is_key ? rope.k : rope.v;
            const float *x = rows.at + (size_t)row * rows.stride + (size_t)slot.index * rope.head_dim + lane.number * 4;
            tn_rope_four(tn_load16_fresh(x), parts[i].first);
            tn_rope_four(tn_load16_fresh(x + rope.head_dim / 2), parts[i].second);
        }
        TN_UNROLL for (uint32_t i = 0; i < HELD; i++)
        {
            const tn_rope_slot slot = tn_rope_slot_of(rope, first + i * n_at_once + mine);
            tn_rope_turn(lane, slot.turns, parts[i]);
            tn_rope_put(p, lane, slot, parts[i], row, position, page);
        }
    }
}
