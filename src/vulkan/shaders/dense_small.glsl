// Q8_0 and Q4_0: of a block of 256 columns 16 or 8 units of codes, then one of 8 f16 scales, of 32 columns each.
#include "vulkan/shaders/dense_codes.glsl"

const uint GROUP = 32u, X_UNITS = GROUP / X_COLS;
#if defined(TN_DENSE_Q8_0)
const uint GROUP_UNITS = 2u;
#else
const uint GROUP_UNITS = 1u;
const int BIAS = 8; // of codes 0..15
#endif
const uint BLOCK_UNITS = 8u * GROUP_UNITS + 1u;

#if defined(TN_DENSE_Q8_0) && !defined(TN_DOT)
// Two codes -128..127, 16 bits apart, as one integer: two products leave the upper half below 2^15, more would not.
uint signed_pair(uint w) { return ((w & 0x00ff00ffu) ^ 0x00800080u) - 0x00800080u; }
#endif

// The 32 products of a group.
int dot32(uvec4 x[X_UNITS], uvec4 w[GROUP_UNITS])
{
    int dot = 0;
#if defined(TN_DENSE_Q8_0)
    [[unroll]] for (uint q = 0u; q < 8u; q++) {
        const uint codes = w[q / 4u][q % 4u];
#if defined(TN_DOT)
        dot += dot4(x[q / 4u][q % 4u], codes, 0);
#else
        dot += upper_half(signed_pair(codes) * x[q / 2u][q % 2u * 2u]);
        dot += upper_half(signed_pair(codes >> 8) * x[q / 2u][q % 2u * 2u + 1u]);
#endif
    }
#elif defined(TN_DOT)
    [[unroll]] for (uint q = 0u; q < 8u; q++) dot += dot4(x[q / 4u][q % 4u], (w[0][q / 2u] >> (4u * (q & 1u))) & 0x0f0f0f0fu, 0);
#else
    // 16 products of at most 15 * 127 leave the upper half below 2^15.
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        uint acc = 0u;
        [[unroll]] for (uint q = 4u * h; q < 4u * h + 4u; q++) {
            const uint codes = w[0][q / 2u] >> (4u * (q & 1u));
            acc += (codes & 0x000f000fu) * x[q / 2u][q % 2u * 2u];
            acc += ((codes >> 8) & 0x000f000fu) * x[q / 2u][q % 2u * 2u + 1u];
        }
        dot += upper_half(acc);
    }
#endif
    return dot;
}

void multiply()
{
    const uint n_blocks = p.w.n_units / BLOCK_UNITS;
    float half_sum[ROWS * COLS];
    for (uint b = 0u; b < n_blocks; b++) {
        // The 8 terms are added as a tree: ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). Groups 2m + odd have half `odd` of word m.
        for (uint odd = 0u; odd < 2u; odd++) {
            float terms[4][ROWS * COLS];
            [[unroll]] for (uint m = 0u; m < 4u; m++) {
                const uint group = b * 8u + 2u * m + odd;
                uvec4 x[COLS][X_UNITS];
                float dx[COLS];
                int sum_x[COLS];
                [[unroll]] for (uint c = 0u; c < COLS; c++) {
                    const uint at = (p.x_at + token_row[c] * p.x_stride) / 4u + group * X_UNITS;
                    [[unroll]] for (uint i = 0u; i < X_UNITS; i++) x[c][i] = LOAD_ARENA4(at + i);
                    dx[c] = arena_scale(p.scales + token_row[c] * p.scales_stride + group);
#if defined(TN_DENSE_Q4_0)
                    sum_x[c] = floatBitsToInt(arena_scale(p.sums + token_row[c] * p.sums_stride + group));
#endif
                }
                [[unroll]] for (uint r = 0u; r < ROWS; r++) {
                    const uint first = unit_of[r] + b * BLOCK_UNITS * p.w.interleave;
                    uvec4 w[GROUP_UNITS];
                    [[unroll]] for (uint i = 0u; i < GROUP_UNITS; i++)
                        w[i] = LOAD_WEIGHTS4(first + ((2u * m + odd) * GROUP_UNITS + i) * p.w.interleave);
                    const uvec4 scales = LOAD_WEIGHTS4(first + 8u * GROUP_UNITS * p.w.interleave);
                    const float dw = f16_float((scales[m] >> (16u * odd)) & 0xffffu);
                    [[unroll]] for (uint c = 0u; c < COLS; c++) {
                        int dot = dot32(x[c], w);
#if defined(TN_DENSE_Q4_0)
                        dot -= BIAS * sum_x[c];
#endif
                        terms[m][r * COLS + c] = small_float(dot) * fl(dx[c] * dw);
                    }
                }
            }
            [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) {
                const float four = (terms[0][i] + terms[2][i]) + (terms[1][i] + terms[3][i]);
                if (odd == 0u)
                    half_sum[i] = four;
                else
                    sums[i] = sums[i] + (half_sum[i] + four);
            }
        }
    }
}
