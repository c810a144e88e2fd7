#version 450
// Ternary matrices times many quantised rows: with -DTN_DOT by the device's dot product of four bytes, else by integer multiplications, each
// of which is two products (matmul_ternary_mul.comp). Codes of x take twice the bytes then, so that tiles have fewer input rows.
//
// A workgroup computes a tile of 16 * GROUPS rows (of gate and up each half of them, the same rows of both) times COLS input rows, in steps
// of one chunk of 64 columns. A lane has the row gl_LocalInvocationIndex % 16 of every row group of the tile, so that 16 neighbouring lanes
// read neighbouring units, and the input rows index / 16, index / 16 + N / 16, ..: neighbouring lanes share them, which shared memory hands
// to all at once. A step is loaded once by the workgroup, each unit by one lane; its loads are issued before the dot products of the step
// before, and wait in registers until their turn in the other half of shared memory: one barrier a step.
//
// Weights stay packed in shared memory and each lane unpacks its own, 7 shifts and ands for 16 weights that then meet LANE_COLS input rows.
// Unpacked there they would be four times the reads: with 4 x 4 results a lane 32 reads of 16 bytes for 256 dot products instead of 20,
// where devices read 128 bytes a clock for each 64 to 128 dot products, so that reads, not products, would be the limit. The shifts cost
// 0.44 instructions a dot product and none at all where products go to a pipe of their own, at half the rate of instructions. Multiplications
// take two shifts and ands for each 4 weights that meet as many input rows.
//
// Codes are padded in shared memory to an odd number of units an input row: the 2 to 4 rows that a subgroup reads at a time then lie in
// different banks.
// Grid: x blocks of rows, matrix after matrix (EPILOGUE 2, 3: of both at once); y COLS input rows. Invocations: a multiple of 16; COLS one
// of invocations / 16; GROUPS even for EPILOGUE 2, 3. Shared memory: 2 * 16 * (16 * GROUPS + (5, without dot products 9) * COLS) bytes, at
// most 16 KiB.
// Reads: every weight once for each y, every code once for each x.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define TN_NO_ROW_OP
#include "vulkan/shaders/common.glsl"
#include "vulkan/shaders/dot.glsl"
#include "vulkan/shaders/ternary_store.glsl"

layout(constant_id = 3) const uint GROUPS = 4; // row groups of a workgroup's tile
const uint N = gl_WorkGroupSize.x;
const uint COL_LANES = N / 16u;
const uint LANE_COLS = COLS / COL_LANES;
const uint OUT_GROUPS = EPILOGUE < 2u ? GROUPS : GROUPS / 2u; // row groups of the output
const uint UP_SUMS = EPILOGUE < 2u ? 0u : OUT_GROUPS * LANE_COLS; // where the sums of up begin
const uint ROW_UNITS = 64u / X_COLS;                              // of an input row and step
const uint W_UNITS = GROUPS * 16u, X_UNITS = COLS * ROW_UNITS;    // that a step loads
const uint W_LOADS = (W_UNITS + N - 1u) / N, X_LOADS = (X_UNITS + N - 1u) / N;
const uint X_STRIDE = ROW_UNITS + 1u, X_TILE = COLS * X_STRIDE;

shared uvec4 w_tile[2u * W_UNITS];
shared uvec4 x_tile[2u * X_TILE];

uint lane() { return gl_LocalInvocationIndex; }

uint w_at[W_LOADS], x_at[X_LOADS];      // units of the buffers, of chunk 0
uvec4 w_next[W_LOADS], x_next[X_LOADS]; // on their way to shared memory
int sums[GROUPS * LANE_COLS];           // of codes times activations

// Rows and input rows that are not there are those of the last: what comes of them is not stored.
void find_units(uint matrix, uint n_rows, uint group)
{
    const uint last_group = (n_rows - 1u) / 16u, last_row = n_input_rows() - 1u;
    [[unroll]] for (uint i = 0u; i < W_LOADS; i++) {
        const uint unit = lane() + i * N, slot = unit / 16u, g = group + slot % OUT_GROUPS;
        const uint of = EPILOGUE < 2u ? matrix : slot / OUT_GROUPS;
        w_at[i] = pick(of, p.w_0, p.w_1, p.w_2) / 4u + (g < last_group ? g : last_group) * p.n_chunks * 16u + unit % 16u;
    }
    [[unroll]] for (uint i = 0u; i < X_LOADS; i++) {
        const uint unit = lane() + i * N, row = gl_WorkGroupID.y * COLS + unit / ROW_UNITS;
        x_at[i] = (p.codes + (row < last_row ? row : last_row) * p.codes_stride) / 4u + unit % ROW_UNITS;
    }
}

