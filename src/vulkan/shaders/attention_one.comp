#version 450
// attention of one token, with RoPE of q and k and the append of k and v in front of it: one query head over a chunk of 128 positions.
// Grid: x chunks (those behind the token's own return at once), y query heads. 128 invocations. The last workgroup of a head combines.
//
// Each workgroup turns its query head; those of the token's own chunk turn and quantise its key and value too, for themselves, and the
// first query head's of a KV head stores them. What is read of the cache is of earlier steps: it is asked for at the beginning, all at once.
// An invocation has a position while it scores, a unit of 8 dims of every n'th position while it sums values, a dim in the end.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/kv_page.glsl"
#include "vulkan/shaders/last_workgroup.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // a multiple of 8, at most 256
layout(constant_id = 2) const uint GROUP = 4;      // query heads of a KV head
layout(push_constant) uniform Push { tn_vk_attention_one_params p; };
layout(set = 0, binding = 1) coherent buffer Partials { uint partials[]; }; // the same arena: what workgroups tell each other

const uint LANES = 128u; // invocations, and positions of a chunk
const uint LEAST_ABSMAX = 0x30800000u; // 2^-30: a head below it has codes and scale 0
const uint UNITS = HEAD_DIM / 8u, WORDS = HEAD_DIM / 2u;
const uint ITEMS = HEAD_DIM / 4u;                          // of a head that is turned: two pairs of dims
const uint ITEM_ROUNDS = (3u * ITEMS + LANES - 1u) / LANES; // of query, key and value
const uint BATCH = 16u;                                    // units that are under way at a time
const uint KEY_BATCHES = (UNITS + BATCH - 1u) / BATCH;
const uint SLICES = LANES / UNITS; // of positions, while values are summed
const uint VALUES = (LANES + SLICES - 1u) / SLICES;
const uint VALUE_BATCHES = (VALUES + BATCH - 1u) / BATCH;
const uint DIM_ROUNDS = (HEAD_DIM + LANES - 1u) / LANES;
const uint PARTIAL_WORDS = HEAD_DIM + 4u; // o, m, l, and two words that are not used
const uint PARTS = 8u;                    // of what all invocations reduce, so that they seldom meet
const uint COMBINED = 8u;                 // chunks that are loaded at a time

shared uint head_max[3u * PARTS]; // bits, of query, key and value
shared uint head_codes[3u * WORDS];
shared int chunk_m[PARTS], chunk_l[PARTS];
shared uint chunk_w[PARTS];
shared uint weight_codes[LANES];
shared ivec4 slice_sums[2u * UNITS * SLICES];

int low_code(uint word) { return int(word << 16) >> 16; }
int high_code(uint word) { return int(word) >> 16; }

// ---- RoPE, append ----

struct item {
    bool is_there, is_adjacent;
    uint which, i; // 0 query, 1 key, 2 value
    vec2 a, b;     // of two pairs
    vec2 c, s;     // their cosines and sines
};
item items[ITEM_ROUNDS];

void load_items(uint head, uint position, bool has_own)
{
    [[unroll]] for (uint r = 0u; r < ITEM_ROUNDS; r++) {
        const uint at = gl_LocalInvocationIndex + r * LANES, which = at / ITEMS, i = at % ITEMS;
        items[r].which = which;
        items[r].i = i;
        items[r].is_there = which == 0u || (which < 3u && has_own);
        items[r].is_adjacent = which == 2u || p.adjacent != 0u;
        items[r].a = items[r].b = vec2(0.0);
        if (!items[r].is_there) continue;
        const uint x = which == 0u ? p.q_at + head * HEAD_DIM : (which == 1u ? p.k_at : p.v_at) + head / GROUP * HEAD_DIM;
        const uint first = x + (items[r].is_adjacent ? 4u : 2u) * i, next = items[r].is_adjacent ? 2u : 1u;
        const uint second = first + (items[r].is_adjacent ? 1u : HEAD_DIM / 2u);
        items[r].a = vec2(arena_f32(first), arena_f32(first + next));
        items[r].b = vec2(arena_f32(second), arena_f32(second + next));
        if (which == 2u) continue;
        const uint table = position * HEAD_DIM + 2u * i;
        items[r].c = vec2(weights_f32(table), weights_f32(table + 1u));
        items[r].s = vec2(weights_f32(table + HEAD_DIM / 2u), weights_f32(table + HEAD_DIM / 2u + 1u));
    }
}

