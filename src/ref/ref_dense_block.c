// Unpacks Q8_0, Q4_0 and Q6_K blocks as the file formats define them.
#include "ref/ref_dense_block.h"

#include "base/exact_math.h"
#include "format/dense.h"

static float load_scale(const uint8_t *bytes) { return tn_fl(tn_f16_to_f32((uint16_t)(bytes[0] | (bytes[1] << 8)))); }

float tn_ref_q8_0_unpack(const uint8_t *block, int8_t codes[32])
{
    memcpy(codes, block + 2, TN_REF_Q8_0_ELEMENTS);
    return load_scale(block);
}

float tn_ref_q4_0_unpack(const uint8_t *block, int8_t codes[32])
{
    for (uint32_t i = 0; i < TN_REF_Q8_0_ELEMENTS / 2; i++) {
        codes[i] = (int8_t)((block[2 + i] & 15) - 8);
        codes[i + TN_REF_Q8_0_ELEMENTS / 2] = (int8_t)((block[2 + i] >> 4) - 8);
    }
    return load_scale(block);
}

float tn_ref_q6_k_unpack(const uint8_t *block, int8_t codes[256], int8_t factors[16])
{
    // 4 low bits of every code in 128 bytes, 2 high bits in 64, 16 factors, an f16 scale.
    for (uint32_t e = 0; e < TN_REF_Q6_K_ELEMENTS; e++) {
        uint32_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
        uint32_t low = (uint32_t)block[64 * half + 32 * (quarter % 2) + l] >> (quarter < 2 ? 0 : 4) & 15u;
        uint32_t high = (uint32_t)block[128 + 32 * half + l] >> (2 * quarter) & 3u;
        codes[e] = (int8_t)((int32_t)(low | high << 4) - 32);
    }
    memcpy(factors, block + 192, 16);
    return load_scale(block + 208);
}
