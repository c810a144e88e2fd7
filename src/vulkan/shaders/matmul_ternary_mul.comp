#version 450
// Ternary matrices times quantised rows with plain integer multiplications: for devices without a dot product of bytes.
//
// A lane computes whole rows of W: of each row group of 16 those that its number names. A word of 16 codes gives, shifted and masked, the
// codes of columns k and k + 2 in its halves; times (x[k] << 16) + x[k + 2] the upper half of the product is the sum of both terms. Sums of
// up to 64 such products stay exact: the upper half below 2^15 in size, the lower one too, whose borrow is taken back at the end.
// Grid: x blocks of rows, matrix after matrix (EPILOGUE 2, 3: of both at once); y COLS input rows.
// Reads: every weight once for each y.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define TN_READS_OUT
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/dot.glsl"
#include "vulkan/shaders/ternary_store.glsl"

layout(constant_id = 3) const uint GROUPS = 4; // row groups of a lane
const uint N = gl_WorkGroupSize.x;
const uint LANES = N < 16u ? N : 16u;  // of a row group
const uint OF_GROUP = 16u / LANES;     // rows of a lane in a row group
const uint ROWS = GROUPS * OF_GROUP;   // of a lane
const uint GROUPS_ALL = GROUPS * (N / LANES);

uint lane() { return gl_LocalInvocationIndex % LANES; }
uint first_group(uint block) { return block * GROUPS_ALL + gl_LocalInvocationIndex / LANES * GROUPS; }
uint row_of(uint group, uint i) { return (group + i / OF_GROUP) * 16u + i % OF_GROUP * LANES + lane(); }
uint input_row_of(uint col) { return gl_WorkGroupID.y * COLS + col; }

// Of one input row, for which unpacking is half of the work: codes are shifted by whole nibbles, those that lie two bits higher count
// four times. 16 such products have at most 16 * 2 * 4 * 2 * 127, less than 2^15.
int product_of(uvec4 w, uvec4 x[8])
{
    uint once = 0u, four_times = 0u;
    [[unroll]] for (uint k = 0u; k < 32u; k += 8u) {
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            const uint codes = w[k / 8u] >> (i % 2u * 8u + i / 2u * 4u);
            const uvec4 x4 = x[k / 4u + i / 2u];
            once += (codes & 0x00030003u) * x4[i % 2u];
            four_times += (codes & 0x000c000cu) * x4[2u + i % 2u];
        }
    }
    return upper_half(once) + (upper_half(four_times) >> 2);
}

int sums[ROWS * COLS], gate_sums[ROWS * COLS]; // of codes times activations

// Leaves its result in `sums`.
void multiply(uint matrix, uint n_rows, uint group)
{
    const uint w_at = pick(matrix, p.w_0, p.w_1, p.w_2) / 4u, last_group = (n_rows - 1u) / 16u, last_row = n_input_rows() - 1u;
    uint base[ROWS], x_at[COLS];
    [[unroll]] for (uint i = 0u; i < ROWS; i++) {
        const uint g = group + i / OF_GROUP;
        base[i] = w_at + (g < last_group ? g : last_group) * p.n_chunks * 16u + i % OF_GROUP * LANES + lane();
    }
    [[unroll]] for (uint m = 0u; m < COLS; m++) {
        const uint row = input_row_of(m);
        x_at[m] = (p.codes + (row < last_row ? row : last_row) * p.codes_stride) / 4u;
    }
    [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) sums[i] = 0;
    for (uint c = 0u; c < p.n_chunks; c++) {
        uvec4 w[ROWS];
        [[unroll]] for (uint i = 0u; i < ROWS; i++) w[i] = LOAD_WEIGHTS4(base[i] + c * 16u);
        uvec4 x[COLS][8];
        [[unroll]] for (uint m = 0u; m < COLS; m++) load_eight(x_at[m] + c * 8u, x[m]);
        [[unroll]] for (uint i = 0u; i < ROWS; i++) {
            if (COLS == 1u) {
                sums[i] += product_of(w[i], x[0]);
                continue;
            }
            uint products[COLS];
            [[unroll]] for (uint m = 0u; m < COLS; m++) products[m] = 0u;
            // Unpacked once for all columns.
            [[unroll]] for (uint k = 0u; k < 32u; k++) {
                const uint codes = (w[i][k / 8u] >> (k % 8u / 2u * 2u + k % 2u * 8u)) & 0x00030003u;
                [[unroll]] for (uint m = 0u; m < COLS; m++) products[m] += codes * x[m][k / 4u][k % 4u];
            }
            [[unroll]] for (uint m = 0u; m < COLS; m++) sums[i * COLS + m] += upper_half(products[m]);
        }
    }
}

void main()
{
    uint block = gl_WorkGroupID.x, matrix = 0u, n_rows = p.n_rows_0;
    if (EPILOGUE < 2u) {
        // Blocks are counted matrix after matrix.
        const uint rows_block = 16u * GROUPS_ALL, n_0 = (p.n_rows_0 + rows_block - 1u) / rows_block, n_1 = (p.n_rows_1 + rows_block - 1u) / rows_block;
        if (block >= n_0) matrix = 1u, block -= n_0, n_rows = p.n_rows_1;
        if (matrix == 1u && block >= n_1) matrix = 2u, block -= n_1, n_rows = p.n_rows_2;
    }
    const uint group = first_group(block), n_input = n_input_rows();
    multiply(matrix, n_rows, group);
    if (EPILOGUE >= 2u) {
        [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) gate_sums[i] = sums[i];
        multiply(1u, n_rows, group);
    }
    vec2 w_scales[ROWS];
    [[unroll]] for (uint i = 0u; i < ROWS; i++) {
        const uint row = min(row_of(group, i), n_rows - 1u);
        w_scales[i].x = weight_scale(matrix, row);
        if (EPILOGUE >= 2u) w_scales[i].y = weight_scale(1u, row);
    }
    [[unroll]] for (uint m = 0u; m < COLS; m++) {
        if (input_row_of(m) < n_input) {
            const input_facts x = facts_of(input_row_of(m));
            uvec3 largest = uvec3(0u);
            [[unroll]] for (uint i = 0u; i < ROWS; i++) {
                const uint row = row_of(group, i), at = i * COLS + m;
                if (row >= n_rows) continue;
                if (EPILOGUE < 2u) store(matrix, row, x, w_scales[i].x, sums[at], largest);
                else store_glu(row, x, w_scales[i], gate_sums[at], sums[at], largest);
            }
            mark_row(matrix, x, largest);
        }
    }
    quantise_row();
}
