// norm_quant or quant of one row into shared memory, by all invocations of a workgroup: for products that need its codes there.
//
// It stands in front of every product of one token, in each of its workgroups, so what counts is how long the way from x to the codes is: a
// lane of a block of SUM to an invocation, and codes do not wait for the norm's factor, which one invocation finds meanwhile.
//
// The includer defines OpSDot (dot.glsl), the constant N, elements of the row, and ROW_OP, ROW_EPS, ROW_RECIP_N and ROW_IS_KEPT. Called in
// uniform control flow: first row_ask, which begins to load what row_make then works on.
#ifndef TN_ROW_SHARED_GLSL
#define TN_ROW_SHARED_GLSL

const uint CODE_FORM = 0u;
#include "vulkan/shaders/codes.glsl"

const uint ROW_CHUNKS = (N + 63u) / 64u;
const uint ROW_BLOCKS = (N + 255u) / 256u;       // of SUM
const uint ROW_BLOCK_QUADS = (ROW_BLOCKS + 3u) / 4u;
const uint ROW_LANES = 32u * ROW_BLOCKS;         // which the invocations share, round after round
const uint ROW_ROUNDS = (ROW_LANES + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
const uint ROW_HELD = ROW_ROUNDS < 3u ? ROW_ROUNDS : 3u; // rounds that are asked for at once
const bool ROW_HAS_TAIL = N % 256u != 0u;

// What 64 columns are multiplied with: units 2 i and 2 i + 1 of a chunk; unit i has words i and i + 8.
shared uvec4 row_codes[4u * ROW_CHUNKS];
// x times its gains; where there is no room for it, x is loaded again.
shared vec4 row_kept[ROW_IS_KEPT != 0u ? 64u * ROW_BLOCKS : 1u];
// Each block's eights one further than they are long, so that what reads one of each meets no other in its bank.
shared vec4 row_lanes[9u * ROW_BLOCKS];
shared vec4 row_block_sums[ROW_BLOCK_QUADS]; // zeros behind the last
shared float row_scale, row_small; // row_small: what a row is multiplied with whose codes do not reach 127; else 0
// Parts, so that those who add to them seldom meet: the largest, and the sum of the codes.
shared uvec4 row_maxes[4];
shared int row_code_sums[16];

float row_x[8u * ROW_HELD], row_gains[8u * ROW_HELD];

// Element i of 8 of a lane: those of a block are 32 apart.
uint row_element(uint lane, uint i) { return lane / 32u * 256u + lane % 32u + 32u * i; }

void row_load(uint round, uint to)
{
    const uint lane = round * gl_WorkGroupSize.x + gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        const uint e = row_element(lane, i);
        const bool is_there = ROW_HAS_TAIL ? e < N : lane < ROW_LANES;
        row_x[to + i] = is_there ? arena_f32(p.codes + e) : 0.0;
        row_gains[to + i] = ROW_OP == 1u && is_there ? uintBitsToFloat(kv[e]) : 0.0;
    }
}

void row_ask()
{
    [[unroll]] for (uint round = 0u; round < ROW_HELD; round++) row_load(round, 8u * round);
}

// Of a round whose elements are at `at`, the largest of which, and of `largest`, it returns.
uint row_measure(uint round, uint at, uint largest)
{
    const uint lane = round * gl_WorkGroupSize.x + gl_LocalInvocationIndex, to = 9u * (lane / 32u) + lane % 32u / 4u;
    if (lane >= ROW_LANES) return largest;
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        const uint e = row_element(lane, i);
        const float x = row_x[at + i], y = ROW_OP == 1u ? x * row_gains[at + i] : x;
        sum = sum + x * x;
        largest = max(largest, abs_bits(y));
        if (ROW_IS_KEPT != 0u) row_kept[e / 4u][e % 4u] = y;
    }
    row_lanes[to][lane % 4u] = sum;
    return largest;
}

// The tree over a block's 32 lanes: l + 16, l + 8, l + 4, l + 2, l + 1.
float row_lane_tree(uint at)
{
    const vec4 a = row_lanes[at] + row_lanes[at + 4u], b = row_lanes[at + 1u] + row_lanes[at + 5u];
    const vec4 c = row_lanes[at + 2u] + row_lanes[at + 6u], d = row_lanes[at + 3u] + row_lanes[at + 7u];
    const vec4 t = (a + c) + (b + d);
    return (t.x + t.z) + (t.y + t.w);
}
void row_measure_blocks()
{
    for (uint b = gl_LocalInvocationIndex; b < 4u * ROW_BLOCK_QUADS; b += gl_WorkGroupSize.x)
        row_block_sums[b / 4u][b % 4u] = b < ROW_BLOCKS ? row_lane_tree(9u * b) : 0.0;
}

