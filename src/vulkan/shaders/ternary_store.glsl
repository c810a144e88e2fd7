// What all forms of the ternary matmul do with their sums: scales, the fused ops behind it, poison. TN_NO_ROW_OP: without the
// quantisation of the output, which forms for many rows do not need.
#ifndef TN_TERNARY_STORE_GLSL
#define TN_TERNARY_STORE_GLSL

layout(constant_id = 1) const uint COLS = 1;     // input rows of a workgroup
layout(constant_id = 2) const uint EPILOGUE = 0; // 0 stores, 1 adds the residual, 2 multiplies gate and up (glu, squared ReLU), 3 the same with SiLU
#ifndef TN_NO_ROW_OP
layout(constant_id = 4) const uint ROW_OP = 0;   // the output's only row is quantised by the last workgroup: 0 is not, 1 norm_quant, 2 quant
layout(constant_id = 5) const float ROW_EPS = 0;
layout(constant_id = 6) const float ROW_RECIP_N = 0;
#endif
layout(constant_id = 7) const uint SCALES_AT_KV = 0; // some rows of a matrix are bound: their scales at the KV binding, not behind the codes
layout(push_constant) uniform Push { tn_vk_ternary_params p; };

uint n_input_rows() { return step_words[p.logit_rows != 0u ? 1u : 0u]; } // of a step: word 0 tokens, 1 rows of logits

// Where matrix i has its codes, scales, output. Selects, not arrays: push constants are not indexed at run time.
uint pick(uint i, uint a, uint b, uint c) { return i == 0u ? a : i == 1u ? b : c; }

float scaled(uint matrix, uint row, uint input_row, int sum)
{
    const uint at = pick(matrix, p.s_0, p.s_1, p.s_2) + (((p.per_row >> matrix) & 1u) != 0u ? row : 0u);
    const float w_scale = SCALES_AT_KV == 0u ? weights_f32(at) : uintBitsToFloat(kv[at]);
    return fl(small_float(sum - int(arena[p.sums + input_row])) * fl(arena_f32(p.scales + input_row) * w_scale));
}

void store_checked(uint at, float y, uint token, uint node)
{
    outb[at] = floatBitsToUint(y);
    mark_poison(token, node, abs_bits(y));
}

uint token_of_input(uint input_row) { return p.logit_rows != 0u ? step_words[p.logit_rows + input_row] : input_row; }

// Of matrix `matrix` (EPILOGUE 0 or 1): output `row` of an input row.
void store(uint matrix, uint row, uint input_row, int sum)
{
    const uint token = token_of_input(input_row), node = pick(matrix, p.node_0, p.node_1, p.node_2);
    const uint stride = EPILOGUE == 0u && p.n_rows_1 != 0u ? (pick(matrix, p.n_rows_0, p.n_rows_1, p.n_rows_2) + 3u) & ~3u : p.y_stride;
    const uint at = pick(matrix, p.y_0, p.y_1, p.y_2) + input_row * stride + row;
    const float y = scaled(matrix, row, input_row, sum);
    if (EPILOGUE == 1u) {
        mark_poison(token, node, abs_bits(y));
        store_checked(at, fl(arena_f32(p.add_at + input_row * p.add_stride + row) + y), token, p.add_node);
    } else {
        store_checked(at, y, token, node);
    }
}

// Of gate (matrix 0) and up (matrix 1).
void store_glu(uint row, uint input_row, int gate_sum, int up_sum)
{
    const uint token = token_of_input(input_row);
    float g = scaled(0u, row, input_row, gate_sum);
    const float u = scaled(1u, row, input_row, up_sum);
    mark_poison(token, p.node_0, abs_bits(g));
    mark_poison(token, p.node_1, abs_bits(u));
    float a;
    if (EPILOGUE == 2u) {
        g = g > 0.0 ? g : 0.0;
        a = fl(g * g);
    } else {
        a = fl(silu(g));
    }
    store_checked(p.y_0 + input_row * p.y_stride + row, fl(a * u), token, p.glu_node);
}

#ifndef TN_NO_ROW_OP
#define TN_GAINS_AT_KV
#ifdef TN_DOT
const uint CODE_FORM = 0u;
#else
const uint CODE_FORM = 1u;
#endif
#include "vulkan/shaders/last_workgroup.glsl"
#include "vulkan/shaders/row_quant.glsl"

vec4 row_x4(tn_vk_row_params of, uint row, uint unit) { return uintBitsToFloat(out4[(of.in_at >> 2) + unit]); }

// Called by all invocations of every workgroup after its stores: whichever workgroup is the last to come goes on with the whole row.
void quantise_row()
{
    if (ROW_OP == 0u) return;
    if (!is_last_workgroup(p.counter, gl_NumWorkGroups.x)) return;
    tn_vk_row_params r;
    r.n = p.n_rows_0;
    r.in_at = p.y_0;
    r.in_stride = 0u;
    r.eps = ROW_EPS;
    r.recip_n = ROW_RECIP_N;
    r.y_at = p.row_codes;
    r.y_stride = (p.n_rows_0 + 63u) / 64u * (CODE_FORM == 0u ? 16u : 32u);
    r.scales = p.row_scale;
    r.sums = p.row_sum;
    r.node = 0u; // codes are never poison
    r.row.is_logits = 0u;
    r.row.logit_rows = 0u;
    if (ROW_OP == 1u)
        row_norm_quant(r, 0u);
    else
        row_quant(r, 0u);
}

#endif
#endif
