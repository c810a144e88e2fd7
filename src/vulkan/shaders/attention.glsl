// Attention of the query heads of one KV head over one chunk of 128 positions, and the combination of chunks, for one workgroup.
//
// The KV binding holds one layer. Page q begins at word q * n_kv_heads * 128 * (head_dim + 2), in it KV head h at h * 128 * (head_dim + 2):
//   keys    64 * head_dim words of int16 codes in units of 8 dims (4 words; where head_dim is no multiple of 8, of 2 dims, 1 word):
//           unit u of position i is unit number u * 128 + i, so that neighbouring lanes read neighbouring units
//   values  64 * head_dim words of int16 codes: head_dim / 2 words a position
//   scales  128 f32 of keys, 128 f32 of values
// The lower half of a word is the even dim. Lanes own positions while they score, units of the output while they sum values.
#ifndef TN_ATTENTION_GLSL
#define TN_ATTENTION_GLSL

#extension GL_EXT_control_flow_attributes : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint HEAD_DIM = 128; // even
layout(constant_id = 2) const uint GROUP = 4;      // query heads of a KV head
layout(constant_id = 3) const uint UNIT4 = 1;      // 1: head_dim is a multiple of 8
layout(push_constant) uniform Push { tn_vk_attention_params p; };

layout(set = 0, binding = 5) writeonly buffer Out4 { uvec4 outb4[]; };      // the same output
layout(set = 0, binding = 1) coherent buffer Partials { uint partials[]; }; // the same arena: what workgroups tell each other
layout(set = 0, binding = 1) coherent buffer Partials4 { uvec4 partials4[]; };

const uint CHUNK = 128u;
const uint ABS_BITS_2M30 = 0x30800000u; // heads below it quantise to zeros
const uint LANES = gl_WorkGroupSize.x;
const uint UNIT_WORDS = UNIT4 != 0u ? 4u : 1u;
const uint UNIT_DIMS = 2 * UNIT_WORDS;
const uint UNITS = HEAD_DIM / UNIT_DIMS;
// Heads that are done together, so that keys and values are read once for them: as many as shared memory has room for, in equal parts.
const uint HEADS_MAX = UNIT4 != 0u && HEAD_DIM <= 128u ? 8u : 4u;
const uint PARTS = (GROUP + HEADS_MAX - 1) / HEADS_MAX;
const uint HEADS = (GROUP + PARTS - 1) / PARTS;
const uint HEAD_QUADS = (HEADS + 3) / 4;
// Scoring: position lane + b * LANES for every block b.
const uint BLOCKS = LANES < CHUNK ? CHUNK / LANES : 1u;
const uint PAIR = BLOCKS > 1u ? 2u : 1u; // positions whose weights share a word: those of two blocks of a lane
// Summing: slice s of the lanes takes positions s, s + SLICES, .. ; round r of a lane is unit lane % UNITS + r * LANES.
const uint SLICES = LANES > UNITS ? LANES / UNITS : 1u;
const uint ROUNDS = (UNITS + LANES - 1) / LANES;
const uint HEAD_VALUES = ROUNDS * UNIT_DIMS; // outputs of a head that a lane sums
// Combining: slice s has heads s, s + SLICES, ..
const uint OWN = (HEADS + SLICES - 1) / SLICES;

// Shared memory: at most 14.1 KiB (4 heads of 254), 10.3 KiB where head_dim is a multiple of 8.
shared uint q_max[HEADS];
shared uvec4 q_codes[HEADS * UNITS];
shared uvec4 weight_codes[CHUNK / PAIR * HEAD_QUADS]; // component h % 4: of head h, the second position in the upper half
shared int sums[SLICES > 1u ? HEADS * HEAD_DIM : 1];
// Of a chunk: largest exponent, bits of W, sum of the weights. Two sets, so that one is cleared while the other is in use.
shared int chunk_m[2 * HEADS];
shared uint chunk_w[2 * HEADS];
shared int chunk_l[2 * HEADS];

