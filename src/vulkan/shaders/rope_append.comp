#version 450
// rope, KV append: one head of one token.   Grid: x slots (heads of q, then of k, then of v), y rows.
//
// All kinds of heads go through the same two loops, and what differs is selected: software devices run every branch that the code has. The
// first loop turns, stores queries and finds the absmax; the second makes codes, of values that are turned once more rather than kept, so
// that head_dim has no bound.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/kv_page.glsl"

// 1: loads and stores are wide. head_dim is a multiple of 8 then; all offsets and strides of q, k and v are multiples of 4.
layout(constant_id = 1) const uint HAS_QUADS = 0;
layout(push_constant) uniform Push { tn_vk_rope_params p; };
layout(set = 0, binding = 3) writeonly buffer Kv2 { uvec2 kv2[]; }; // the same memory as kv and outb
layout(set = 0, binding = 5) writeonly buffer Out4 { uvec4 out4[]; };

const uint LEAST_ABSMAX = 0x30800000u; // 2^-30: a head below it has codes and scale 0
const uint NO_PAGE = 0xffffffffu;

struct head {
    uint at, position; // word of the arena
    bool turns, is_query, is_key;
};

shared uint head_max;

vec4 arena_quad(uint at) { return uintBitsToFloat(LOAD_ARENA4(at >> 2)); }
vec4 table_quad(uint at) { return uintBitsToFloat(LOAD_WEIGHTS4(at >> 2)); }

// Dims d .. d + 3, d a multiple of 4, turned or not, before FL.
vec4 wide_quad(head h, uint d)
{
    const uint n_pairs = p.head_dim / 2u, table = h.position * p.head_dim, i = d >= n_pairs ? d - n_pairs : d;
    const bool adjacent = p.adjacent != 0u;
    const vec4 x = arena_quad(h.at + d);
    if (!h.turns) return x;
    const uint c_at = table + (adjacent ? d / 8u * 4u : i);
    const vec4 y = arena_quad(h.at + (d >= n_pairs ? i : i + n_pairs)), c4 = table_quad(c_at), s4 = table_quad(c_at + n_pairs);
    const bvec4 is_second = adjacent ? bvec4(false, true, false, true) : bvec4(d >= n_pairs);
    const vec4 a = adjacent ? x.xxzz : d >= n_pairs ? y : x, b = adjacent ? x.yyww : d >= n_pairs ? x : y;
    const vec4 c = !adjacent ? c4 : d % 8u == 0u ? c4.xxyy : c4.zzww, s = !adjacent ? s4 : d % 8u == 0u ? s4.xxyy : s4.zzww;
    return mix((a * c) - (b * s), (a * s) + (b * c), is_second);
}

float one_dim(head h, uint d)
{
    const uint n_pairs = p.head_dim / 2u, table = h.position * p.head_dim;
    const bool adjacent = p.adjacent != 0u, is_second = adjacent ? d % 2u == 1u : d >= n_pairs;
    const uint i = adjacent ? d / 2u : d % n_pairs;
    if (!h.turns) return arena_f32(h.at + d);
    const float a = arena_f32(h.at + (adjacent ? 2u * i : i)), b = arena_f32(h.at + (adjacent ? 2u * i + 1u : i + n_pairs));
    const float c = weights_f32(table + i), s = weights_f32(table + n_pairs + i);
    return is_second ? (a * s) + (b * c) : (a * c) - (b * s);
}

// Dims d .. d + 3; those that the head does not have are 0.
vec4 quad_of(head h, uint d)
{
    vec4 y = vec4(0.0);
    if (HAS_QUADS != 0u)
        y = wide_quad(h, d);
    else
        for (uint i = 0u; i < 4u && d + i < p.head_dim; i++) y[i] = one_dim(h, d + i);
    return h.turns ? vec4(fl(y.x), fl(y.y), fl(y.z), fl(y.w)) : y;
}

