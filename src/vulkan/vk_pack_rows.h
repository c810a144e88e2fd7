// Single rows to units: what vk_pack.c does for each row of a group.
#ifndef TN_VULKAN_VK_PACK_ROWS_H
#define TN_VULKAN_VK_PACK_ROWS_H

#include "vulkan/vk_pack.h"

// Where the units of a row go: unit u to dst + u * step words.
typedef struct tn_vk_unit_row {
    uint32_t *dst;
    size_t step;
} tn_vk_unit_row;

static inline void tn_vk_unit_store(const tn_vk_unit_row *row, size_t unit, const void *bytes)
{
    __builtin_memcpy(row->dst + unit * row->step, bytes, 16);
}

enum { TN_VK_BLOCK_COLS = 256, TN_VK_Q8_0_UNITS = 17, TN_VK_Q4_0_UNITS = 9, TN_VK_Q6_K_UNITS = 13 };

// n_cols values -1, 0, +1.
void tn_vk_pack_ternary(const int8_t *values, uint32_t n_cols, const tn_vk_unit_row *row);
// Rows of blocks as in a file; n_cols a multiple of the type's block.
void tn_vk_pack_q8_0(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row);
void tn_vk_pack_q4_0(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row);
// Scale of block b to scales[b * scale_step].
void tn_vk_pack_q6_k(const uint8_t *src, uint32_t n_cols, const tn_vk_unit_row *row, uint32_t *scales, size_t scale_step);

#endif