// Of a lane. What a chunk gives for the heads it owns, and the same of all chunks so far.
int own_m[OWN], all_m[OWN];
float own_l[OWN], all_l[OWN];
float own_o[OWN * HEAD_VALUES], all_o[OWN * HEAD_VALUES];
float q_scale[HEADS];
int dots[BLOCKS * HEADS];     // of its positions
int acc[HEADS * HEAD_VALUES]; // sums of weight times value codes, of its units and its slice of the positions

int low_code(uint word) { return int(word << 16) >> 16; }
int high_code(uint word) { return int(word) >> 16; }
uint lane_slice() { return SLICES > 1u ? gl_LocalInvocationIndex / UNITS : 0u; }
// Lanes without a unit in a round work on the last one, for nothing.
uint lane_unit(uint r)
{
    const uint unit = SLICES > 1u ? gl_LocalInvocationIndex % UNITS : gl_LocalInvocationIndex + r * LANES;
    return unit < UNITS ? unit : UNITS - 1u;
}
bool has_unit(uint r) { return SLICES > 1u ? lane_slice() < SLICES : gl_LocalInvocationIndex + r * LANES < UNITS; }
uint own_head(uint i) { return SLICES > 1u ? lane_slice() + i * SLICES : i; }
bool has_head(uint part, uint h) { return h < HEADS && part * HEADS + h < GROUP; }

uvec4 load_unit(uint word)
{
#ifdef TN_TEXEL
    return LOAD_WEIGHTS4(word / 4u); // the binding of weights is that of the layer's KV here
#else
    if (UNIT4 != 0u) return kv4[word / 4u];
    return uvec4(kv[word], 0u, 0u, 0u);
#endif
}
float load_scale(uint word)
{
#ifdef TN_TEXEL
    const uvec4 four = LOAD_WEIGHTS4(word / 4u);
    const uint two = (word & 2u) != 0u ? ((word & 1u) != 0u ? four.w : four.z) : ((word & 1u) != 0u ? four.y : four.x);
    return uintBitsToFloat(two);
#else
    return uintBitsToFloat(kv[word]);
#endif
}

// Unit u of a query head: f32 bits.
void load_query(uint at, uint u, out uint x[8])
{
    if (UNIT4 != 0u) {
        const uvec4 a = LOAD_ARENA4(at / 4u + 2u * u), b = LOAD_ARENA4(at / 4u + 2u * u + 1u);
        [[unroll]] for (uint i = 0; i < UNIT_WORDS; i++) {
            x[i] = a[i];
            x[UNIT_WORDS + i] = b[i];
        }
    } else {
        x[0] = arena[at + 2u * u];
        x[1] = arena[at + 2u * u + 1u];
    }
}

void clear_chunk(uint set)
{
    if (gl_LocalInvocationIndex >= HEADS) return;
    chunk_m[set * HEADS + gl_LocalInvocationIndex] = -0x7fffffff - 1;
    chunk_w[set * HEADS + gl_LocalInvocationIndex] = 0u;
    chunk_l[set * HEADS + gl_LocalInvocationIndex] = 0;
}

uint query_at(uint row, uint part, uint h) { return p.q_at + row * p.q_stride + (gl_WorkGroupID.y * GROUP + part * HEADS + h) * HEAD_DIM; }

