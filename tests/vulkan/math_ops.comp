#version 450
// Each primitive of math.glsl over arrays of inputs: a in the arena, b in weights, c in kv.   Grid: x groups of invocations over them.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint MATH_OP = 0; // as in math_test.cpp
layout(push_constant) uniform Push { uint n; };

uint result_of(uint i)
{
    const float x = arena_f32(i);
    switch (MATH_OP) {
    case 0: return floatBitsToUint(fl(x));
    case 1: return floatBitsToUint(f100(x));
    case 2: return floatBitsToUint(round_even(x));
    case 3: return uint(round_int(x));
    case 4: return uint(round_int_u(x));
    case 5: return floatBitsToUint(recip(x));
    case 6: return floatBitsToUint(rsqrt(x));
    case 7: return floatBitsToUint(exp2_poly(x));
    case 8: return floatBitsToUint(exp2_exact(x));
    case 9: return floatBitsToUint(silu(x));
    case 10: return floatBitsToUint(shift(x, int(weights[i])));
    case 11: return floatBitsToUint(f100(shift(x, int(weights[i]))));
    case 12: return floatBitsToUint(f16_float(arena[i]));
    case 13: return floatBitsToUint(small_float(int(arena[i])));
    case 14: return floatBitsToUint(any_float(int(arena[i])));
    case 15: return abs_bits(x);
    case 16: return floatBitsToUint((x * weights_f32(i)) + uintBitsToFloat(kv[i]));
    default: return floatBitsToUint((x * weights_f32(i)) - uintBitsToFloat(kv[i]));
    }
}

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < n) outb[i] = result_of(i);
}
