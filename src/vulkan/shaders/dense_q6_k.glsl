// Q6_K: of a block of 256 columns 8 units of the codes' low 4 bits, 4 of their high 2 bits, one of the 16 factors. The block's sum is an
// integer: factor times (dot of 16 with the codes 0..63, less 32 times the sum of x).
#include "vulkan/shaders/dense_codes.glsl"

const uint BLOCK_UNITS = 13u, HIGH_UNITS_AT = 8u, FACTORS_AT = 12u, PIECE = 64u; // columns that are read at a time
const uint X_UNITS = PIECE / X_COLS;

// Four codes 0..63 of the piece: columns 4q ..
uint codes_of(uvec4 low[2], uvec4 high, uint q)
{
    const uint i = q % 4u, word = high[q / 4u];
    const uint upper = i == 0u ? word << 4 : i == 1u ? word << 2 : i == 2u ? word : word >> 2;
    return ((low[q / 8u][q % 8u / 2u] >> (4u * (q & 1u))) & 0x0f0f0f0fu) | (upper & 0x30303030u);
}

// Columns 16g .. of the piece.
int dot16(uvec4 x[X_UNITS], uint codes[16], uint g)
{
    int dot = 0;
    [[unroll]] for (uint q = 0u; q < 4u; q++) {
        const uint w = codes[4u * g + q];
#if defined(TN_DOT)
        dot += dot4(x[g][q], w, 0);
#else
        // Four products of at most 63 * 127 leave the upper half below 2^15.
        const uint even = (w & 0x00ff00ffu) * x[2u * g + q / 2u][q % 2u * 2u];
        const uint odd = ((w >> 8) & 0x00ff00ffu) * x[2u * g + q / 2u][q % 2u * 2u + 1u];
        dot += upper_half(even + odd);
#endif
    }
    return dot;
}

void multiply()
{
    int acc[ROWS * COLS];
    for (uint b = 0u; b < p.w.n_blocks; b++) {
        [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) acc[i] = 0;
        for (uint piece = 0u; piece < 4u; piece++) {
            uvec4 x[COLS][X_UNITS], sums_x[COLS];
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                const uint at = (p.x_at + token_row[c] * p.x_stride) / 4u + (b * 4u + piece) * X_UNITS;
                [[unroll]] for (uint i = 0u; i < X_UNITS; i++) x[c][i] = LOAD_ARENA4(at + i);
                sums_x[c] = LOAD_ARENA4((p.sums + token_row[c] * p.sums_stride) / 4u + b * 4u + piece);
            }
            [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                const uint first = unit_of[r] + b * BLOCK_UNITS * p.w.interleave;
                uvec4 low[2];
                low[0] = LOAD_WEIGHTS4(first + (2u * piece) * p.w.interleave);
                low[1] = LOAD_WEIGHTS4(first + (2u * piece + 1u) * p.w.interleave);
                const uvec4 high = LOAD_WEIGHTS4(first + (HIGH_UNITS_AT + piece) * p.w.interleave);
                const uint factors = word_of(LOAD_WEIGHTS4(first + FACTORS_AT * p.w.interleave), piece);
                uint codes[16];
                [[unroll]] for (uint q = 0u; q < 16u; q++) codes[q] = codes_of(low, high, q);
                [[unroll]] for (uint c = 0u; c < COLS; c++) {
                    [[unroll]] for (uint g = 0u; g < 4u; g++) {
                        const int factor = int(factors << (24u - 8u * g)) >> 24;
                        acc[r * COLS + c] += factor * (dot16(x[c], codes, g) - 32 * int(sums_x[c][g]));
                    }
                }
            }
        }
        [[unroll]] for (uint r = 0u; r < ROWS; r++) {
            const uint group = row_of[r] / p.w.interleave;
            const uint at = (group * p.w.n_blocks + b) * p.w.interleave + (row_of[r] - group * p.w.interleave);
            const float dw = uintBitsToFloat(kv[p.w.scales_at + at]);
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                const float dx = arena_scale(p.scales + token_row[c] * p.scales_stride + b);
                sums[r * COLS + c] = sums[r * COLS + c] + (any_float(acc[r * COLS + c]) * fl(dx * dw));
            }
        }
    }
}