// Quantises the heads of a part into shared memory, and clears the first set of chunk values. Heads beyond the group become zeros.
void quantise_queries(uint row, uint part, uint first_set)
{
    if (PARTS > 1u) barrier(); // some lanes may still read what the part before left in shared memory
    if (gl_LocalInvocationIndex < HEADS) q_max[gl_LocalInvocationIndex] = 0u;
    clear_chunk(first_set);
    barrier();
    uint x[8];
    for (uint i = gl_LocalInvocationIndex; i < HEADS * UNITS; i += LANES) {
        if (!has_head(part, i / UNITS)) continue;
        load_query(query_at(row, part, i / UNITS), i % UNITS, x);
        uint largest = 0u;
        [[unroll]] for (uint d = 0; d < UNIT_DIMS; d++) largest = max(largest, x[d] & 0x7fffffffu);
        atomicMax(q_max[i / UNITS], largest);
    }
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < HEADS * UNITS; i += LANES) {
        const uint largest = q_max[i / UNITS];
        uvec4 codes = uvec4(0u);
        if (largest >= ABS_BITS_2M30) {
            const float to_codes = small_float(int(p.a_qk)) * recip(uintBitsToFloat(largest));
            load_query(query_at(row, part, i / UNITS), i % UNITS, x);
            [[unroll]] for (uint w = 0; w < UNIT_WORDS; w++) {
                const int low = round_int(uintBitsToFloat(x[2 * w]) * to_codes), high = round_int(uintBitsToFloat(x[2 * w + 1]) * to_codes);
                codes[w] = (uint(low) & 0xffffu) | (uint(high) << 16);
            }
        }
        q_codes[i] = codes;
    }
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        const uint largest = q_max[h];
        q_scale[h] = largest < ABS_BITS_2M30 ? 0.0 : (uintBitsToFloat(largest) * p.recip_a_qk) * p.log2e_by_sqrt;
    }
    barrier();
}

// The position that a lane scores in a block; lanes beyond the chunk read the last one, for nothing.
uint read_position(uint b)
{
    const uint i = gl_LocalInvocationIndex + b * LANES;
    return LANES > CHUNK && i >= CHUNK ? CHUNK - 1u : i;
}

// Keys of a chunk -> dots.
void score(uint keys_at)
{
    [[unroll]] for (uint i = 0; i < BLOCKS * HEADS; i++) dots[i] = 0;
    for (uint u = 0; u < UNITS; u++) {
        uvec4 q[HEADS];
        [[unroll]] for (uint h = 0; h < HEADS; h++) q[h] = q_codes[h * UNITS + u];
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
            const uvec4 k = load_unit(keys_at + (u * CHUNK + read_position(b)) * UNIT_WORDS);
            [[unroll]] for (uint w = 0; w < UNIT_WORDS; w++) {
                const int low = low_code(k[w]), high = high_code(k[w]);
                [[unroll]] for (uint h = 0; h < HEADS; h++)
                    dots[b * HEADS + h] += low * low_code(q[h][w]) + high * high_code(q[h][w]);
            }
        }
    }
}