void store_query(uint at, uint d, vec4 y)
{
    if (HAS_QUADS != 0u)
        out4[(at + d) >> 2] = floatBitsToUint(y);
    else
        for (uint i = 0u; i < 4u && d + i < p.head_dim; i++) outb[at + d + i] = floatBitsToUint(y[i]);
}

uint code_word(head h, uint pos, uint w) { return h.is_key ? kv_key_word(p.head_dim, pos, w) : kv_value_word(p.head_dim, pos, w); }
void store_codes(head h, uint page_at, uint pos, uint d, vec4 scaled)
{
    const uvec4 q = uvec4(round_int(scaled.x), round_int(scaled.y), round_int(scaled.z), round_int(scaled.w)) & 0xffffu;
    const uvec2 words = q.xz | q.yw << 16;
    if (HAS_QUADS != 0u) {
        kv2[(page_at + code_word(h, pos, d / 2u)) >> 1] = words;
    } else {
        kv[page_at + code_word(h, pos, d / 2u)] = words.x;
        if (d + 2u < p.head_dim) kv[page_at + code_word(h, pos, d / 2u + 1u)] = words.y;
    }
}

// Where the words of a KV head begin in the page of a position; NO_PAGE where the binding has none.
uint page_at_of(uint row, uint index, uint position)
{
    const uint seq = step_words[p.step.seqs + row];
    const uint page = step_words[p.step.page_table + seq * p.step.n_seq_pages + position / KV_POSITIONS];
    return page < p.n_pages ? page * kv_page_words(max(p.n_k, p.n_v), p.head_dim) + index * kv_head_words(p.head_dim) : NO_PAGE;
}

void main()
{
    const uint slot = gl_WorkGroupID.x, row = gl_WorkGroupID.y, id = gl_LocalInvocationID.x;
    head h;
    h.position = step_words[p.step.positions + row];
    h.is_query = slot < p.n_q;
    h.is_key = !h.is_query && slot < p.n_q + p.n_k;
    h.turns = h.is_query || (h.is_key && p.k_turn != 0u);
    const uint index = h.is_query ? slot : h.is_key ? slot - p.n_q : slot - p.n_q - p.n_k;
    const uint heads_at = h.is_query ? p.q_at + row * p.q_stride : h.is_key ? p.k_at + row * p.k_stride : p.v_at + row * p.v_stride;
    h.at = heads_at + index * p.head_dim;

    if (id == 0u) head_max = 0u;
    barrier();
    uint largest = 0u;
    for (uint d = 4u * id; d < p.head_dim; d += 4u * gl_WorkGroupSize.x) {
        const vec4 y = quad_of(h, d);
        if (h.is_query) store_query(p.qy_at + row * p.qy_stride + index * p.head_dim, d, y);
        largest = max(largest, max(max(abs_bits(y.x), abs_bits(y.y)), max(abs_bits(y.z), abs_bits(y.w))));
    }
    if (h.turns) mark_poison(row, h.is_query ? p.q_node : p.k_node, largest);
    atomicMax(head_max, largest);
    barrier();

    const uint page_at = page_at_of(row, index, h.position), pos = h.position % KV_POSITIONS;
    if (h.is_query || page_at == NO_PAGE) return;
    const float absmax = uintBitsToFloat(head_max);
    const bool is_zero = head_max < LEAST_ABSMAX;
    const float to_codes = is_zero ? 0.0 : (h.is_key ? small_float(int(p.a_qk)) : 4095.0) * recip(absmax);
    for (uint d = 4u * id; d < p.head_dim; d += 4u * gl_WorkGroupSize.x) store_codes(h, page_at, pos, d, quad_of(h, d) * vec4(to_codes));
    if (id != 0u) return;
    const float scale = is_zero ? 0.0 : absmax * (h.is_key ? p.recip_a_qk : uintBitsToFloat(0x39800801u)); // RN(1/4095)
    kv[page_at + (h.is_key ? kv_key_scale_word(p.head_dim, pos) : kv_value_scale_word(p.head_dim, pos))] = floatBitsToUint(scale);
}
