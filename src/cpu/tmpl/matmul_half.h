// f16 and bf16 to f32 by integer operations: exact, subnormals kept whatever MXCSR says.
#ifndef TN_CPU_TMPL_MATMUL_HALF_H
#define TN_CPU_TMPL_MATMUL_HALF_H

#include "base/exact_math.h"

static inline uint16_t tn_load_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline float tn_widen_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 0x3ffu;
    if (exponent == 31) return tn_float(sign | 0x7f800000u | (mantissa << 13));
    if (exponent > 0) return tn_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
    if (mantissa == 0) return tn_float(sign);
    uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21; // brings the leading bit to bit 10
    return tn_float(sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ffu) << 13));
}
static inline float tn_widen_bf16(uint16_t h) { return tn_float((uint32_t)h << 16); }

#endif
