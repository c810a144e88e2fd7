// Matmul over f32, f16 and bf16 rows by DOT_ROW for NEON.
#include "cpu/arm/matmul_neon.h"

// The vocabulary of the template: thirty-two f32 lanes.
typedef struct tn_v32 {
    float32x4_t v[8]; // lanes 4i .. 4i+3
} tn_v32;

// Tiles of the template: 32 registers hold 16 accumulators, 8 weights and what is loaded.
enum { TN_DOT_MR = 2, TN_DOT_NR_MANY = 1 };

TN_K_INLINE tn_v32 tn_v32_zero(void)
{
    const float32x4_t z = vdupq_n_f32(0.0f);
    return (tn_v32){{z, z, z, z, z, z, z, z}};
}
TN_K_INLINE tn_v32 tn_v32_load(const float *p)
{
    return (tn_v32){{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12), vld1q_f32(p + 16), vld1q_f32(p + 20),
                     vld1q_f32(p + 24), vld1q_f32(p + 28)}};
}
// The first n elements (n < 32), zeros after them; reads nothing past them.
TN_K_INLINE tn_v32 tn_v32_load_n(const float *p, uint32_t n)
{
    float v[32] = {0};
    memcpy(v, p, 4 * (size_t)n);
    return tn_v32_load(v);
}
TN_K_INLINE uint16x4_t tn_half4(const uint8_t *p, const unsigned i) { return vld1_u16((const uint16_t *)(const void *)(p + 8 * i)); }
// The conversion keeps f16's subnormals: they are normal numbers of f32.
TN_K_INLINE float32x4_t tn_f16_4(const uint8_t *p, const unsigned i) { return vcvt_f32_f16(vreinterpret_f16_u16(tn_half4(p, i))); }
TN_K_INLINE float32x4_t tn_bf16_4(const uint8_t *p, const unsigned i) { return vreinterpretq_f32_u32(vshll_n_u16(tn_half4(p, i), 16)); }
TN_K_INLINE tn_v32 tn_v32_load_f16(const uint8_t *p)
{
    return (tn_v32){
        {tn_f16_4(p, 0), tn_f16_4(p, 1), tn_f16_4(p, 2), tn_f16_4(p, 3), tn_f16_4(p, 4), tn_f16_4(p, 5), tn_f16_4(p, 6), tn_f16_4(p, 7)}};
}
TN_K_INLINE tn_v32 tn_v32_load_bf16(const uint8_t *p)
{
    return (tn_v32){{tn_bf16_4(p, 0), tn_bf16_4(p, 1), tn_bf16_4(p, 2), tn_bf16_4(p, 3), tn_bf16_4(p, 4), tn_bf16_4(p, 5), tn_bf16_4(p, 6),
                     tn_bf16_4(p, 7)}};
}
// acc + x*w, two roundings.
TN_K_INLINE tn_v32 tn_v32_mul_add(tn_v32 acc, tn_v32 x, tn_v32 w)
{
    TN_K_UNROLL
    for (unsigned i = 0; i < 8; i++) acc.v[i] = vaddq_f32(acc.v[i], vmulq_f32(x.v[i], w.v[i]));
    return acc;
}
// l+16, l+8, l+4, l+2, l+1.
TN_K_INLINE float tn_v32_tree(tn_v32 x)
{
    const float32x4_t even = vaddq_f32(vaddq_f32(x.v[0], x.v[4]), vaddq_f32(x.v[2], x.v[6]));
    const float32x4_t odd = vaddq_f32(vaddq_f32(x.v[1], x.v[5]), vaddq_f32(x.v[3], x.v[7]));
    const float32x4_t s4 = vaddq_f32(even, odd);
    const float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

#include "cpu/tmpl/matmul_dot_row.h"

void tn_k_matmul_f32_f32_2x1__neon(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F32); }
void tn_k_matmul_f16_f32_2x1__neon(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_F16); }
void tn_k_matmul_bf16_f32_2x1__neon(const tn_k_matmul_dense_args *args) { tn_dot_rows(args, TN_DTYPE_BF16); }
