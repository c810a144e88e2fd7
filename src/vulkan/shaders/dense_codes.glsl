// What the shaders of quantised dense weights share: products in either form, and words of the arena.
#include "vulkan/shaders/dot.glsl"

uint word_of(uvec4 v, uint i)
{
    const uint low = (i & 1u) == 0u ? v.x : v.y, high = (i & 1u) == 0u ? v.z : v.w;
    return (i & 2u) == 0u ? low : high;
}

#ifdef TN_TEXEL
float arena_scale(uint at) { return uintBitsToFloat(word_of(LOAD_ARENA4(at / 4u), at & 3u)); }
#else
float arena_scale(uint at) { return arena_f32(at); }
#endif
