#version 450
// Rows as they are: the whole value, or those whose logits are wanted.   Grid: x groups of invocations over the elements, y rows.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(push_constant) uniform Push { tn_vk_copy_params p; };

void main()
{
    const uint i = gl_GlobalInvocationID.x, row = gl_WorkGroupID.y;
    if (i >= p.n || !is_wanted(p.is_logits, row)) return;
    const uint from = p.by_logits != 0u ? step_words[p.logit_rows + row] : row;
    outb[p.y_at + row * p.y_stride + i] = arena[p.in_at + from * p.in_stride + i];
}
