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

float weight_scale(uint matrix, uint row)
{
    const uint at = pick(matrix, p.s_0, p.s_1, p.s_2) + (((p.per_row >> matrix) & 1u) != 0u ? row : 0u);
    return SCALES_AT_KV == 0u ? weights_f32(at) : uintBitsToFloat(kv[at]);
}

uint token_of_input(uint input_row) { return p.logit_rows != 0u ? step_words[p.logit_rows + input_row] : input_row; }

// What all results of an input row have in common.
struct input_facts {
    uint row;
    float scale;
    int sum; // of its codes, which weights that are stored one too large count too often
};
input_facts facts_of(uint input_row)
{
    return input_facts(input_row, arena_word_f32(p.scales + input_row), int(arena_word(p.sums + input_row)));
}

float scaled(input_facts x, float w_scale, int sum) { return fl(small_float(sum - x.sum) * fl(x.scale * w_scale)); }

// Of matrix `matrix` (EPILOGUE 0 or 1, which has a residual): output `row` of an input row. Raises to its own the largest bits that the
// row's nodes have made.
void store_with(uint matrix, uint row, input_facts x, float w_scale, int sum, float residual, inout uvec3 largest)
{
    const uint stride = EPILOGUE == 0u && p.n_rows_1 != 0u ? (pick(matrix, p.n_rows_0, p.n_rows_1, p.n_rows_2) + 3u) & ~3u : p.y_stride;
    float y = scaled(x, w_scale, sum);
    largest.x = max(largest.x, abs_bits(y));
    if (EPILOGUE == 1u) {
        y = fl(residual + y);
        largest.y = max(largest.y, abs_bits(y));
    }
    outb[pick(matrix, p.y_0, p.y_1, p.y_2) + x.row * stride + row] = floatBitsToUint(y);
}
void store(uint matrix, uint row, input_facts x, float w_scale, int sum, inout uvec3 largest)
{
    const float residual = EPILOGUE == 1u ? arena_word_f32(p.add_at + x.row * p.add_stride + row) : 0.0;
    store_with(matrix, row, x, w_scale, sum, residual, largest);
}

// Of gate (matrix 0) and up (matrix 1).
void store_glu(uint row, input_facts x, vec2 w_scales, int gate_sum, int up_sum, inout uvec3 largest)
{
    float g = scaled(x, w_scales.x, gate_sum);
    const float u = scaled(x, w_scales.y, up_sum);
    largest.x = max(largest.x, abs_bits(g));
    largest.y = max(largest.y, abs_bits(u));
    float a;
    if (EPILOGUE == 2u) {
        g = g > 0.0 ? g : 0.0;
        a = fl(g * g);
    } else {
        a = fl(silu(g));
    }
    const float y = fl(a * u);
    largest.z = max(largest.z, abs_bits(y));
    outb[p.y_0 + x.row * p.y_stride + row] = floatBitsToUint(y);
}

// After the stores of an input row, or of some of them.
void mark_row(uint matrix, input_facts x, uvec3 largest)
{
    const uint token = token_of_input(x.row);
    mark_poison(token, EPILOGUE < 2u ? pick(matrix, p.node_0, p.node_1, p.node_2) : p.node_0, largest.x);
    if (EPILOGUE != 0u) mark_poison(token, EPILOGUE == 1u ? p.add_node : p.node_1, largest.y);
    if (EPILOGUE >= 2u) mark_poison(token, p.glu_node, largest.z);
}

// One result alone.
void store_one(uint matrix, uint row, uint input_row, int sum)
{
    const input_facts x = facts_of(input_row);
    uvec3 largest = uvec3(0u);
    store(matrix, row, x, weight_scale(matrix, row), sum, largest);
    mark_row(matrix, x, largest);
}

void store_one_glu(uint row, uint input_row, int gate_sum, int up_sum)
{
    const input_facts x = facts_of(input_row);
    uvec3 largest = uvec3(0u);
    store_glu(row, x, vec2(weight_scale(0u, row), weight_scale(1u, row)), gate_sum, up_sum, largest);
    mark_row(0u, x, largest);
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
