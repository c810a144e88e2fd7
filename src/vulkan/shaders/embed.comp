#version 450
// embed: a row of a dense weight (vk_pack.h), dequantised.   Grid: x rows. Built for each layout with -DTN_DENSE_<TYPE>.
#extension GL_GOOGLE_include_directive : require
#include "vulkan/shaders/common.glsl"

layout(push_constant) uniform Push { tn_vk_embed_params p; };

// Word `word` of unit `unit` of a row of the weight.
uint unit_word(uint row, uint unit, uint word)
{
    const uint at = ((row / p.w.interleave) * p.w.n_units + unit) * p.w.interleave + row % p.w.interleave;
    return weights[4u * at + word];
}
vec4 fl4(vec4 z) { return vec4(fl(z.x), fl(z.y), fl(z.z), fl(z.w)); }

// Elements 4 quad .. 4 quad + 3 of a row, each by its format's formula, then FL.
#if defined(TN_DENSE_F32)
vec4 quad_of(uint row, uint quad)
{
    vec4 y;
    for (uint i = 0u; i < 4u; i++) y[i] = uintBitsToFloat(unit_word(row, quad, i));
    return fl4(y);
}
#elif defined(TN_DENSE_F16) || defined(TN_DENSE_BF16)
#ifdef TN_DENSE_F16
float half_of(uint h) { return f16_float(h); }
#else
float half_of(uint h) { return uintBitsToFloat(h << 16); }
#endif
vec4 quad_of(uint row, uint quad)
{
    const uint a = unit_word(row, quad / 2u, quad % 2u * 2u), b = unit_word(row, quad / 2u, quad % 2u * 2u + 1u);
    return fl4(vec4(half_of(a & 0xffffu), half_of(a >> 16), half_of(b & 0xffffu), half_of(b >> 16)));
}
#else // blocks of 256 elements: 64 quads, the bytes of a word
vec4 floats_of(ivec4 q) { return vec4(small_float(q.x), small_float(q.y), small_float(q.z), small_float(q.w)); }
#if defined(TN_DENSE_Q8_0) || defined(TN_DENSE_Q4_0)
// One of 8 f16 scales in a unit, each of 32 elements. FL leaves halves as they are: the smallest is 2^-24.
float scale_of(uint row, uint unit, uint group)
{
    const uint pair = unit_word(row, unit, group / 2u);
    return f16_float(group % 2u == 0u ? pair & 0xffffu : pair >> 16);
}
#endif
#if defined(TN_DENSE_Q8_0)
vec4 quad_of(uint row, uint quad)
{
    const uint block = quad / 64u * 17u, in_block = quad % 64u;
    const int word = int(unit_word(row, block + in_block / 4u, in_block % 4u));
    const ivec4 q = ivec4(word << 24, word << 16, word << 8, word) >> 24;
    return fl4(vec4(scale_of(row, block + 16u, in_block / 8u)) * floats_of(q));
}
#else
// The 4 bits of each of 4 codes: nibble i of the bytes of word s of a unit is elements 8s + 4i ..
uvec4 low_bits(uint row, uint unit, uint in_unit)
{
    return (uvec4(unit_word(row, unit, in_unit / 2u)) >> (uvec4(0u, 8u, 16u, 24u) + in_unit % 2u * 4u)) & 15u;
}
#if defined(TN_DENSE_Q4_0)
vec4 quad_of(uint row, uint quad)
{
    const uint block = quad / 64u * 9u, in_block = quad % 64u;
    const ivec4 q = ivec4(low_bits(row, block + in_block / 8u, in_block % 8u)) - 8;
    return fl4(vec4(scale_of(row, block + 8u, in_block / 8u)) * floats_of(q));
}
#elif defined(TN_DENSE_Q6_K)
// Bit pair i of the bytes of word s of a unit is elements 16s + 4i ..
uvec4 high_bits(uint row, uint unit, uint in_unit)
{
    return (uvec4(unit_word(row, unit, in_unit / 4u)) >> (uvec4(0u, 8u, 16u, 24u) + in_unit % 4u * 2u)) & 3u;
}
vec4 quad_of(uint row, uint quad)
{
    const uint block = quad / 64u, unit = block * 13u, in_block = quad % 64u;
    const uvec4 code = low_bits(row, unit + in_block / 8u, in_block % 8u) | high_bits(row, unit + 8u + in_block / 16u, in_block % 16u) << 4;
    const uint factors = unit_word(row, unit + 12u, in_block / 16u);
    const int factor = int(factors << (24u - 8u * (in_block / 4u % 4u))) >> 24;
    const uint scale = p.w.scales_at + ((row / p.w.interleave) * p.w.n_blocks + block) * p.w.interleave + row % p.w.interleave;
    const float d = uintBitsToFloat(kv[scale]);
    return fl4(vec4(d * small_float(factor)) * floats_of(ivec4(code) - 32));
}
#endif
#endif
#endif

void main()
{
    const uint row = gl_WorkGroupID.x, token = step_words[p.tokens + row] - p.first_row;
    if (token >= p.n_rows) return; // in another part of the table
    uint largest = 0u;
    for (uint quad = gl_LocalInvocationID.x; 4u * quad < p.n; quad += gl_WorkGroupSize.x) {
        const vec4 y = quad_of(token, quad);
        for (uint i = 0u; i < 4u && 4u * quad + i < p.n; i++) {
            outb[p.y_at + row * p.y_stride + 4u * quad + i] = floatBitsToUint(y[i]);
            largest = max(largest, abs_bits(y[i]));
        }
    }
    mark_poison(row, p.node, largest);
}
