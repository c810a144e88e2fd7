// Products of int8 codes of x with unsigned codes of weights, in either form of the codes (codes.glsl).
#ifndef TN_DOT_GLSL
#define TN_DOT_GLSL
#ifdef TN_DOT
// OpSDot of four signed bytes: glslang 12 has no extension for it, but takes the instruction itself.
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int signed_dot(uint a, uint b, spirv_literal int format);
// format 0: packed 4 x 8 bits
int dot4(uint a, uint b) { return signed_dot(a, b, 0); }
const uint X_COLS = 16u; // columns of x in 16 bytes
#else
const uint X_COLS = 8u;
// Of the sum of products of words, the part that is wanted: the lower half, less than 2^15 in size, is not.
int upper_half(uint sum) { return int(sum + 0x8000u) >> 16; }

// Eight units of the arena from unit `at` on, the same in all lanes: 64 codes.
#ifdef TN_SHUFFLE
// Each lane of a subgroup of eight loads one of them and hands it to the others.
#extension GL_KHR_shader_subgroup_shuffle : require
void load_eight(uint at, out uvec4 units[8])
{
    const uvec4 own = LOAD_ARENA4(at + gl_SubgroupInvocationID);
    [[unroll]] for (uint i = 0u; i < 8u; i++) units[i] = subgroupShuffle(own, i);
}
#else
void load_eight(uint at, out uvec4 units[8])
{
    [[unroll]] for (uint i = 0u; i < 8u; i++) units[i] = LOAD_ARENA4(at + i);
}
#endif
#endif
#endif
