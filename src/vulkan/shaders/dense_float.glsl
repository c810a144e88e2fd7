// DOT_ROW: element k is added by lane k % 32 of the sum, in order; then the tree of the 32 lanes. A unit of 16 bytes has the elements of a
// few lanes, so the row is read in passes: pass q adds lanes ELEMENTS * q .., reading every PASSES-th unit. Passes come in an order in
// which the tree adds their lanes at once: 0, 2, 1, 3 and 0, 4, 2, 6, 1, 5, 3, 7.
#if defined(TN_DENSE_F32)
const uint ELEMENTS = 4u;
#else
const uint ELEMENTS = 8u;
#endif
const uint PASSES = 32u / ELEMENTS;

#if defined(TN_DENSE_F16)
#define WIDEN_LOW(w) f16_float(w & 0xffffu)
#define WIDEN_HIGH(w) f16_float(w >> 16)
#elif defined(TN_DENSE_BF16)
#define WIDEN_LOW(w) uintBitsToFloat(w << 16)
#define WIDEN_HIGH(w) uintBitsToFloat(w & 0xffff0000u)
#endif

float lanes[ROWS * COLS * ELEMENTS];

void widen(uvec4 unit, out float w[ELEMENTS])
{
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
#if defined(TN_DENSE_F32)
        w[i] = uintBitsToFloat(unit[i]);
#else
        w[2u * i] = WIDEN_LOW(unit[i]);
        w[2u * i + 1u] = WIDEN_HIGH(unit[i]);
#endif
    }
}

// Unit u of every row. is_last: its elements from n on are not of the row, and x may have anything there.
void add_unit(uint u, bool is_last)
{
    float x[COLS * ELEMENTS];
    [[unroll]] for (uint c = 0u; c < COLS; c++) {
        const uint at = (p.x_at + token_row[c] * p.x_stride) / 4u + u * (ELEMENTS / 4u);
        [[unroll]] for (uint i = 0u; i < ELEMENTS / 4u; i++) {
            const uint k = u * ELEMENTS + i * 4u;
            uvec4 v = uvec4(0u);
            if (!is_last || k < p.n) v = LOAD_ARENA4(at + i);
            [[unroll]] for (uint e = 0u; e < 4u; e++)
                x[c * ELEMENTS + i * 4u + e] = is_last && k + e >= p.n ? 0.0 : uintBitsToFloat(v[e]);
        }
    }
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        float w[ELEMENTS];
        widen(LOAD_WEIGHTS4(unit_of[r] + u * p.w.interleave), w);
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            [[unroll]] for (uint e = 0u; e < ELEMENTS; e++) {
                const uint i = (r * COLS + c) * ELEMENTS + e;
                lanes[i] = lanes[i] + (x[c * ELEMENTS + e] * w[e]);
            }
        }
    }
}

void add_pass(uint pass)
{
    const uint n_whole = p.n / ELEMENTS;
    uint u = pass;
    [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) lanes[i] = 0.0;
    for (; u < n_whole; u += PASSES) add_unit(u, false);
    if (u * ELEMENTS < p.n) add_unit(u, true);
}

void multiply()
{
    // 0 + s is s: each level of the tree begins with 0.
    float all[ROWS * COLS * ELEMENTS], half_[ROWS * COLS * ELEMENTS];
    [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) all[i] = 0.0;
    for (uint pass = 0u; pass < 2u; pass++) {
        [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) half_[i] = 0.0;
#if defined(TN_DENSE_F32)
        for (uint third = 0u; third < 2u; third++) {
            float quarter[ROWS * COLS * ELEMENTS];
            [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) quarter[i] = 0.0;
            for (uint second = 0u; second < 2u; second++) {
                add_pass(pass + 2u * third + 4u * second);
                [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) quarter[i] = quarter[i] + lanes[i];
            }
            [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) half_[i] = half_[i] + quarter[i];
        }
#else
        for (uint second = 0u; second < 2u; second++) {
            add_pass(pass + 2u * second);
            [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) half_[i] = half_[i] + lanes[i];
        }
#endif
        [[unroll]] for (uint i = 0u; i < ROWS * COLS * ELEMENTS; i++) all[i] = all[i] + half_[i];
    }
    [[unroll]] for (uint i = 0u; i < ROWS * COLS; i++) {
        [[unroll]] for (uint width = ELEMENTS / 2u; width > 0u; width /= 2u) {
            [[unroll]] for (uint e = 0u; e < width; e++) all[i * ELEMENTS + e] = all[i * ELEMENTS + e] + all[i * ELEMENTS + e + width];
        }
        sums[i] = all[i * ELEMENTS];
    }
}