// By one invocation: the codes' scale, of a row whose largest value is a.
void row_weigh(float a)
{
    row_small = 0.0;
    row_scale = a * uintBitsToFloat(RECIP_127);
    if (ROW_OP == 2u) return;
    float sum = 0.0;
    for (uint b = 0u; b < ROW_BLOCK_QUADS; b++) {
        const vec4 of = row_block_sums[b];
        sum = (((sum + of.x) + of.y) + of.z) + of.w;
    }
    const float mean = (sum * ROW_RECIP_N) + ROW_EPS, least = uintBitsToFloat(ABS_BITS_2M100);
    const float r = rsqrt(mean > least ? mean : least), an = a * r;
    row_scale = an * uintBitsToFloat(RECIP_127);
    if (an >= uintBitsToFloat(QUANT_LEAST)) return;
    row_small = r * 12700000.0;
    row_scale = uintBitsToFloat(0x33a917dcu); // RN(1e-5/127)
}

vec4 row_unit(uint unit)
{
    if (ROW_IS_KEPT != 0u) return row_kept[unit];
    if (4u * unit >= N) return vec4(0.0);
    vec4 x = uintBitsToFloat(arena4[(p.codes >> 2) + unit]);
    if (ROW_OP == 1u) x = x * uintBitsToFloat(kv4[unit]);
    return ROW_HAS_TAIL ? floats_within(x, unit, N) : x;
}

// Codes are the low bytes of what round_int gives.
void row_store(float to_codes)
{
    int sum = 0;
    for (uint first = 0u; first < 16u * ROW_CHUNKS; first += gl_WorkGroupSize.x) {
        const uint unit = first + gl_LocalInvocationIndex;
        if (unit >= 16u * ROW_CHUNKS) continue;
        const uvec4 b = floatBitsToUint(row_unit(unit) * vec4(to_codes) + vec4(12582912.0));
        const uint word = (b.x & 0xffu) | (b.y & 0xffu) << 8 | (b.z & 0xffu) << 16 | b.w << 24;
        row_codes[unit / 16u * 4u + unit % 8u / 2u][unit % 2u * 2u + unit / 8u % 2u] = word;
        sum += dot4(word, 0x01010101u);
    }
    atomicAdd(row_code_sums[gl_LocalInvocationIndex % 16u], sum);
}

// Codes that are in memory already.
void row_fetch()
{
    for (uint i = gl_LocalInvocationIndex; i < 8u * ROW_CHUNKS; i += gl_WorkGroupSize.x) {
        const uint at = p.codes + i / 8u * 16u + i % 8u;
        row_codes[i / 2u][i % 2u * 2u] = arena[at];
        row_codes[i / 2u][i % 2u * 2u + 1u] = arena[at + 8u];
    }
    if (gl_LocalInvocationIndex == 0u) {
        row_scale = arena_f32(p.scales);
        row_code_sums[0] = int(arena[p.sums]);
    }
    barrier();
}

void row_clear_sums()
{
    if (gl_LocalInvocationIndex < 16u) row_code_sums[gl_LocalInvocationIndex] = 0;
}

// Codes, scale and sums are there for all invocations on return.
void row_make()
{
    row_clear_sums();
    if (gl_LocalInvocationIndex < 4u) row_maxes[gl_LocalInvocationIndex] = uvec4(0u);
    barrier();
    if (ROW_OP == 0u) {
        row_fetch();
        return;
    }
    uint most = 0u;
    [[unroll]] for (uint round = 0u; round < ROW_HELD; round++) most = row_measure(round, 8u * round, most);
    for (uint round = ROW_HELD; round < ROW_ROUNDS; round++) {
        row_load(round, 0u);
        most = row_measure(round, 0u, most);
    }
    atomicMax(row_maxes[gl_LocalInvocationIndex % 4u][gl_LocalInvocationIndex / 4u % 4u], most);
    barrier();
    if (ROW_OP == 1u) {
        row_measure_blocks();
        barrier();
    }
    const uvec4 maxes = max(max(row_maxes[0], row_maxes[1]), max(row_maxes[2], row_maxes[3]));
    most = max(max(maxes.x, maxes.y), max(maxes.z, maxes.w));
    const float a = uintBitsToFloat(ROW_OP == 2u ? max(most, QUANT_LEAST) : most);
    if (gl_LocalInvocationIndex == gl_WorkGroupSize.x - 1u) row_weigh(a);
    row_store(127.0 * recip(a));
    barrier();
    const float small = row_small;
    if (floatBitsToUint(small) == 0u) return;
    row_clear_sums();
    barrier();
    row_store(small);
    barrier();
}

int row_sum()
{
    int sum = 0;
    [[unroll]] for (uint i = 0u; i < 16u; i++) sum += row_code_sums[i];
    return sum;
}

#endif
