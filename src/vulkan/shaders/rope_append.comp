#version 450
// rope, KV append: one head of one token.   Grid: x slots (heads of q, then of k, then of v), y rows.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/kv_page.glsl"

layout(push_constant) uniform Push { tn_vk_rope_params p; };

const uint LEAST_ABSMAX = 0x30800000u; // 2^-30: a head below it has codes and scale 0

shared uint head_max;

// Dim d of the head that begins at word `at` of the arena, turned for a position.
float turned(uint at, uint d, uint position)
{
    const uint n_pairs = p.head_dim / 2u, table = p.table_at + position * p.head_dim;
    const bool adjacent = p.adjacent != 0u, is_second = adjacent ? d % 2u == 1u : d >= n_pairs;
    const uint i = adjacent ? d / 2u : d % n_pairs;
    const float a = arena_f32(at + (adjacent ? 2u * i : i)), b = arena_f32(at + (adjacent ? 2u * i + 1u : i + n_pairs));
    const float c = weights_f32(table + i), s = weights_f32(table + n_pairs + i);
    return fl(is_second ? (a * s) + (b * c) : (a * c) - (b * s));
}
float dim_of(uint at, uint d, uint position, bool turns) { return turns ? turned(at, d, position) : arena_f32(at + d); }

void turn_query(uint row, uint head, uint position)
{
    const uint at = p.q_at + row * p.q_stride + head * p.head_dim, y_at = p.qy_at + row * p.qy_stride + head * p.head_dim;
    uint largest = 0u;
    for (uint d = gl_LocalInvocationID.x; d < p.head_dim; d += gl_WorkGroupSize.x) {
        const float y = turned(at, d, position);
        outb[y_at + d] = floatBitsToUint(y);
        largest = max(largest, abs_bits(y));
    }
    mark_poison(row, p.q_node, largest);
}

// First word of a head's page part, all ones where there is no such page.
uint head_at(uint row, uint head, uint position)
{
    const uint seq = step_words[p.step.seqs + row];
    const uint page = step_words[p.step.page_table + seq * p.step.n_seq_pages + position / KV_POSITIONS];
    return page < p.n_pages ? page * kv_page_words(max(p.n_k, p.n_v), p.head_dim) + head * kv_head_words(p.head_dim) : 0xffffffffu;
}

void append(uint row, uint head, uint position, bool is_key)
{
    const bool turns = is_key && p.k_turn != 0u;
    const uint at = head * p.head_dim + (is_key ? p.k_at + row * p.k_stride : p.v_at + row * p.v_stride);
    if (gl_LocalInvocationID.x == 0u) head_max = 0u;
    barrier();
    uint largest = 0u;
    for (uint d = gl_LocalInvocationID.x; d < p.head_dim; d += gl_WorkGroupSize.x)
        largest = max(largest, abs_bits(dim_of(at, d, position, turns)));
    if (turns) mark_poison(row, p.k_node, largest);
    atomicMax(head_max, largest);
    barrier();
    const uint page_at = head_at(row, head, position), pos = position % KV_POSITIONS;
    if (page_at == 0xffffffffu) return;
    const bool is_zero = head_max < LEAST_ABSMAX;
    const float absmax = uintBitsToFloat(head_max);
    const float to_codes = is_zero ? 0.0 : (is_key ? small_float(int(p.a_qk)) : 4095.0) * recip(absmax);
    for (uint w = gl_LocalInvocationID.x; w < p.head_dim / 2u; w += gl_WorkGroupSize.x) {
        const int low = round_int(dim_of(at, 2u * w, position, turns) * to_codes);
        const int high = round_int(dim_of(at, 2u * w + 1u, position, turns) * to_codes);
        const uint word = is_key ? kv_key_word(p.head_dim, pos, w) : kv_value_word(p.head_dim, pos, w);
        kv[page_at + word] = (uint(low) & 0xffffu) | uint(high) << 16;
    }
    if (gl_LocalInvocationID.x != 0u) return;
    const float scale = is_zero ? 0.0 : absmax * (is_key ? p.recip_a_qk : uintBitsToFloat(0x39800801u)); // RN(1/4095)
    kv[page_at + (is_key ? kv_key_scale_word(p.head_dim, pos) : kv_value_scale_word(p.head_dim, pos))] = floatBitsToUint(scale);
}

void main()
{
    const uint slot = gl_WorkGroupID.x, row = gl_WorkGroupID.y, position = step_words[p.step.positions + row];
    if (slot < p.n_q)
        turn_query(row, slot, position);
    else if (slot < p.n_q + p.n_k)
        append(row, slot - p.n_q, position, true);
    else
        append(row, slot - p.n_q - p.n_k, position, false);
}
