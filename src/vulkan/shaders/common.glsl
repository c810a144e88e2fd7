// What every shader shares: bindings, the step, poison.
#ifndef TN_COMMON_GLSL
#define TN_COMMON_GLSL

#include "vulkan/shaders/math.glsl"
#include "vulkan/shaders/shader_params.h"

layout(local_size_x_id = 0) in; // constant 0: invocations of a workgroup, a power of two from 8 on

layout(set = 0, binding = 0) readonly buffer Step { uint step_words[]; };
// f32 and code values of the program, read; codes, scales and sums are written here too.
layout(set = 0, binding = 1) buffer Arena { uint arena[]; };
layout(set = 0, binding = 1) readonly buffer Arena4 { uvec4 arena4[]; }; // the same memory: for values that the dispatch does not write
layout(set = 0, binding = 2) readonly buffer Weights { uint weights[]; };
layout(set = 0, binding = 2) readonly buffer Weights4 { uvec4 weights4[]; };
layout(set = 0, binding = 3) buffer Kv { uint kv[]; }; // one layer's pages; of matmuls the scales of quantised rows, or gains
layout(set = 0, binding = 3) readonly buffer Kv4 { uvec4 kv4[]; };
layout(set = 0, binding = 4) coherent buffer State { uint state[]; }; // poison [n_tokens], all ones where there is none; then counters
// What the op stores as f32: the arena, or the program's output.
#ifdef TN_READS_OUT // the last workgroup to finish reads what all have stored
layout(set = 0, binding = 5) coherent buffer Out { uint outb[]; };
layout(set = 0, binding = 5) coherent buffer Out4 { uvec4 out4[]; };
#else
layout(set = 0, binding = 5) writeonly buffer Out { uint outb[]; };
#endif
#ifdef TN_TEXEL
// The same weights and arena, as devices without fast loads from buffers (software ones) read them best: elements of 16 bytes.
layout(set = 0, binding = 6) uniform utextureBuffer weights_texels;
layout(set = 0, binding = 7) uniform utextureBuffer arena_texels;
#define LOAD_WEIGHTS4(i) texelFetch(weights_texels, int(i))
#define LOAD_ARENA4(i) texelFetch(arena_texels, int(i))
#else
#define LOAD_WEIGHTS4(i) weights4[i]
#define LOAD_ARENA4(i) arena4[i]
#endif

float arena_f32(uint at) { return uintBitsToFloat(arena[at]); }
// A word of a value that the dispatch does not write.
#ifdef TN_TEXEL
uint arena_word(uint at)
{
    const uvec4 v = LOAD_ARENA4(at >> 2);
    const uint low = (at & 1u) == 0u ? v.x : v.y, high = (at & 1u) == 0u ? v.z : v.w;
    return (at & 2u) == 0u ? low : high;
}
#else
uint arena_word(uint at) { return arena[at]; }
#endif
float arena_word_f32(uint at) { return uintBitsToFloat(arena_word(at)); }
float weights_f32(uint at) { return uintBitsToFloat(weights[at]); }

// Of workgroups over rows of logits there may be more than the step wants rows.
bool is_wanted(uint is_logits, uint row) { return is_logits == 0u || row < step_words[1]; }
uint token_of(tn_vk_row_of of, uint row) { return of.is_logits != 0u ? step_words[of.logit_rows + row] : row; }
// After one or more values of a row: `bits` is the largest of their bits without sign.
void mark_poison(uint token, uint node, uint bits)
{
    if (bits >= ABS_BITS_2P56) atomicMin(state[token], node);
}

#endif
