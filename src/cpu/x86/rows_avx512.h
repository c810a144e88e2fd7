// Sixteen rows of a panel as lanes: the vocabulary of tmpl/matmul_q6_k.h and tmpl/matmul_q8_0.h for the levels with 512-bit vectors.
#ifndef TN_CPU_X86_ROWS_AVX512_H
#define TN_CPU_X86_ROWS_AVX512_H

#include "cpu/x86/matmul_avx512.h"

typedef __m512 tn_rows_f;
typedef __m512i tn_rows_i;

TN_K_INLINE tn_rows_f tn_rows_zero(void) { return _mm512_setzero_ps(); }
TN_K_INLINE tn_rows_f tn_rows_set1(float x) { return _mm512_set1_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_load(const float *p) { return _mm512_loadu_ps(p); }
TN_K_INLINE tn_rows_f tn_rows_add(tn_rows_f x, tn_rows_f y) { return _mm512_add_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_mul(tn_rows_f x, tn_rows_f y) { return _mm512_mul_ps(x, y); }
TN_K_INLINE tn_rows_f tn_rows_to_f32(tn_rows_i x) { return _mm512_cvtepi32_ps(x); }
TN_K_INLINE tn_rows_f tn_rows_fl(tn_rows_f x) { return tn_fl_ps512(x); }
TN_K_INLINE void tn_rows_store(float *y, uint32_t n, tn_rows_f x, uint32_t *absmax) { tn_store_ps512(y, tn_first16(n), x, absmax); }

#endif