void turn_items()
{
    [[unroll]] for (uint r = 0u; r < ITEM_ROUNDS; r++) {
        if (!items[r].is_there) continue;
        vec2 a = items[r].a, b = items[r].b;
        if (items[r].which < 2u) {
            const vec2 c = items[r].c, s = items[r].s;
            const vec2 first = (a * c) - (b * s), second = (a * s) + (b * c);
            a = vec2(fl(first.x), fl(first.y));
            b = vec2(fl(second.x), fl(second.y));
            items[r].a = a;
            items[r].b = b;
        }
        const uint largest = max(max(abs_bits(a.x), abs_bits(a.y)), max(abs_bits(b.x), abs_bits(b.y)));
        atomicMax(head_max[items[r].which * PARTS + gl_LocalInvocationIndex % PARTS], largest);
    }
}

uint absmax_of(uint which)
{
    uint largest = 0u;
    [[unroll]] for (uint i = 0u; i < PARTS; i++) largest = max(largest, head_max[which * PARTS + i]);
    return largest;
}
float scale_of(uint which)
{
    const uint largest = absmax_of(which);
    return largest < LEAST_ABSMAX ? 0.0 : uintBitsToFloat(largest) * (which == 2u ? p.recip_a_v : p.recip_a_qk);
}

uint pack(vec2 scaled) { return (uint(round_int(scaled.x)) & 0xffffu) | uint(round_int(scaled.y)) << 16; }

// Codes of all items to shared memory, those of key and value also to the cache where `stores`.
void quantise_items(bool stores, uint cache_at, uint pos)
{
    [[unroll]] for (uint r = 0u; r < ITEM_ROUNDS; r++) {
        if (!items[r].is_there) continue;
        const uint which = items[r].which, largest = absmax_of(which);
        const float codes = which == 2u ? 4095.0 : small_float(int(p.a_qk));
        const vec2 to_codes = vec2(largest < LEAST_ABSMAX ? 0.0 : codes * recip(uintBitsToFloat(largest)));
        const vec2 a = items[r].a * to_codes, b = items[r].b * to_codes;
        const bool is_adjacent = items[r].is_adjacent;
        const uint w_0 = is_adjacent ? 2u * items[r].i : items[r].i, w_1 = is_adjacent ? w_0 + 1u : w_0 + HEAD_DIM / 4u;
        const uint word_0 = pack(is_adjacent ? vec2(a.x, b.x) : a), word_1 = pack(is_adjacent ? vec2(a.y, b.y) : b);
        head_codes[which * WORDS + w_0] = word_0;
        head_codes[which * WORDS + w_1] = word_1;
        if (which == 0u || !stores) continue;
        kv[cache_at + (which == 1u ? kv_key_word(HEAD_DIM, pos, w_0) : kv_value_word(HEAD_DIM, pos, w_0))] = word_0;
        kv[cache_at + (which == 1u ? kv_key_word(HEAD_DIM, pos, w_1) : kv_value_word(HEAD_DIM, pos, w_1))] = word_1;
    }
    if (!stores || gl_LocalInvocationIndex >= 2u) return;
    const uint which = 1u + gl_LocalInvocationIndex;
    const uint at = which == 1u ? kv_key_scale_word(HEAD_DIM, pos) : kv_value_scale_word(HEAD_DIM, pos);
    kv[cache_at + at] = floatBitsToUint(scale_of(which));
}

// ---- the chunk ----

uvec4 keys[BATCH], values[BATCH];

// Of n positions.
void load_keys(uint cache_at, uint batch, uint n)
{
    [[unroll]] for (uint i = 0u; i < BATCH; i++) {
        const uint unit = batch * BATCH + i;
        keys[i] = uvec4(0u);
        if (unit < UNITS && gl_LocalInvocationIndex < n) keys[i] = kv4[cache_at / 4u + unit * LANES + gl_LocalInvocationIndex];
    }
}

uint value_unit() { return gl_LocalInvocationIndex % UNITS; }
uint value_slice() { return gl_LocalInvocationIndex / UNITS; } // SLICES: it has no positions
uint value_position(uint i) { return value_slice() + i * SLICES; }
bool has_value(uint i, uint n) { return i < VALUES && value_slice() < SLICES && value_position(i) < n; }

void load_values(uint cache_at, uint batch, uint n)
{
    const uint at = (cache_at + kv_value_word(HEAD_DIM, 0u, 0u)) / 4u + value_unit();
    [[unroll]] for (uint i = 0u; i < BATCH; i++) {
        values[i] = uvec4(0u);
        if (has_value(batch * BATCH + i, n)) values[i] = kv4[at + value_position(batch * BATCH + i) * UNITS];
    }
}

uvec4 own_unit(uint which, uint unit)
{
    const uint at = which * WORDS + 4u * unit;
    return uvec4(head_codes[at], head_codes[at + 1u], head_codes[at + 2u], head_codes[at + 3u]);
}

