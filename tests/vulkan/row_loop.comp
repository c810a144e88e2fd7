#version 450
// One workgroup works on row after row by the functions of row_quant.glsl, and reads them from another binding than row_quant.comp does: as
// shaders do whose last workgroup goes on with what they made.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint ROW_OP = 0; // as in row_quant.comp
layout(constant_id = 2) const uint CODE_FORM = 0;
layout(push_constant) uniform Push { tn_vk_row_params p; uint n_rows; };

#include "vulkan/shaders/row_quant.glsl"

vec4 row_x4(tn_vk_row_params of, uint row, uint unit)
{
    const uint at = of.in_at + row * of.in_stride + 4u * unit;
    return uintBitsToFloat(uvec4(kv[at], kv[at + 1u], kv[at + 2u], kv[at + 3u]));
}

void main()
{
    for (uint row = 0u; row < n_rows; row++) {
        if (ROW_OP == 0u)
            row_norm(p, row);
        else if (ROW_OP == 1u)
            row_norm_quant(p, row);
        else
            row_quant(p, row);
    }
}