// Dots -> the weights' codes in shared memory, and m, W and l of the chunk in its set. n: visible positions.
void weigh(uint scales_at, uint n, uint set)
{
    const float t_max = 1048576.0;
    const int none = -0x40000000; // exponent of what is not visible: its weight is 0
    float weight[BLOCKS * HEADS], v_scale[BLOCKS];
    int exponent[BLOCKS * HEADS];
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        const bool visible = gl_LocalInvocationIndex + b * LANES < n;
        const float k_scale = load_scale(scales_at + read_position(b));
        v_scale[b] = load_scale(scales_at + CHUNK + read_position(b));
        v_scale[b] = visible ? v_scale[b] : 0.0;
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            float t = any_float(dots[b * HEADS + h]) * (q_scale[h] * k_scale);
            t = t > -t_max ? t : -t_max;
            t = t < t_max ? t : t_max;
            exponent[b * HEADS + h] = visible ? round_int(t) : none;
            weight[b * HEADS + h] = exp2_poly(t - round_even(t));
        }
    }
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        int m = none;
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) m = max(m, exponent[b * HEADS + h]);
        atomicMax(chunk_m[set * HEADS + h], m);
    }
    barrier();
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        const int m = chunk_m[set * HEADS + h];
        uint largest = 0u;
        int l = 0;
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
            const uint i = b * HEADS + h;
            const float x = m - exponent[i] > 24 ? 0.0 : shift(weight[i], exponent[i] - m);
            l += round_int_u(x * 4194304.0);
            weight[i] = x * v_scale[b];
            largest = max(largest, abs_bits(weight[i]));
        }
        atomicMax(chunk_w[set * HEADS + h], largest);
        atomicAdd(chunk_l[set * HEADS + h], l);
    }
    if (SLICES > 1u) {
        for (uint i = gl_LocalInvocationIndex; i < HEADS * HEAD_DIM; i += LANES) sums[i] = 0;
    }
    barrier();
    float to_codes[HEADS];
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        const uint largest = chunk_w[set * HEADS + h];
        to_codes[h] = largest != 0u ? 4095.0 * recip(uintBitsToFloat(largest)) : 0.0;
    }
    [[unroll]] for (uint b = 0; b < BLOCKS; b += PAIR) {
        const uint at = gl_LocalInvocationIndex + b / PAIR * LANES;
        [[unroll]] for (uint quad = 0; quad < HEAD_QUADS; quad++) {
            uvec4 codes = uvec4(0u);
            [[unroll]] for (uint i = 0; i < 4u; i++) {
                const uint h = quad * 4u + i;
                if (h >= HEADS) continue;
                codes[i] = uint(round_int(weight[b * HEADS + h] * to_codes[h])) & 0xffffu;
                if (PAIR == 2u) codes[i] |= uint(round_int(weight[(b + PAIR - 1u) * HEADS + h] * to_codes[h])) << 16;
            }
            if (at < CHUNK / PAIR) weight_codes[at * HEAD_QUADS + quad] = codes;
        }
    }
    clear_chunk(1u - set);
    barrier();
}

// Weights' codes and values of a chunk -> acc.
void sum_values(uint values_at, uint n)
{
    [[unroll]] for (uint i = 0; i < HEADS * HEAD_VALUES; i++) acc[i] = 0;
    // Words of weights that have a visible position: in pairs, position i of 2 * LANES and the one LANES further on.
    const uint rest = n % (2u * LANES);
    const uint n_words = PAIR == 2u ? n / (2u * LANES) * LANES + (rest < LANES ? rest : LANES) : n;
    for (uint i = lane_slice() < SLICES ? lane_slice() : n_words; i < n_words; i += SLICES) {
        const uint position = PAIR == 2u ? i / LANES * (2u * LANES) + i % LANES : i;
        uvec4 codes[HEAD_QUADS];
        [[unroll]] for (uint quad = 0; quad < HEAD_QUADS; quad++) codes[quad] = weight_codes[i * HEAD_QUADS + quad];
        [[unroll]] for (uint r = 0; r < ROUNDS; r++) {
            const uint at = values_at + position * (HEAD_DIM / 2u) + lane_unit(r) * UNIT_WORDS;
            const uvec4 v = load_unit(at);
            const uvec4 v2 = PAIR == 2u ? load_unit(at + LANES * (HEAD_DIM / 2u)) : uvec4(0u);
            [[unroll]] for (uint w = 0; w < UNIT_WORDS; w++) {
                [[unroll]] for (uint h = 0; h < HEADS; h++) {
                    const int c = int(codes[h / 4u][h % 4u] & 0xffffu), c2 = int(codes[h / 4u][h % 4u] >> 16);
                    const uint o = h * HEAD_VALUES + r * UNIT_DIMS + 2u * w;
                    acc[o] += c * low_code(v[w]);
                    acc[o + 1u] += c * high_code(v[w]);
                    if (PAIR == 2u) {
                        acc[o] += c2 * low_code(v2[w]);
                        acc[o + 1u] += c2 * high_code(v2[w]);
                    }
                }
            }
        }
    }
}