int dot_of_keys(uint cache_at, uint n_stored, bool is_own)
{
    int dot = 0;
    [[unroll]] for (uint batch = 0u; batch < KEY_BATCHES; batch++) {
        if (batch > 0u) load_keys(cache_at, batch, n_stored);
        [[unroll]] for (uint i = 0u; i < BATCH; i++) {
            const uint unit = batch * BATCH + i;
            if (unit >= UNITS) continue;
            if (is_own) keys[i] = own_unit(1u, unit);
            const uvec4 q = own_unit(0u, unit);
            [[unroll]] for (uint w = 0u; w < 4u; w++)
                dot += low_code(keys[i][w]) * low_code(q[w]) + high_code(keys[i][w]) * high_code(q[w]);
        }
    }
    return dot;
}

// The dot of the invocation's position -> its weight's code in shared memory, and the chunk's parts of m, W and l.
void weigh(int dot, float q_scale, float k_scale, float v_scale, bool is_visible)
{
    const uint id = gl_LocalInvocationIndex, part = id % PARTS;
    const float t_max = 1048576.0;
    float t = any_float(dot) * (q_scale * k_scale);
    t = t > -t_max ? t : -t_max;
    t = t < t_max ? t : t_max;
    const int exponent = is_visible ? round_int(t) : -0x40000000;
    const float weight = exp2_poly(t - round_even(t));
    atomicMax(chunk_m[part], exponent);
    barrier();
    int m = chunk_m[0];
    [[unroll]] for (uint i = 1u; i < PARTS; i++) m = max(m, chunk_m[i]);
    const float x = m - exponent > 24 ? 0.0 : shift(weight, exponent - m), scaled = x * (is_visible ? v_scale : 0.0);
    atomicAdd(chunk_l[part], round_int_u(x * 4194304.0));
    atomicMax(chunk_w[part], abs_bits(scaled));
    barrier();
    uint largest = chunk_w[0];
    [[unroll]] for (uint i = 1u; i < PARTS; i++) largest = max(largest, chunk_w[i]);
    const float to_codes = largest != 0u ? 4095.0 * recip(uintBitsToFloat(largest)) : 0.0;
    weight_codes[id] = uint(round_int(scaled * to_codes)) & 0xffffu;
    barrier();
}

// Sums of weights times values -> slice_sums, of the n positions of which the last is the token's own unless they are all stored.
void sum_values(uint cache_at, uint n, uint n_stored)
{
    ivec4 low = ivec4(0), high = ivec4(0); // dims 0 .. 3 and 4 .. 7 of the unit
    [[unroll]] for (uint batch = 0u; batch < VALUE_BATCHES; batch++) {
        if (batch > 0u) load_values(cache_at, batch, n_stored);
        [[unroll]] for (uint i = 0u; i < BATCH; i++) {
            if (!has_value(batch * BATCH + i, n)) continue;
            const uint position = value_position(batch * BATCH + i);
            if (position >= n_stored) values[i] = own_unit(2u, value_unit());
            const int c = int(weight_codes[position]);
            low += c * ivec4(low_code(values[i].x), high_code(values[i].x), low_code(values[i].y), high_code(values[i].y));
            high += c * ivec4(low_code(values[i].z), high_code(values[i].z), low_code(values[i].w), high_code(values[i].w));
        }
    }
    if (value_slice() < SLICES) {
        slice_sums[2u * gl_LocalInvocationIndex] = low;
        slice_sums[2u * gl_LocalInvocationIndex + 1u] = high;
    }
    barrier();
}

// What a chunk gives, and the same of all chunks so far.
int own_m, all_m;
float own_l, all_l, own_o[DIM_ROUNDS], all_o[DIM_ROUNDS];

uint dim_of(uint r) { return gl_LocalInvocationIndex + r * LANES; }

void own_chunk()
{
    uint largest = 0u;
    int l = 0;
    own_m = chunk_m[0];
    [[unroll]] for (uint i = 0u; i < PARTS; i++) {
        own_m = max(own_m, chunk_m[i]);
        l += chunk_l[i];
        largest = max(largest, chunk_w[i]);
    }
    own_l = any_float(l) * 2.384185791015625e-7; // 2^-22
    const float v_unit = uintBitsToFloat(largest) * p.recip_a_v;
    [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) {
        const uint d = min(dim_of(r), HEAD_DIM - 1u);
        int sum = 0;
        for (uint s = 0u; s < SLICES; s++) sum += slice_sums[s * 2u * UNITS + d / 4u][d % 4u];
        own_o[r] = any_float(sum) * v_unit;
    }
}

void absorb_chunk(bool is_first)
{
    const int m = is_first ? own_m : max(all_m, own_m);
    const int by = all_m - m, own_by = own_m - m;
    const float l = f100(shift(all_l, by)) + f100(shift(own_l, own_by));
    all_l = is_first ? own_l : l;
    [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) {
        const float o = f100(shift(all_o[r], by)) + f100(shift(own_o[r], own_by));
        all_o[r] = is_first ? own_o[r] : o;
    }
    all_m = m;
}

