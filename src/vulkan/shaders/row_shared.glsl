// norm_quant or quant of one row into shared memory, by all invocations of a workgroup: for products that need its codes there.
//
// The includer defines OpSDot (dot.glsl), the constant N, elements of the row, and ROW_OP, ROW_EPS and ROW_RECIP_N. Called in uniform
// control flow: first row_ask, which begins to load what row_codes then works on.
#ifndef TN_ROW_SHARED_GLSL
#define TN_ROW_SHARED_GLSL

const uint CODE_FORM = 0u;
#include "vulkan/shaders/codes.glsl"

const uint ROW_CHUNKS = (N + 63u) / 64u;
const uint ROW_BLOCKS = (N + 255u) / 256u; // of SUM
// 8 invocations have a block: each 4 of its 32 lanes, of which it has 8 units of 4 elements.
const uint ROUND_BLOCKS = gl_WorkGroupSize.x / 8u;
const uint ROW_ROUNDS = (ROW_BLOCKS + ROUND_BLOCKS - 1u) / ROUND_BLOCKS;
const uint ROW_HELD = ROW_ROUNDS <= 2u ? ROW_ROUNDS : 0u; // rounds that registers keep; else a row is loaded twice
const uint ROUND_BLOCKS_MOST = ROW_BLOCKS < ROUND_BLOCKS ? ROW_BLOCKS : ROUND_BLOCKS;

// What 64 columns are multiplied with: unit i of a chunk has its words i and i + 8, which the same invocation makes.
shared uvec2 row_codes[8u * ROW_CHUNKS];
// Of a round, each block's eights one further than they are long, so that what reads one of each meets no other in its bank.
shared vec4 row_lanes[9u * ROUND_BLOCKS_MOST];
shared uint row_maxes[9u * ROUND_BLOCKS_MOST];
shared float row_block_sums[ROW_BLOCKS];
shared uint row_block_maxes[ROW_BLOCKS];
shared float row_to_codes, row_scale;
shared int row_code_sums[16]; // parts, so that additions seldom meet

const uint ROW_UNITS = ROW_HELD > 0u ? 8u * ROW_HELD : 8u;
vec4 row_x[ROW_UNITS], row_gains[ROW_UNITS]; // x becomes x * gain

uint row_unit(uint round, uint i)
{
    const uint id = gl_LocalInvocationIndex;
    return (round * ROUND_BLOCKS + id / 8u) * 64u + 8u * i + id % 8u;
}

void row_load(uint round, uint to)
{
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        const uint unit = row_unit(round, i);
        row_x[to + i] = row_gains[to + i] = vec4(0.0);
        if (4u * unit >= N) continue;
        row_x[to + i] = uintBitsToFloat(arena4[(p.codes >> 2) + unit]);
        if (ROW_OP == 1u) row_gains[to + i] = uintBitsToFloat(kv4[unit]);
        if (N % 4u == 0u) continue;
        row_x[to + i] = floats_within(row_x[to + i], unit, N);
        row_gains[to + i] = floats_within(row_gains[to + i], unit, N);
    }
}

void row_ask()
{
    [[unroll]] for (uint round = 0u; round < ROW_HELD; round++) row_load(round, 8u * round);
}

// The tree over a block's 32 lanes: l + 16, l + 8, l + 4, l + 2, l + 1.
float row_lane_tree(uint at)
{
    const vec4 a = row_lanes[at] + row_lanes[at + 4u], b = row_lanes[at + 1u] + row_lanes[at + 5u];
    const vec4 c = row_lanes[at + 2u] + row_lanes[at + 6u], d = row_lanes[at + 3u] + row_lanes[at + 7u];
    const vec4 t = (a + c) + (b + d);
    return (t.x + t.z) + (t.y + t.w);
}

// Block sums and maxima of a round whose units are in row_x from `at` on.
void row_measure(uint round, uint at)
{
    const uint id = gl_LocalInvocationIndex, first = round * ROUND_BLOCKS;
    vec4 lanes = vec4(0.0);
    uint largest = 0u;
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        lanes = lanes + row_x[at + i] * row_x[at + i];
        if (ROW_OP == 1u) row_x[at + i] = row_x[at + i] * row_gains[at + i];
        largest = max(largest, abs_bits_max(row_x[at + i]));
    }
    if (round > 0u) barrier(); // the round before was read
    if (first + id / 8u < ROW_BLOCKS) {
        row_lanes[9u * (id / 8u) + id % 8u] = lanes;
        row_maxes[9u * (id / 8u) + id % 8u] = largest;
    }
    barrier();
    if (id >= ROUND_BLOCKS || first + id >= ROW_BLOCKS) return;
    if (ROW_OP == 1u) row_block_sums[first + id] = row_lane_tree(9u * id);
    largest = 0u;
    [[unroll]] for (uint i = 0u; i < 8u; i++) largest = max(largest, row_maxes[9u * id + i]);
    row_block_maxes[first + id] = largest;
}

