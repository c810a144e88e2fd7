// OpSDot of four signed bytes: glslang 12 has no extension for it, but takes the instruction itself.
#ifndef TN_DOT_GLSL
#define TN_DOT_GLSL
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int signed_dot(uint a, uint b, spirv_literal int format);
// format 0: packed 4 x 8 bits
int dot4(uint a, uint b) { return signed_dot(a, b, 0); }
#endif
