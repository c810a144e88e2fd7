// Row kernels in plain C: the definitions of src/ref themselves.
#include "cpu/kernel.h"
#include "ref/ref.h"

void tn_k_quant__scalar(const float *x, uint32_t n, int8_t *q, float *scale, int32_t *sum) { tn_ref_quant(x, n, q, scale, sum); }

void tn_k_norm_quant__scalar(const float *x, const float *gamma, uint32_t n, float eps, int8_t *q, float *scale, int32_t *sum)
{
    tn_ref_norm_quant(x, gamma, n, eps, q, scale, sum);
}

uint32_t tn_k_norm__scalar(const float *x, const float *gamma, uint32_t n, float eps, float *y) { return tn_ref_norm(x, gamma, n, eps, y); }

void tn_k_quant_group__scalar(const float *x, uint32_t n, uint32_t group, int8_t *q, float *scales, int32_t *sums)
{
    tn_ref_quant_group(x, n, group, q, scales, sums);
}

uint32_t tn_k_rope__scalar(const float *x, const float *table_row, uint32_t n_heads, uint32_t head_dim, tn_rope_pairs pairs, float *y)
{
    return tn_ref_rope(x, table_row, n_heads, head_dim, pairs, y);
}

void tn_k_quant_head__scalar(const float *x, uint32_t n, int32_t A, int16_t *codes, float *scale)
{
    tn_ref_quant_head(x, n, A, codes, scale);
}

uint32_t tn_k_glu_relu2__scalar(const float *gate, const float *up, uint32_t n, float *y)
{
    return tn_ref_glu(TN_GLU_RELU2, gate, up, n, y);
}

uint32_t tn_k_glu_silu__scalar(const float *gate, const float *up, uint32_t n, float *y) { return tn_ref_glu(TN_GLU_SILU, gate, up, n, y); }

uint32_t tn_k_add__scalar(const float *a, const float *b, uint32_t n, float *y) { return tn_ref_add(a, b, n, y); }
