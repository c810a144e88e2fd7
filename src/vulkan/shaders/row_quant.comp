#version 450
// norm, norm_quant, quant.   Grid: x rows. in_at and in_stride are multiples of 4.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint ROW_OP = 0; // 0 norm, 1 norm_quant, 2 quant
layout(constant_id = 2) const uint CODE_FORM = 0;
layout(push_constant) uniform Push { tn_vk_row_params p; };

#include "vulkan/shaders/row_quant.glsl"

vec4 row_x4(tn_vk_row_params of, uint row, uint unit)
{
    return uintBitsToFloat(LOAD_ARENA4(((of.in_at + row * of.in_stride) >> 2) + unit));
}

void main()
{
    if (!is_wanted(p.row.is_logits, gl_WorkGroupID.x)) return;
    if (ROW_OP == 0u)
        row_norm(p, gl_WorkGroupID.x);
    else if (ROW_OP == 1u)
        row_norm_quant(p, gl_WorkGroupID.x);
    else
        row_quant(p, gl_WorkGroupID.x);
}
