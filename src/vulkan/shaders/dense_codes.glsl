// Products of int8 codes of x with unsigned codes of weights, in either form, and words of the arena and of the weights.
#if defined(TN_DOT)
// OpSDot: four signed products of bytes, added up.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int dot4(uint x, uint w, spirv_literal int format);
const uint X_COLS = 16u; // columns of x in 16 bytes
#else
const uint X_COLS = 8u;
// Of the sum of products of words, the part that is wanted: the lower half, less than 2^15 in size, is not.
int upper_half(uint acc) { return int(acc + 0x8000u) >> 16; }
#endif

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
