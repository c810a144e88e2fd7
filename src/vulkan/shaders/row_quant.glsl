// norm, norm_quant and quant of one row by all invocations of a workgroup (at most 512): for row_quant.comp, and for shaders whose last
// workgroup goes on with the row that they made. Called in uniform control flow; calls may follow each other.
//
// The includer declares CODE_FORM (codes.glsl) and defines where the row lies:
//     vec4 row_x4(tn_vk_row_params p, uint row, uint unit)     elements 4 unit .. 4 unit + 3, of any value beyond p.n
// Of p it fills in what the op reads: n, y_at, y_stride; eps and recip_n for norms; scales and sums, or node
// and row.
//
// A row is read twice, the second time from a cache; keeping it in shared memory would bound its length.
#ifndef TN_ROW_QUANT_GLSL
#define TN_ROW_QUANT_GLSL

#include "vulkan/shaders/codes.glsl"

vec4 row_x4(tn_vk_row_params p, uint row, uint unit);

const uint ROW_BLOCK_UNITS = 64u; // SUM's block of 256 elements
// Of a block 8 invocations add 4 lanes each; a round has as many blocks as the workgroup has eights.
const uint ROW_ROUND_BLOCKS = gl_WorkGroupSize.x / 8u;
shared vec4 row_lanes[gl_WorkGroupSize.x];
shared float row_block_sums[ROW_ROUND_BLOCKS];
shared uint row_max;
shared int row_code_sum;

#ifdef TN_GAINS_AT_KV
vec4 row_gains4(uint unit) { return uintBitsToFloat(kv4[unit]); }
#else
vec4 row_gains4(uint unit) { return uintBitsToFloat(LOAD_WEIGHTS4(unit)); }
#endif

// The tree over a block's 32 lanes: l + 16, l + 8, l + 4, l + 2, l + 1.
float row_lane_tree(uint at)
{
    const vec4 a = row_lanes[at] + row_lanes[at + 4u], b = row_lanes[at + 1u] + row_lanes[at + 5u];
    const vec4 c = row_lanes[at + 2u] + row_lanes[at + 6u], d = row_lanes[at + 3u] + row_lanes[at + 7u];
    const vec4 t = (a + c) + (b + d);
    return (t.x + t.z) + (t.y + t.w);
}

// SUM of x * x, the same in all invocations. With gains, row_max becomes the largest bits of |x * gain| after the next barrier.
float row_sum_squares(tn_vk_row_params p, uint row, bool wants_max)
{
    const uint id = gl_LocalInvocationID.x, n_blocks = (p.n + 255u) / 256u;
    uint largest = 0u;
    float sum = 0.0;
    for (uint first = 0u; first < n_blocks; first += ROW_ROUND_BLOCKS) {
        vec4 lanes = vec4(0.0);
        const uint from = (first + id / 8u) * ROW_BLOCK_UNITS + id % 8u;
        for (uint unit = from; unit < from + ROW_BLOCK_UNITS && 4u * unit < p.n; unit += 8u) {
            const vec4 x = floats_within(row_x4(p, row, unit), unit, p.n);
            lanes = lanes + x * x;
            if (wants_max) largest = max(largest, abs_bits_max(floats_within(x * row_gains4(unit), unit, p.n)));
        }
        row_lanes[id] = lanes;
        barrier();
        if (id < ROW_ROUND_BLOCKS) row_block_sums[id] = row_lane_tree(8u * id);
        barrier();
        const uint count = min(n_blocks - first, ROW_ROUND_BLOCKS);
        for (uint b = 0u; b < count; b++) sum = sum + row_block_sums[b];
    }
    if (wants_max) atomicMax(row_max, largest);
    return sum;
}

float row_rms_recip(tn_vk_row_params p, float sum)
{
    const float mean = (sum * p.recip_n) + p.eps, least = uintBitsToFloat(ABS_BITS_2M100);
    return rsqrt(mean > least ? mean : least);
}

void row_norm(tn_vk_row_params p, uint row)
{
    const float r = row_rms_recip(p, row_sum_squares(p, row, false));
    uint largest = 0u;
    for (uint unit = gl_LocalInvocationID.x; 4u * unit < p.n; unit += gl_WorkGroupSize.x) {
        const vec4 z = (row_x4(p, row, unit) * row_gains4(unit)) * vec4(r);
        const vec4 y = floats_within(vec4(fl(z.x), fl(z.y), fl(z.z), fl(z.w)), unit, p.n);
        const uint at = p.y_at + row * p.y_stride + 4u * unit;
        for (uint i = 0u; i < 4u && 4u * unit + i < p.n; i++) outb[at + i] = floatBitsToUint(y[i]);
        largest = max(largest, abs_bits_max(y));
    }
    mark_poison(token_of(p.row, row), p.node, largest);
}

// Codes of x, or of x * gain, times to_codes; 0 from n on. Then the row's scale and the sum of its codes.
void row_store(tn_vk_row_params p, uint row, bool has_gains, float to_codes, float scale)
{
    const uint n_units = codes_units(p.y_stride);
    int sum = 0;
    for (uint unit = gl_LocalInvocationID.x; unit < n_units; unit += gl_WorkGroupSize.x) {
        ivec4 q = ivec4(0);
        if (4u * unit < p.n) {
            vec4 h = row_x4(p, row, unit);
            if (has_gains) h = h * row_gains4(unit);
            q = codes_within(codes_of(h * vec4(to_codes)), unit, p.n);
        }
        codes_store(p.y_at + row * p.y_stride, unit, q);
        sum += (q.x + q.y) + (q.z + q.w);
    }
    atomicAdd(row_code_sum, sum);
    barrier();
    if (gl_LocalInvocationID.x == 0u) {
        arena[p.scales + row] = floatBitsToUint(scale);
        arena[p.sums + row] = uint(row_code_sum);
    }
}

// The last call's readers of these have passed its last barrier, or are this invocation.
void row_clear()
{
    if (gl_LocalInvocationID.x == 0u) {
        row_max = 0u;
        row_code_sum = 0;
    }
}

void row_norm_quant(tn_vk_row_params p, uint row)
{
    row_clear();
    const float r = row_rms_recip(p, row_sum_squares(p, row, true));
    barrier();
    const float a = uintBitsToFloat(row_max), an = a * r;
    const bool is_big = an >= uintBitsToFloat(QUANT_LEAST);
    const float to_codes = is_big ? 127.0 * recip(a) : r * 12700000.0;
    const float scale = is_big ? an * uintBitsToFloat(RECIP_127) : uintBitsToFloat(0x33a917dcu); // RN(1e-5/127)
    row_store(p, row, true, to_codes, scale);
}

void row_quant(tn_vk_row_params p, uint row)
{
    row_clear();
    barrier();
    uint largest = 0u;
    for (uint unit = gl_LocalInvocationID.x; 4u * unit < p.n; unit += gl_WorkGroupSize.x)
        largest = max(largest, abs_bits_max(floats_within(row_x4(p, row, unit), unit, p.n)));
    atomicMax(row_max, largest);
    barrier();
    const float a = uintBitsToFloat(max(row_max, QUANT_LEAST));
    row_store(p, row, false, 127.0 * recip(a), a * uintBitsToFloat(RECIP_127));
}

#endif
