// Q6_K: of a block of 256 columns 8 units of the codes' low 4 bits, 4 of their high 2 bits, one of the 16 factors. The block's sum is an
// integer: factor times dot of 16 with the codes less 32.
#include "vulkan/shaders/dot.glsl"

const uint BLOCK_UNITS = 13u, HIGH_AT = 8u, FACTORS_AT = 12u;
const uint PIECE = 64u, PIECES = 4u; // columns that are multiplied at a time; of a block
const uint X_UNITS = PIECE / X_COLS;

#if defined(TN_DOT)
const uint UPPER = 0x30303030u;
#else
const uint UPPER = 0xf0f0f0f0u; // products in halves leave out what lies above: a device that selects by a mask then masks once
#endif

// Four codes 0..63 of a piece: columns 4q ..
uint codes_of(uvec4 low, uvec4 high, uint q)
{
    const uint i = q % 4u, word = high[q / 4u];
    const uint upper = i == 0u ? word << 4 : i == 1u ? word << 2 : i == 2u ? word : word >> 2;
    return ((low[q % 8u / 2u] >> (4u * (q & 1u))) & 0x0f0f0f0fu) | (upper & UPPER);
}

// Columns 16g .. of the piece, with codes -32..31.
int dot16(uvec4 x[X_UNITS], uvec4 codes, uint g, int sum_x)
{
    int dot = 0;
#if defined(TN_DOT)
    [[unroll]] for (uint q = 0u; q < 4u; q++) dot += dot4(x[g][q], codes[q]);
    return dot - 32 * sum_x;
#else
    // Eight products of at most 32 * 127 leave the upper half below 2^15; what codes that are 32 too large add is taken off beforehand.
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        const uvec4 x4 = x[2u * g + h];
        uint acc = 0u - 0x00200020u * ((x4.x + x4.y) + (x4.z + x4.w));
        [[unroll]] for (uint e = 0u; e < 2u; e++) {
            const uint w = codes[2u * h + e];
            acc += (w & 0x003f003fu) * x4[2u * e] + ((w >> 8) & 0x003f003fu) * x4[2u * e + 1u];
        }
        dot += upper_half(acc);
    }
    return dot;
#endif
}

void multiply()
{
    // Outside the loop: where control flow may differ between lanes, software devices read push constants lane by lane.
    const uint n_blocks = p.w.n_blocks, interleave = p.w.interleave;
    uint w_scale_of[ROWS], x_of[COLS], x_scale_of[COLS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        const uint group = row_of[r] / interleave;
        w_scale_of[r] = p.w.scales_at + group * n_blocks * interleave + (row_of[r] - group * interleave);
    }
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        x_of[c] = (p.x_at + token_row[c] * p.x_stride) / 4u;
        x_scale_of[c] = p.scales + token_row[c] * p.scales_stride;
    }
    for (uint b = 0u; b < n_blocks; b++) {
        int acc[ROWS * COLS];
        [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) acc[i] = 0;
        // In the order in which they lie in memory.
        uvec4 w[ROWS][BLOCK_UNITS];
        [[unroll]] for (uint i = 0u; i < BLOCK_UNITS; i++) {
            [[unroll]] for (uint r = 0u; r < ROWS; r++) w[r][i] = LOAD_WEIGHTS4(unit_of[r] + (b * BLOCK_UNITS + i) * interleave);
        }
        [[unroll]] for (uint piece = 0u; piece < PIECES; piece++) {
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                const uint at = x_of[c] + (b * PIECES + piece) * X_UNITS;
                uvec4 x[X_UNITS], sum_x = uvec4(0u);
#if !defined(TN_DOT)
                load_eight(at, x);
#else
                [[unroll]] for (uint i = 0u; i < X_UNITS; i++) x[i] = LOAD_ARENA4(at + i);
                sum_x = LOAD_ARENA4((p.sums + token_row[c] * p.sums_stride) / 4u + b * PIECES + piece);
#endif
                [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                    [[unroll]] for (uint g = 0u; g < 4u; g++) {
                        // The same for all rows of x, and unpacked where they are needed: there are more than registers.
                        uvec4 codes;
                        [[unroll]] for (uint q = 0u; q < 4u; q++)
                            codes[q] = codes_of(w[r][2u * piece + g / 2u], w[r][HIGH_AT + piece], 4u * g + q);
                        const int factor = int(w[r][FACTORS_AT][piece] << (24u - 8u * g)) >> 24;
                        acc[r * COLS + c] += factor * dot16(x, codes, g, int(sum_x[g]));
                    }
                }
            }
        }
        [[unroll]] for (uint r = 0u; r < ROWS; r++) {
            const float dw = uintBitsToFloat(kv[w_scale_of[r] + b * interleave]);
            [[unroll]] for (uint c = 0u; c < COLS; c++) {
                const float dx = arena_word_f32(x_scale_of[c] + b);
                sums[r * COLS + c] = sums[r * COLS + c] + (any_float(acc[r * COLS + c]) * fl(dx * dw));
            }
        }
    }
}
