// Rows of Q6_K blocks to a panel of layout Q6_16 (kernel.h).
#ifndef TN_CPU_PACK_Q6_K_H
#define TN_CPU_PACK_Q6_K_H

#include <stddef.h>
#include <stdint.h>

#define TN_Q6_K_ELEMENTS 256u

// rows (1 to 16) of n_cols elements (whole blocks) as in a file, row_bytes apart, to one panel, padding rows included.
void tn_cpu_pack_q6_k(const uint8_t *src, size_t row_bytes, uint32_t rows, uint32_t n_cols, uint8_t *panel);

#endif
