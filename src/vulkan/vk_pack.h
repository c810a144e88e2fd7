// Layouts of packed weights on Vulkan devices, and making them.
//
// Rows come in groups of 16 whose 16-byte units lie side by side, so that neighbouring lanes, which work on neighbouring rows, read
// neighbouring units. n rows are padded to whole groups, with zeros.
//
// TERNARY  codes w + 1 in 2 bits. A unit is 64 columns (a chunk) of a row; unit (g, c, r) of row group g, chunk c, row r of the group is
//          number (g * n_chunks + c) * 16 + r. In a unit, bit pair i of byte j of word s is column 64c + 16s + 4i + j. Columns beyond the
//          matrix have code 1 (their activations are 0). Then the scales: f32, one, or one a row (padded to whole groups).
// DENSE    F32, F16, BF16: units of 4, 8, 8 elements as they are, with FL; a row is padded to a multiple of 32 elements.
//          Types without shaders of their own are dequantised to F32.
//          Q8_0: of 256 elements 16 units of 16 int8 codes, then a unit of 8 f16 scales. Q4_0: 8 units of codes 0..15 (a unit is 32
//          columns: nibble i of byte j of word s is column 32u + 8s + 4i + j), then a unit of 8 f16 scales. Q6_K: 8 units of the codes' low
//          4 bits as in Q4_0, 4 units of their high 2 bits (bit pair i of byte j of word s is column 64u + 16s + 4i + j), a unit of the 16
//          int8 factors; after all units of all rows the f32 scales: scale of block b of row r is word (g * n_blocks + b) * 16 + r.
//          Rows are padded to whole blocks of 256 elements with zero scales.
//          A weight of one row (gains) lies alone: groups of 1 instead of 16.
// TABLE    f32 as it is.
#ifndef TN_VULKAN_VK_PACK_H
#define TN_VULKAN_VK_PACK_H

#include "vulkan/vk_device.h"

typedef enum tn_vk_layout {
    TN_VK_LAYOUT_TERNARY,
    TN_VK_LAYOUT_F32,
    TN_VK_LAYOUT_F16,
    TN_VK_LAYOUT_BF16,
    TN_VK_LAYOUT_Q8_0,
    TN_VK_LAYOUT_Q4_0,
    TN_VK_LAYOUT_Q6_K,
    TN_VK_LAYOUT_TABLE
} tn_vk_layout;

// Where the parts of a packed weight lie, in words from its start.
typedef struct tn_vk_weight_shape {
    tn_vk_layout layout;
    uint32_t n_rows, n_cols;
    uint32_t interleave;   // 16, or 1
    uint32_t n_units;      // of 16 bytes, of a row
    uint32_t n_blocks;     // Q6_K: of 256 columns, of a row
    uint64_t group_words;  // of one row group's units; TABLE: n_cols
    uint64_t scales_at;    // TERNARY, Q6_K: first word of the scales
    uint64_t scale_words;  // of one row group's scales; 0 where it has none of its own
    uint64_t n_words;      // of all, a multiple of 4 (whole units); what no row fills at the end is 0
    uint64_t padded_bytes; // that packing needs behind a group's rows: a row in whole units
    uint32_t n_groups;     // of rows
} tn_vk_weight_shape;

// Errors: UNSUPPORTED (a type that has no form here), BAD_FILE (empty, rows that are no whole blocks, larger than any memory).
tn_status tn_vk_weight_shape_of(const tn_weight_source *source, tn_vk_weight_shape *out_shape);

// Packs row groups [first_group, first_group + n_groups): their units into dst, group_words each, then their scales, scale_words each.
// `scratch`: of tn_pack_scratch_of, aligned to 64.   Threads: any, on different scratch and dst.   Errors: those of read_rows.
tn_status tn_vk_pack_rows(const tn_vk_weight_shape *shape, const tn_weight_source *source, uint32_t first_group, uint32_t n_groups,
                          void *scratch, uint32_t *dst);

// Takes n_words packed words that belong at word `at` of the weight. One call at a time, in any order, from any thread.
typedef tn_status tn_vk_pack_sink(void *ctx, uint64_t at, const uint32_t *words, uint64_t n_words);
// Packs a whole weight on up to n_threads threads (0: as many as there are processors; small weights on the caller's alone) and hands it,
// in bands of about a megabyte, to the sink: every word once. Rows are released behind each band.
// Errors: those of read_rows and the sink, of the first band that failed; OUT_OF_MEMORY.
tn_status tn_vk_pack_all(const tn_vk_weight_shape *shape, const tn_weight_source *source, uint32_t n_threads, tn_vk_pack_sink *sink,
                         void *ctx);

// The backend table's functions.
tn_status tn_vk_weight_layout(tn_device *device, const tn_weight_source *source, tn_weight_layout *out_layout);
tn_status tn_vk_weight_pack(tn_device *device, const tn_weight_source *source, tn_buffer *buffer, uint64_t offset_bytes);

#endif