// Sums of all slices -> those of the heads that the lane owns, as own_*.
void own_chunk(uint set)
{
    if (SLICES > 1u) {
        [[unroll]] for (uint i = 0; i < HEADS * HEAD_VALUES; i++) {
            if (has_unit(0u)) atomicAdd(sums[i / HEAD_VALUES * HEAD_DIM + lane_unit(0u) * UNIT_DIMS + i % HEAD_VALUES], acc[i]);
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const uint h = own_head(i) < HEADS ? own_head(i) : HEADS - 1u;
        const float v_unit = uintBitsToFloat(chunk_w[set * HEADS + h]) * p.recip_a_v;
        own_m[i] = chunk_m[set * HEADS + h];
        own_l[i] = any_float(chunk_l[set * HEADS + h]) * 2.384185791015625e-7; // 2^-22
        [[unroll]] for (uint j = 0; j < HEAD_VALUES; j++) {
            const int sum = SLICES > 1u ? sums[h * HEAD_DIM + lane_unit(0u) * UNIT_DIMS + j] : acc[i * HEAD_VALUES + j];
            own_o[i * HEAD_VALUES + j] = any_float(sum) * v_unit;
        }
    }
}

// Chunk c of a row of n_visible positions -> own_*. Sets alternate from chunk to chunk of a workgroup.
void attend_chunk(uint seq, uint c, uint n_visible, uint set)
{
    const uint page = step_words[p.step.page_table + seq * p.step.n_seq_pages + c];
    const uint head_words = CHUNK * (HEAD_DIM + 2u);
    const uint keys_at = (page * p.n_kv_heads + gl_WorkGroupID.y) * head_words;
    const uint n = n_visible - c * CHUNK < CHUNK ? n_visible - c * CHUNK : CHUNK;
    score(keys_at);
    weigh(keys_at + CHUNK * HEAD_DIM, n, set);
    sum_values(keys_at + CHUNK / 2u * HEAD_DIM, n);
    own_chunk(set);
}

// all_* of a first chunk, or with one more.
void absorb_chunk(bool is_first)
{
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const int m = is_first ? own_m[i] : max(all_m[i], own_m[i]);
        const int by = all_m[i] - m, own_by = own_m[i] - m;
        const float l = f100(shift(all_l[i], by)) + f100(shift(own_l[i], own_by));
        all_l[i] = is_first ? own_l[i] : l;
        [[unroll]] for (uint j = 0; j < HEAD_VALUES; j++) {
            const uint at = i * HEAD_VALUES + j;
            const float o = f100(shift(all_o[at], by)) + f100(shift(own_o[at], own_by));
            all_o[at] = is_first ? own_o[at] : o;
        }
        all_m[i] = m;
    }
}

// all_* -> the row's output.
void store_heads(uint row, uint part)
{
    uint largest = 0u;
    [[unroll]] for (uint i = 0; i < OWN; i++) {
        const float by = recip(all_l[i]);
        const uint head_at = p.y_at + row * p.y_stride + (gl_WorkGroupID.y * GROUP + part * HEADS + own_head(i)) * HEAD_DIM;
        [[unroll]] for (uint r = 0; r < ROUNDS; r++) {
            if (!has_head(part, own_head(i)) || !has_unit(r)) continue;
            const uint at = head_at + lane_unit(r) * UNIT_DIMS;
            uint y[8];
            [[unroll]] for (uint j = 0; j < UNIT_DIMS; j++) {
                y[j] = floatBitsToUint(fl(all_o[i * HEAD_VALUES + r * UNIT_DIMS + j] * by));
                largest = max(largest, y[j] & 0x7fffffffu);
            }
            if (UNIT4 != 0u) {
                outb4[at / 4u] = uvec4(y[0], y[1], y[2], y[3]);
                outb4[at / 4u + 1u] = uvec4(y[4], y[5], y[6], y[7]);
            } else {
                outb[at] = y[0];
                outb[at + 1u] = y[1];
            }
        }
    }
    mark_poison(row, p.node, largest);
}

#endif
