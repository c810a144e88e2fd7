// Probe of the machine's limits for products of 2x8 and 8x2 bytes (FEAT_I8MM). Memory is read as NEON does.
#define PD_PRODUCTS 32u
#define PD_DOT      vmmlaq_s32
#include "cpu/arm/peak_dot_arm.h"

uint64_t tn_k_peak_dot_i8_i8_12x4__i8mm(uint8_t code, int8_t q, uint32_t n_groups, uint32_t *out_sum)
{
    return pd_run(code, q, n_groups, out_sum);
}
