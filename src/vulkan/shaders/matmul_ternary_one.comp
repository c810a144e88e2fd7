#version 450
// Ternary matrices times one row with the device's dot product of four bytes, and in front of it the row's norm and quantisation, which
// every workgroup does for itself: that is sooner done than a dispatch of its own, or what is behind a product done by one workgroup.
//
// A workgroup has TILES row groups of 16 rows (EPILOGUE 2, 3: of both matrices), lane = row + 16 * split: the splits share the chunks of 64
// columns. What it needs of memory it asks for at its beginning, weights too, so that it waits once. Sums are integers: the splits meet in
// shared memory in any order.
// Grid: x tiles, matrix after matrix (EPILOGUE 2, 3: of both at once). Invocations: a multiple of 16, at least 16 * TILES.
// ROW_OP 0: `codes`, `scales` and `sums` are of codes in the arena; else `codes` is the word of the arena where the row begins, a multiple
// of 4, and its gains are the KV binding.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define TN_NO_ROW_OP
#define TN_DOT
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/dot.glsl"
#include "vulkan/shaders/ternary_store.glsl"

layout(constant_id = 3) const uint N = 64;     // columns: elements of the row
layout(constant_id = 4) const uint ROW_OP = 0; // 0: codes are there, 1 norm_quant, 2 quant
layout(constant_id = 5) const float ROW_EPS = 0;
layout(constant_id = 6) const float ROW_RECIP_N = 0;
layout(constant_id = 8) const uint TILES = 1;
layout(constant_id = 9) const uint ROW_IS_KEPT = 0;
#include "vulkan/shaders/row_shared.glsl"

const uint SPLITS = gl_WorkGroupSize.x / 16u;
const uint PARTS = EPILOGUE >= 2u ? 2u : 1u; // matrices of a tile
const uint SUMS = TILES * PARTS;
const uint PER = (ROW_CHUNKS + SPLITS - 1u) / SPLITS; // chunks of a split
const uint HELD_MOST = SUMS < 16u ? 16u / SUMS : 1u;
const uint HELD = PER < HELD_MOST ? PER : HELD_MOST;  // chunks whose weights are asked for at once
shared int met[SUMS * gl_WorkGroupSize.x];

uint row_lane() { return gl_LocalInvocationIndex & 15u; }
uint split() { return gl_LocalInvocationIndex / 16u; }

// A row group of 16.
struct tile {
    uint matrix, group;
    bool is_there;
};
tile tile_of(uint i)
{
    uint group = gl_WorkGroupID.x * TILES + i;
    const uint n_0 = (p.n_rows_0 + 15u) / 16u, n_1 = (p.n_rows_1 + 15u) / 16u, n_2 = (p.n_rows_2 + 15u) / 16u;
    const uint n = EPILOGUE >= 2u ? n_0 : n_0 + n_1 + n_2;
    const bool is_there = group < n;
    group = min(group, n - 1u);
    if (EPILOGUE >= 2u || group < n_0) return tile(0u, group, is_there);
    if (group < n_0 + n_1) return tile(1u, group - n_0, is_there);
    return tile(2u, group - n_0 - n_1, is_there);
}
uint n_rows_of(uint matrix) { return pick(matrix, p.n_rows_0, p.n_rows_1, p.n_rows_2); }

uint unit_of[SUMS]; // of weights: the invocation's first of each
uvec4 w[HELD * SUMS];
ivec2 sums[SUMS]; // of products with codes, and with codes four times as large

bool has_chunk(uint i) { return i < PER && (ROW_CHUNKS % SPLITS == 0u || i * SPLITS + split() < ROW_CHUNKS); }

// Chunks `first` .. of an invocation. Those that it does not have are zeros, which count for nothing.
void load_weights(uint first)
{
    [[unroll]] for (uint i = 0u; i < HELD; i++) {
        [[unroll]] for (uint s = 0u; s < SUMS; s++) {
            w[i * SUMS + s] = uvec4(0u);
            if (has_chunk(first + i)) w[i * SUMS + s] = weights4[unit_of[s] + (first + i) * SPLITS * 16u];
        }
    }
}

// Units 2 u and 2 u + 1 of a chunk.
ivec2 products(uvec4 w, uint u, uvec4 x)
{
    const uint low = w[u / 2u] >> (u % 2u * 4u), high = w[2u + u / 2u] >> (u % 2u * 4u);
    return ivec2(dot4(low & 0x03030303u, x.x) + dot4(high & 0x03030303u, x.y),
                 dot4(low & 0x0c0c0c0cu, x.z) + dot4(high & 0x0c0c0c0cu, x.w));
}

void multiply(uint first)
{
    [[unroll]] for (uint i = 0u; i < HELD; i++) {
        const uint chunk = min((first + i) * SPLITS + split(), ROW_CHUNKS - 1u);
        if (first + i >= PER) continue;
        [[unroll]] for (uint u = 0u; u < 4u; u++) {
            const uvec4 x = row_codes[4u * chunk + u];
            [[unroll]] for (uint s = 0u; s < SUMS; s++) sums[s] += products(w[i * SUMS + s], u, x);
        }
    }
}

void main()
{
    const uint id = gl_LocalInvocationIndex;
    if (p.logit_rows != 0u && !is_wanted(1u, 0u)) return;
    if (ROW_OP != 0u) row_ask();
    [[unroll]] for (uint i = 0u; i < SUMS; i++) {
        const tile t = tile_of(i / PARTS);
        const uint matrix = EPILOGUE >= 2u ? i % PARTS : t.matrix;
        unit_of[i] = pick(matrix, p.w_0, p.w_1, p.w_2) / 4u + (t.group * ROW_CHUNKS + split()) * 16u + row_lane();
        sums[i] = ivec2(0);
    }
    load_weights(0u);
    // Of the row that the invocation stores in the end.
    const tile own = tile_of(min(id / 16u, TILES - 1u));
    const uint row = own.group * 16u + row_lane();
    const bool stores = id < 16u * TILES && own.is_there && row < n_rows_of(own.matrix);
    vec2 w_scales = vec2(0.0);
    float residual = 0.0;
    if (stores) {
        w_scales.x = weight_scale(own.matrix, row);
        if (EPILOGUE == 1u) residual = arena_f32(p.add_at + row);
        if (EPILOGUE >= 2u) w_scales.y = weight_scale(1u, row);
    }

    row_make();
    [[unroll]] for (uint first = 0u; first < PER; first += HELD) {
        if (first > 0u) load_weights(first);
        multiply(first);
    }
    [[unroll]] for (uint i = 0u; i < SUMS; i++) met[i * gl_WorkGroupSize.x + id] = sums[i].x + (sums[i].y >> 2);
    barrier();
    if (!stores) return;
    ivec2 sum = ivec2(0);
    [[unroll]] for (uint s = 0u; s < SPLITS; s++) {
        [[unroll]] for (uint part = 0u; part < PARTS; part++)
            sum[part] += met[(id / 16u * PARTS + part) * gl_WorkGroupSize.x + s * 16u + row_lane()];
    }
    const input_facts x = input_facts(0u, row_scale, row_sum());
    uvec3 largest = uvec3(0u);
    if (EPILOGUE < 2u)
        store_with(own.matrix, row, x, w_scales.x, sum.x, residual, largest);
    else
        store_glu(row, x, w_scales, sum.x, sum.y, largest);
    mark_row(own.matrix, x, largest);
}