void store_head(uint head)
{
    const float by = recip(all_l);
    [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) {
        if (dim_of(r) >= HEAD_DIM) continue;
        const uint y = floatBitsToUint(fl(all_o[r] * by));
        outb[p.y_at + head * HEAD_DIM + dim_of(r)] = y;
        mark_poison(0u, p.node, y & 0x7fffffffu);
    }
}

// ---- several chunks ----

uint partial_at(uint head, uint c) { return p.partials + (head * p.n_chunks_max + c) * PARTIAL_WORDS; }

void store_partial(uint head, uint c)
{
    const uint at = partial_at(head, c);
    [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) {
        if (dim_of(r) < HEAD_DIM) partials[at + dim_of(r)] = floatBitsToUint(own_o[r]);
    }
    if (gl_LocalInvocationIndex != 0u) return;
    partials[at + HEAD_DIM] = uint(own_m);
    partials[at + HEAD_DIM + 1u] = floatBitsToUint(own_l);
}

void combine(uint head, uint n_chunks)
{
    for (uint first = 0u; first < n_chunks; first += COMBINED) {
        uint m[COMBINED], l[COMBINED], o[COMBINED * DIM_ROUNDS];
        [[unroll]] for (uint i = 0u; i < COMBINED; i++) {
            const uint at = partial_at(head, min(first + i, n_chunks - 1u));
            m[i] = partials[at + HEAD_DIM];
            l[i] = partials[at + HEAD_DIM + 1u];
            [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) o[i * DIM_ROUNDS + r] = partials[at + min(dim_of(r), HEAD_DIM - 1u)];
        }
        [[unroll]] for (uint i = 0u; i < COMBINED; i++) {
            if (first + i >= n_chunks) continue;
            own_m = int(m[i]);
            own_l = uintBitsToFloat(l[i]);
            [[unroll]] for (uint r = 0u; r < DIM_ROUNDS; r++) own_o[r] = uintBitsToFloat(o[i * DIM_ROUNDS + r]);
            absorb_chunk(first + i == 0u);
        }
    }
}

void main()
{
    const uint id = gl_LocalInvocationIndex, c = gl_WorkGroupID.x, head = gl_WorkGroupID.y;
    const uint position = step_words[p.step.positions], seq = step_words[p.step.seqs];
    const uint n_chunks = position / LANES + 1u;
    const bool has_own = c + 1u == n_chunks;
    if (c >= n_chunks) return;
    const uint page = step_words[p.step.page_table + seq * p.step.n_seq_pages + c];
    load_items(head, position, has_own);
    const uint cache_at = page * kv_page_words(p.n_kv_heads, HEAD_DIM) + head / GROUP * kv_head_words(HEAD_DIM);
    const uint pos = position % LANES, n = has_own ? pos + 1u : LANES, n_stored = has_own ? pos : LANES;
    load_keys(cache_at, 0u, n_stored);
    float k_scale = 0.0, v_scale = 0.0;
    if (id < n_stored) {
        k_scale = uintBitsToFloat(kv[cache_at + kv_key_scale_word(HEAD_DIM, id)]);
        v_scale = uintBitsToFloat(kv[cache_at + kv_value_scale_word(HEAD_DIM, id)]);
    }
    load_values(cache_at, 0u, n_stored);

    if (id < 3u * PARTS) head_max[id] = 0u;
    if (id < PARTS) {
        chunk_m[id] = -0x7fffffff - 1;
        chunk_l[id] = 0;
        chunk_w[id] = 0u;
    }
    barrier();
    turn_items();
    barrier();
    const bool is_first = head % GROUP == 0u;
    quantise_items(has_own && is_first && page < p.n_pages, cache_at, pos);
    if (id == 0u && c == 0u) mark_poison(0u, p.q_node, absmax_of(0u));
    if (id == 0u && has_own && is_first) mark_poison(0u, p.k_node, absmax_of(1u));
    const bool is_own = id >= n_stored;
    if (is_own) {
        k_scale = scale_of(1u);
        v_scale = scale_of(2u);
    }
    const float q_scale = scale_of(0u) * p.log2e_by_sqrt;
    barrier();
    weigh(dot_of_keys(cache_at, n_stored, is_own), q_scale, k_scale, v_scale, id < n);
    sum_values(cache_at, n, n_stored);
    own_chunk();
    if (n_chunks == 1u) {
        absorb_chunk(true);
        store_head(head);
        return;
    }
    store_partial(head, c);
    if (!is_last_workgroup(p.counters + head, n_chunks)) return;
    combine(head, n_chunks);
    store_head(head);
}
