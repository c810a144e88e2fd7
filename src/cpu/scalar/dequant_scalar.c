// Dense rows to f32, plain C.
#include "cpu/tmpl/matmul_common.h"

#define TN_DEQ_WIDTH 16

// Arrays of the function's own alias nothing, so that compilers turn the loops into vectors even at -O2.
typedef struct tn_deq_codes {
    int32_t code[TN_DEQ_WIDTH];
} tn_deq_codes;

TN_K_INLINE tn_deq_codes tn_deq_low(const uint8_t *p)
{
    tn_deq_codes c;
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) c.code[i] = p[i] & 15;
    return c;
}
TN_K_INLINE tn_deq_codes tn_deq_high(const uint8_t *p)
{
    tn_deq_codes c;
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) c.code[i] = p[i] >> 4;
    return c;
}
TN_K_INLINE tn_deq_codes tn_deq_plane(const uint8_t *p, const unsigned j)
{
    tn_deq_codes c;
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) c.code[i] = (p[i] >> j & 1) << 4;
    return c;
}
TN_K_INLINE tn_deq_codes tn_deq_lanes(uint32_t bits)
{
    tn_deq_codes c;
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) c.code[i] = (int32_t)(bits >> i & 1u) << 4;
    return c;
}
TN_K_INLINE tn_deq_codes tn_deq_join(tn_deq_codes a, tn_deq_codes b)
{
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) a.code[i] |= b.code[i];
    return a;
}
TN_K_INLINE void tn_deq_store(float *y, tn_deq_codes c, const int32_t middle, float scale, float offset)
{
    float values[TN_DEQ_WIDTH];
    for (unsigned i = 0; i < TN_DEQ_WIDTH; i++) values[i] = ((scale * (float)(c.code[i] - middle)) + offset) + 0.0f;
    memcpy(y, values, sizeof values);
}

#define TN_DEQUANT_NAME(type) tn_k_dequant_##type##__scalar
#include "cpu/tmpl/dequant.h"
