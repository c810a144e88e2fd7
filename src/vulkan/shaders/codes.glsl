// How int8 codes of activations lie in the arena. The includer declares the specialisation constant CODE_FORM.
#ifndef TN_CODES_GLSL
#define TN_CODES_GLSL

const uint CODES_DOT = 0u; // 4 codes a word, natural order: for dot products of 4 bytes
const uint CODES_MUL = 1u; // 2 words for 4 codes, (c0 << 16) + c2 and (c1 << 16) + c3: for multiplies of 32 bits

const uint QUANT_LEAST = 0x3727c5acu; // 1e-5: an absmax that is smaller counts as this
const uint RECIP_127 = 0x3c010204u;   // RN(1/127)

// Codes of scaled values, nearest, ties to even. A value that is no code, as NaN gives it, still gives one of 8 bits.
ivec4 codes_of(vec4 scaled)
{
    const ivec4 q = ivec4(round_int(scaled.x), round_int(scaled.y), round_int(scaled.z), round_int(scaled.w));
    return (q << 24) >> 24;
}
// Components of elements 4 unit .. 4 unit + 3 that a row of n elements does not have become 0.
ivec4 codes_within(ivec4 q, uint unit, uint n)
{
    const uint k = 4u * unit;
    return ivec4(k < n ? q.x : 0, k + 1u < n ? q.y : 0, k + 2u < n ? q.z : 0, k + 3u < n ? q.w : 0);
}
vec4 floats_within(vec4 x, uint unit, uint n)
{
    const uint k = 4u * unit;
    return vec4(k < n ? x.x : 0.0, k + 1u < n ? x.y : 0.0, k + 2u < n ? x.z : 0.0, k + 3u < n ? x.w : 0.0);
}
uint abs_bits_max(vec4 x) { return max(max(abs_bits(x.x), abs_bits(x.y)), max(abs_bits(x.z), abs_bits(x.w))); }

// Units of 4 codes in a row of `stride` words.
uint codes_units(uint stride) { return CODE_FORM == CODES_DOT ? stride : stride / 2u; }
// The codes of elements 4 unit .. of the row that begins at word `at`.
void codes_store(uint at, uint unit, ivec4 q)
{
    if (CODE_FORM == CODES_DOT) {
        const uvec4 b = uvec4(q) & 0xffu;
        arena[at + unit] = b.x | b.y << 8 | b.z << 16 | b.w << 24;
    } else {
        arena[at + 2u * unit] = uint((q.x << 16) + q.z);
        arena[at + 2u * unit + 1u] = uint((q.y << 16) + q.w);
    }
}

#endif
