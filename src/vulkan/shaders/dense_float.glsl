// F32, F16, BF16: DOT_ROW. Element k is added to lane k % 32 of the sum, in order; at the end the 32 lanes are added as a tree.
const uint LANES = 32u;
#if defined(TN_DENSE_F32)
const uint ELEMENTS = 4u; // of a unit
#else
const uint ELEMENTS = 8u;
#endif

#if defined(TN_DENSE_F16)
// f16_float of math.glsl, from the f16's bits without sign, 13 places up, and its sign in the highest place. A subnormal m * 2^-24 is
// (2^-14 + m * 2^-24) - 2^-14.
float widen_half(uint rest, uint sign)
{
    const bool is_small = rest < 0x00800000u;
    const uint bits = rest + (is_small ? 0x38800000u : rest < 0x0f800000u ? 0x38000000u : 0x70000000u);
    const float size = uintBitsToFloat(bits) - (is_small ? 6.103515625e-5 : 0.0);
    return uintBitsToFloat(floatBitsToUint(size) | (sign & 0x80000000u));
}
#endif

// Elements of a unit.
float element(uvec4 unit, uint i)
{
#if defined(TN_DENSE_F32)
    return uintBitsToFloat(unit[i]);
#else
    const uint w = unit[i / 2u];
#if defined(TN_DENSE_BF16)
    return uintBitsToFloat((i & 1u) == 0u ? w << 16 : w & 0xffff0000u);
#else
    return (i & 1u) == 0u ? widen_half((w << 13) & 0x0fffe000u, w << 16) : widen_half((w >> 3) & 0x0fffe000u, w);
#endif
#endif
}

float lanes[ROWS * COLS][LANES];

// 32 columns of every row. is_last: those from n on are not of the row, and x may have anything there.
void add_columns(uint first, bool is_last)
{
    [[unroll]] for (uint u = 0u; u < LANES / ELEMENTS; u++) {
        uvec4 w[ROWS];
        [[unroll]] for (uint r = 0u; r < ROWS; r++) w[r] = LOAD_WEIGHTS4(unit_of[r] + (first / ELEMENTS + u) * p.w.interleave);
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            [[unroll]] for (uint i = 0u; i < ELEMENTS / 4u; i++) {
                const uint k = first + u * ELEMENTS + i * 4u;
                uvec4 x = uvec4(0u);
                if (!is_last || k < p.n) x = LOAD_ARENA4((p.x_at + token_row[c] * p.x_stride + k) / 4u);
                [[unroll]] for (uint e = 0u; e < 4u; e++) {
                    const float x1 = is_last && k + e >= p.n ? 0.0 : uintBitsToFloat(x[e]);
                    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                        const uint lane = u * ELEMENTS + i * 4u + e;
                        lanes[r * COLS + c][lane] = lanes[r * COLS + c][lane] + (x1 * element(w[r], i * 4u + e));
                    }
                }
            }
        }
    }
}

void multiply()
{
    [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) {
        [[unroll]] for (uint l = 0u; l < LANES; l++) lanes[i][l] = 0.0;
    }
    const uint n_whole = p.n & ~(LANES - 1u);
    for (uint k = 0u; k < n_whole; k += LANES) add_columns(k, false);
    if (n_whole < p.n) add_columns(n_whole, true);
    [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) {
        [[unroll]] for (uint l = 0u; l < 16u; l++) lanes[i][l] = lanes[i][l] + lanes[i][l + 16u];
        [[unroll]] for (uint l = 0u; l < 8u; l++) lanes[i][l] = lanes[i][l] + lanes[i][l + 8u];
        [[unroll]] for (uint l = 0u; l < 4u; l++) lanes[i][l] = lanes[i][l] + lanes[i][l + 4u];
        sums[i] = (lanes[i][0] + lanes[i][2]) + (lanes[i][1] + lanes[i][3]);
    }
}
