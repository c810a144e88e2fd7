// Eight rows of a panel as lanes: the vocabulary of tmpl/matmul_q8_0.h and tmpl/matmul_q6_k.h for AVX2 and AVX-VNNI.
#ifndef TN_CPU_X86_ROWS_AVX2_H
#define TN_CPU_X86_ROWS_AVX2_H

#include "cpu/x86/matmul_avx2.h"

enum { TN_Q8_ROWS = 8, TN_Q8_VECS = 2, TN_Q8_TOKENS = 4 };

typedef __m256 tn_rows_f;
typedef __m256i tn_rows_i;

TN_K_INLINE tn_rows_f tn_rows_zero(void) { return _mm256_setzero_ps(); }
TN_K_INLINE tn_rows_f tn_rows_set1(float x) { return _mm256_set1_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_load(const float *p) { return _mm256_loadu_ps(p); }
TN_K_INLINE tn_rows_f tn_rows_add(tn_rows_f x, tn_rows_f y) { return _mm256_add_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_mul(tn_rows_f x, tn_rows_f y) { return _mm256_mul_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_to_f32(tn_rows_i x) { return _mm256_cvtepi32_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_fl(tn_rows_f x) { return tn_fl_ps256(x); }
TN_K_INLINE void tn_rows_store(float *y, uint32_t n, tn_rows_f x, uint32_t *absmax) { tn_store_ps256(y, n, x, absmax); }

#endif
