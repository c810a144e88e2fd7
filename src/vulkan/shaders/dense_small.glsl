// Q8_0 and Q4_0: of a block of 256 columns 16 or 8 units of codes, then one of 8 f16 scales, of 32 columns each.
#include "vulkan/shaders/dot.glsl"

const uint GROUPS = 8u, X_UNITS = 32u / X_COLS; // of a block; of a group
#if defined(TN_DENSE_Q8_0)
const uint GROUP_UNITS = 2u;
#else
const uint GROUP_UNITS = 1u;
#endif
const uint SCALES_AT = GROUPS * GROUP_UNITS, BLOCK_UNITS = SCALES_AT + 1u;

// Four codes of a group, columns 4q ..: as they are, or 0..15.
uint codes_of(uvec4 w[BLOCK_UNITS], uint group, uint q)
{
#if defined(TN_DENSE_Q8_0)
    return w[group * GROUP_UNITS + q / 4u][q % 4u];
#else
    return (w[group][q / 2u] >> (4u * (q & 1u))) & 0x0f0f0f0fu;
#endif
}

#if defined(TN_DENSE_Q8_0) && !defined(TN_DOT)
// Two codes -128..127, 16 bits apart, as one integer: two products leave the upper half below 2^15, more would not.
uint signed_pair(uint w) { return ((w & 0x00ff00ffu) ^ 0x00800080u) - 0x00800080u; }
#endif

// The 32 products of a group.
int dot32(uvec4 x[X_UNITS], uint codes[8], int sum_x)
{
    int dot = 0;
#if defined(TN_DOT)
    [[unroll]] for (uint q = 0u; q < 8u; q++) dot += dot4(x[q / 4u][q % 4u], codes[q]);
#elif defined(TN_DENSE_Q8_0)
    [[unroll]] for (uint q = 0u; q < 8u; q++) {
        dot += upper_half(signed_pair(codes[q]) * x[q / 2u][q % 2u * 2u]);
        dot += upper_half(signed_pair(codes[q] >> 8) * x[q / 2u][q % 2u * 2u + 1u]);
    }
#else
    // 16 products of at most 15 * 127 leave the upper half below 2^15.
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        uint acc = 0u;
        [[unroll]] for (uint e = 0u; e < 4u; e++) {
            const uint q = 4u * h + e;
            acc += (codes[q] & 0x00ff00ffu) * x[q / 2u][q % 2u * 2u] + ((codes[q] >> 8) & 0x00ff00ffu) * x[q / 2u][q % 2u * 2u + 1u];
        }
        dot += upper_half(acc);
    }
#endif
#if defined(TN_DENSE_Q4_0)
    dot -= 8 * sum_x;
#endif
    return dot;
}

void multiply()
{
    const uint n_blocks = p.w.n_units / BLOCK_UNITS;
    for (uint b = 0u; b < n_blocks; b++) {
        // In the order in which they lie in memory.
        uvec4 w[ROWS][BLOCK_UNITS];
        [[unroll]] for (uint i = 0u; i < BLOCK_UNITS; i++) {
            [[unroll]] for (uint r = 0u; r < ROWS; r++) w[r][i] = LOAD_WEIGHTS4(unit_of[r] + (b * BLOCK_UNITS + i) * p.w.interleave);
        }
        uvec4 dx[COLS][2], sum_x[COLS][2];
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            [[unroll]] for (uint i = 0u; i < 2u; i++) {
                dx[c][i] = LOAD_ARENA4((p.scales + token_row[c] * p.scales_stride) / 4u + b * 2u + i);
                sum_x[c][i] = uvec4(0u);
#if defined(TN_DENSE_Q4_0)
                sum_x[c][i] = LOAD_ARENA4((p.sums + token_row[c] * p.sums_stride) / 4u + b * 2u + i);
#endif
            }
        }
        float terms[GROUPS][ROWS * COLS];
        [[unroll]] for (uint g = 0u; g < GROUPS; g++) {
            uint codes[ROWS][8];
            float dw[ROWS];
            [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                [[unroll]] for (uint q = 0u; q < 8u; q++) codes[r][q] = codes_of(w[r], g, q);
                dw[r] = f16_float((w[r][SCALES_AT][g / 2u] >> (16u * (g & 1u))) & 0xffffu);
            }
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                const uint at = (p.x_at + token_row[c] * p.x_stride) / 4u + (b * GROUPS + g) * X_UNITS;
                uvec4 x[X_UNITS];
                [[unroll]] for (uint i = 0u; i < X_UNITS; i++) x[i] = LOAD_ARENA4(at + i);
                [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                    const int dot = dot32(x, codes[r], int(sum_x[c][g / 4u][g % 4u]));
                    terms[g][r * COLS + c] = small_float(dot) * fl(uintBitsToFloat(dx[c][g / 4u][g % 4u]) * dw[r]);
                }
            }
        }
        [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) {
            const float even = (terms[0][i] + terms[4][i]) + (terms[2][i] + terms[6][i]);
            const float odd = (terms[1][i] + terms[5][i]) + (terms[3][i] + terms[7][i]);
            sums[i] = sums[i] + (even + odd);
        }
    }
}
