#version 450
// matmul_dense: y = x . W^T, W dense. One lane computes whole rows of W, for COLS rows of x at once.
// Grid: x over rows of W: lane l of workgroup x has rows (x * ROWS + i) * invocations + l, i < ROWS, so that neighbouring lanes read
// neighbouring units. y over rows of x: workgroup y has rows first_token + y * COLS + c, c < COLS; what lies beyond the last row is
// computed on the last one and not stored.
// Params: x_at, x_stride, scales, scales_stride, sums, sums_stride are multiples of 4 words, of row 0 of x, but for the scales of Q6_K,
// which may lie anywhere. y_at is of row 0 of W and row first_token of x.
// Builds: -DTN_DENSE_F32, _F16, _BF16: x is f32. -DTN_DENSE_Q8_0, _Q4_0, _Q6_K: x is codes of quant_group, which with -DTN_DOT has
// CODE_FORM 0 and is multiplied by OpSDot, else has CODE_FORM 1 and is multiplied in halves of words. Each with or without -DTN_TEXEL.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "vulkan/shaders/common.glsl"

layout(constant_id = 1) const uint ROWS = 1; // of W, a lane
layout(constant_id = 2) const uint COLS = 1; // rows of x, a workgroup
layout(push_constant) uniform Push { tn_vk_dense_params p; };

uint row_of[ROWS]; // of W, those beyond the last being the last
uint unit_of[ROWS]; // number of its first unit
uint token_row[COLS]; // of x
float sums[ROWS * COLS]; // results

#if defined(TN_DENSE_Q6_K)
#include "vulkan/shaders/dense_q6_k.glsl"
#elif defined(TN_DENSE_Q8_0) || defined(TN_DENSE_Q4_0)
#include "vulkan/shaders/dense_small.glsl"
#else
#include "vulkan/shaders/dense_float.glsl"
#endif

void main()
{
    const uint n_x = step_words[p.is_logits != 0u ? 1u : 0u], first_x = p.first_token + gl_WorkGroupID.y * COLS;
    const uint first_w = gl_WorkGroupID.x * gl_WorkGroupSize.x * ROWS + gl_LocalInvocationID.x;
    if (first_x >= n_x) return; // of lanes beyond the last row too, the others may need what they load
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        row_of[r] = min(first_w + r * gl_WorkGroupSize.x, p.n_rows - 1u);
        const uint group = row_of[r] / p.w.interleave;
        unit_of[r] = group * p.w.n_units * p.w.interleave + (row_of[r] - group * p.w.interleave);
    }
    [[unroll]] for (uint c = 0u; c < COLS; c++) token_row[c] = min(first_x + c, n_x - 1u);
    [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) sums[i] = 0.0;
    multiply();
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        if (first_x + c >= n_x) continue;
        uint largest = 0u;
        [[unroll]] for (uint r = 0u; r < ROWS; r++) {
            const uint row = first_w + r * gl_WorkGroupSize.x;
            if (row >= p.n_rows) continue;
            const float y = fl(sums[r * COLS + c]);
            largest = max(largest, abs_bits(y));
            outb[p.y_at + (first_x + c - p.first_token) * p.y_stride + p.first_row + row] = floatBitsToUint(y);
        }
        mark_poison(token_of(tn_vk_row_of(p.is_logits, p.logit_rows), first_x + c), p.node, largest);
    }
}