void fetch(uint chunk)
{
    [[unroll]] for (uint i = 0u; i < W_LOADS; i++) {
        if (lane() + i * N < W_UNITS) w_next[i] = weights4[w_at[i] + chunk * 16u];
    }
    [[unroll]] for (uint i = 0u; i < X_LOADS; i++) {
        if (lane() + i * N < X_UNITS) x_next[i] = arena4[x_at[i] + chunk * ROW_UNITS];
    }
}

void hand_over(uint tile)
{
    [[unroll]] for (uint i = 0u; i < W_LOADS; i++) {
        const uint unit = lane() + i * N;
        if (unit < W_UNITS) w_tile[tile * W_UNITS + unit] = w_next[i];
    }
    [[unroll]] for (uint i = 0u; i < X_LOADS; i++) {
        const uint unit = lane() + i * N;
        if (unit < X_UNITS) x_tile[tile * X_TILE + unit / ROW_UNITS * X_STRIDE + unit % ROW_UNITS] = x_next[i];
    }
}

#ifdef TN_DOT
// Of the four columns of word i of x's unit s: their codes, and a product's term of a sum.
uint codes_of(uvec4 w, uint s, uint i) { return (w[s] >> (2u * i)) & 0x03030303u; }
int term(uint codes, uint x) { return dot4(codes, x); }
#else
// Of two of the eight columns of unit s.
uint codes_of(uvec4 w, uint s, uint i) { return (w[s / 2u] >> (s % 2u * 4u + i / 2u * 2u + i % 2u * 8u)) & 0x00030003u; }
int term(uint codes, uint x) { return int(codes * x); }
#endif

void multiply(uint tile)
{
    const uint row = tile * W_UNITS + lane() % 16u, col = tile * X_TILE + lane() / 16u * X_STRIDE;
    uvec4 w[GROUPS];
    [[unroll]] for (uint g = 0u; g < GROUPS; g++) w[g] = w_tile[row + g * 16u];
    int terms[GROUPS * LANE_COLS]; // of a step: in halves 32 of them stay exact
    [[unroll]] for (uint i = 0u; i < GROUPS * LANE_COLS; i++) terms[i] = 0;
    [[unroll]] for (uint s = 0u; s < ROW_UNITS; s++) {
        uvec4 x[LANE_COLS];
        [[unroll]] for (uint m = 0u; m < LANE_COLS; m++) x[m] = x_tile[col + m * COL_LANES * X_STRIDE + s];
        [[unroll]] for (uint g = 0u; g < GROUPS; g++) {
            [[unroll]] for (uint i = 0u; i < 4u; i++) {
                const uint codes = codes_of(w[g], s, i);
                [[unroll]] for (uint m = 0u; m < LANE_COLS; m++) terms[g * LANE_COLS + m] += term(codes, x[m][i]);
            }
        }
    }
#ifdef TN_DOT
    [[unroll]] for (uint i = 0u; i < GROUPS * LANE_COLS; i++) sums[i] += terms[i];
#else
    [[unroll]] for (uint i = 0u; i < GROUPS * LANE_COLS; i++) sums[i] += upper_half(uint(terms[i]));
#endif
}

void main()
{
    uint block = gl_WorkGroupID.x, matrix = 0u, n_rows = p.n_rows_0;
    if (EPILOGUE < 2u) {
        // Blocks are counted matrix after matrix.
        const uint rows_block = 16u * GROUPS, n_0 = (p.n_rows_0 + rows_block - 1u) / rows_block, n_1 = (p.n_rows_1 + rows_block - 1u) / rows_block;
        if (block >= n_0) matrix = 1u, block -= n_0, n_rows = p.n_rows_1;
        if (matrix == 1u && block >= n_1) matrix = 2u, block -= n_1, n_rows = p.n_rows_2;
    }
    const uint group = block * OUT_GROUPS, n_input = n_input_rows();
    find_units(matrix, n_rows, group);
    [[unroll]] for (uint i = 0u; i < GROUPS * LANE_COLS; i++) sums[i] = 0;
    fetch(0u);
    hand_over(0u);
    barrier();
    for (uint c = 0u; c < p.n_chunks; c++) {
        const bool is_last = c + 1u == p.n_chunks;
        if (!is_last) fetch(c + 1u);
        multiply(c & 1u);
        if (!is_last) hand_over((c + 1u) & 1u);
        barrier();
    }
    [[unroll]] for (uint i = 0u; i < OUT_GROUPS * LANE_COLS; i++) {
        const uint row = (group + i / LANE_COLS) * 16u + lane() % 16u;
        const uint input_row = gl_WorkGroupID.y * COLS + lane() / 16u + i % LANE_COLS * COL_LANES;
        if (row < n_rows && input_row < n_input) {
            if (EPILOGUE < 2u) store_one(matrix, row, input_row, sums[i]);
            else store_one_glu(row, input_row, sums[i], sums[UP_SUMS + i]);
        }
    }
}
