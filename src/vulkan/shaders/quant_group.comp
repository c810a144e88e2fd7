#version 450
// quant in groups of 32 or 256: what quantised dense weights are multiplied by.   Grid: x rows. in_at and in_stride are multiples of 4.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint CODE_FORM = 0;
layout(push_constant) uniform Push { tn_vk_group_params p; };

#include "vulkan/shaders/codes.glsl"

// A row is worked through in rounds of 8192 elements, whatever its length: in shared memory lie the maxima and sums of one.
const uint ROUND_UNITS = 2048u; // of 4 elements
shared uint group_max[ROUND_UNITS / 8u];
shared int code_sums[ROUND_UNITS / 4u];

vec4 unit_of(uint unit) { return uintBitsToFloat(LOAD_ARENA4(((p.in_at + gl_WorkGroupID.x * p.in_stride) >> 2) + unit)); }

void main()
{
    const uint id = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x, row = gl_WorkGroupID.x;
    const uint n_units = (p.n + 255u) / 256u * 64u; // with the padding
    if (!is_wanted(p.is_logits, row)) return;
    const uint codes_at = p.codes + row * p.codes_stride;
    const uint scales_at = p.scales + row * p.scales_stride, sums_at = p.sums + row * p.sums_stride;
    const uint in_group = p.group / 4u, in_sum = p.sum_group / 4u;
    for (uint first = 0u; first < n_units; first += ROUND_UNITS) {
        const uint count = min(n_units - first, ROUND_UNITS);
        for (uint g = id; g < count / in_group; g += size) group_max[g] = 0u;
        for (uint s = id; s < count / in_sum; s += size) code_sums[s] = 0;
        barrier();
        for (uint u = id; u < count && 4u * (first + u) < p.n; u += size)
            atomicMax(group_max[u / in_group], abs_bits_max(floats_within(unit_of(first + u), first + u, p.n)));
        barrier();
        for (uint u = id; u < count; u += size) {
            ivec4 q = ivec4(0);
            if (4u * (first + u) < p.n) {
                const float a = uintBitsToFloat(max(group_max[u / in_group], QUANT_LEAST));
                q = codes_within(codes_of(unit_of(first + u) * vec4(127.0 * recip(a))), first + u, p.n);
            }
            codes_store(codes_at, first + u, q);
            atomicAdd(code_sums[u / in_sum], (q.x + q.y) + (q.z + q.w));
        }
        barrier();
        for (uint g = id; g < count / in_group; g += size) {
            const float a = uintBitsToFloat(max(group_max[g], QUANT_LEAST));
            const bool is_padding = 4u * (first + g * in_group) >= p.n;
            arena[scales_at + first / in_group + g] = is_padding ? 0u : floatBitsToUint(a * uintBitsToFloat(RECIP_127));
        }
        for (uint s = id; s < count / in_sum; s += size) arena[sums_at + first / in_sum + s] = uint(code_sums[s]);
        barrier(); // the next round clears what was read here
    }
}
