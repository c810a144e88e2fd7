#version 450
// Ternary matrices times a few quantised rows with the device's dot product of four bytes.
//
// A workgroup computes one row group of 16 rows: lane = row + 16 * split, and the splits share the chunks of 64 columns, so that
// neighbouring lanes read neighbouring units. Sums are integers: the splits meet in shared memory in any order.
// Grid: x row groups, matrix after matrix (EPILOGUE 2, 3: of both at once); y COLS input rows. Invocations: a multiple of 16.
// Reads: every weight once for each y.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define TN_READS_OUT
#define TN_DOT
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/dot.glsl"
#include "vulkan/shaders/ternary_store.glsl"

const uint SPLITS = gl_WorkGroupSize.x / 16u;
shared int met[2][16 * 8];

uint row_lane() { return gl_LocalInvocationIndex & 15u; }

// Adds to met[slot] the sums of row group `group` of a matrix.
void multiply(uint matrix, uint group, uint slot)
{
    const uint w_at = pick(matrix, p.w_0, p.w_1, p.w_2) / 4u + group * p.n_chunks * 16u + row_lane(), last_row = n_input_rows() - 1u;
    int sums[COLS];
    [[unroll]] for (uint m = 0u; m < COLS; m++) sums[m] = 0;
    for (uint c = gl_LocalInvocationIndex / 16u; c < p.n_chunks; c += SPLITS) {
        const uvec4 w = weights4[w_at + c * 16u];
        [[unroll]] for (uint m = 0u; m < COLS; m++) {
            const uint row = gl_WorkGroupID.y * COLS + m;
            const uint x_at = (p.codes + (row < last_row ? row : last_row) * p.codes_stride) / 4u + c * 4u;
            [[unroll]] for (uint s = 0u; s < 4u; s++) {
                const uvec4 x = arena4[x_at + s];
                [[unroll]] for (uint b = 0u; b < 4u; b++) sums[m] += dot4((w[s] >> (2u * b)) & 0x03030303u, x[b]);
            }
        }
    }
    [[unroll]] for (uint m = 0u; m < COLS; m++) atomicAdd(met[slot][row_lane() * COLS + m], sums[m]);
}

void main()
{
    uint group = gl_WorkGroupID.x, matrix = 0u, n_rows = p.n_rows_0;
    if (EPILOGUE < 2u) {
        const uint n_0 = (p.n_rows_0 + 15u) / 16u, n_1 = (p.n_rows_1 + 15u) / 16u;
        if (group >= n_0) matrix = 1u, group -= n_0, n_rows = p.n_rows_1;
        if (matrix == 1u && group >= n_1) matrix = 2u, group -= n_1, n_rows = p.n_rows_2;
    }
    for (uint i = gl_LocalInvocationIndex; i < 16u * COLS; i += gl_WorkGroupSize.x) met[0][i] = met[1][i] = 0;
    barrier();
    multiply(matrix, group, 0u);
    if (EPILOGUE >= 2u) multiply(1u, group, 1u);
    barrier();
    for (uint i = gl_LocalInvocationIndex; i < 16u * COLS; i += gl_WorkGroupSize.x) {
        const uint row = group * 16u + i / COLS, input_row = gl_WorkGroupID.y * COLS + i % COLS;
        if (row >= n_rows || input_row >= n_input_rows()) continue;
        if (EPILOGUE < 2u) store_one(matrix, row, input_row, met[0][i]);
        else store_one_glu(row, input_row, met[0][i], met[1][i]);
    }
    quantise_row();
}