// By one invocation, from all blocks.
void row_weigh()
{
    uint largest = 0u;
    float sum = 0.0;
    for (uint b = 0u; b < ROW_BLOCKS; b++) largest = max(largest, row_block_maxes[b]);
    if (ROW_OP == 2u) {
        const float a = uintBitsToFloat(max(largest, QUANT_LEAST));
        row_to_codes = 127.0 * recip(a);
        row_scale = a * uintBitsToFloat(RECIP_127);
        return;
    }
    for (uint b = 0u; b < ROW_BLOCKS; b++) sum = sum + row_block_sums[b];
    const float mean = (sum * ROW_RECIP_N) + ROW_EPS, least = uintBitsToFloat(ABS_BITS_2M100);
    const float r = rsqrt(mean > least ? mean : least), a = uintBitsToFloat(largest), an = a * r;
    const bool is_big = an >= uintBitsToFloat(QUANT_LEAST);
    row_to_codes = is_big ? 127.0 * recip(a) : r * 12700000.0;
    row_scale = is_big ? an * uintBitsToFloat(RECIP_127) : uintBitsToFloat(0x33a917dcu); // RN(1e-5/127)
}

void row_store(uint round, uint at, inout int sum)
{
    const uint id = gl_LocalInvocationIndex;
    uint words[8];
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        const uint unit = row_unit(round, i);
        const ivec4 q = codes_within(codes_of(row_x[at + i] * vec4(row_to_codes)), unit, N);
        const uvec4 b = uvec4(q) & 0xffu;
        words[i] = b.x | b.y << 8 | b.z << 16 | b.w << 24;
        sum += dot4(words[i], 0x01010101u);
    }
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        const uint chunk = (round * ROUND_BLOCKS + id / 8u) * 4u + i;
        if (chunk < ROW_CHUNKS) row_codes[8u * chunk + id % 8u] = uvec2(words[2u * i], words[2u * i + 1u]);
    }
}

// Codes that are in memory already.
void row_fetch()
{
    for (uint i = gl_LocalInvocationIndex; i < 8u * ROW_CHUNKS; i += gl_WorkGroupSize.x) {
        const uint at = p.codes + i / 8u * 16u + i % 8u;
        row_codes[i] = uvec2(arena[at], arena[at + 8u]);
    }
    if (gl_LocalInvocationIndex == 0u) {
        row_scale = arena_f32(p.scales);
        row_code_sums[0] = int(arena[p.sums]);
    }
    barrier();
}

// Codes, scale and sums are there for all invocations on return.
void row_make()
{
    const uint id = gl_LocalInvocationIndex;
    if (id < 16u) row_code_sums[id] = 0;
    if (ROW_OP == 0u) {
        barrier();
        row_fetch();
        return;
    }
    if (ROW_HELD > 0u) {
        [[unroll]] for (uint round = 0u; round < ROW_HELD; round++) row_measure(round, 8u * round);
    } else {
        for (uint round = 0u; round < ROW_ROUNDS; round++) {
            row_load(round, 0u);
            row_measure(round, 0u);
        }
    }
    barrier();
    if (id == 0u) row_weigh();
    barrier();
    int sum = 0;
    if (ROW_HELD > 0u) {
        [[unroll]] for (uint round = 0u; round < ROW_HELD; round++) row_store(round, 8u * round, sum);
    } else {
        for (uint round = 0u; round < ROW_ROUNDS; round++) {
            row_load(round, 0u);
            if (ROW_OP == 1u) {
                [[unroll]] for (uint i = 0u; i < 8u; i++) row_x[i] = row_x[i] * row_gains[i];
            }
            row_store(round, 0u, sum);
        }
    }
    atomicAdd(row_code_sums[id % 16u], sum);
    barrier();
}

int row_sum()
{
    int sum = 0;
    [[unroll]] for (uint i = 0u; i < 16u; i++) sum += row_code_sums[i];
    return sum;
}

#endif
