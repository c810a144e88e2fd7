#version 450
// add, glu: every element of two rows.   Grid: x groups of invocations over the elements, y rows.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint ELEMENT_OP = 0; // 0 add, 1 glu with squared ReLU, 2 glu with SiLU
layout(push_constant) uniform Push { tn_vk_element_params p; };

float glu_of(float g, float u)
{
    if (ELEMENT_OP == 1u) {
        g = g > 0.0 ? g : 0.0;
        return fl(fl(g * g) * u);
    }
    return fl(fl(silu(g)) * u);
}

void main()
{
    const uint i = gl_GlobalInvocationID.x, row = gl_WorkGroupID.y;
    if (i >= p.n || !is_wanted(p.row.is_logits, row)) return;
    const float a = arena_f32(p.a_at + row * p.a_stride + i), b = arena_f32(p.b_at + row * p.b_stride + i);
    const float y = ELEMENT_OP == 0u ? fl(a + b) : glu_of(a, b);
    outb[p.y_at + row * p.y_stride + i] = floatBitsToUint(y);
    mark_poison(token_of(p.row, row), p.node, abs_bits(y));
}
