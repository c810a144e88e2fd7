// Packing a whole weight for a GPU: on several threads, in bands of about a megabyte, each handed on when it is made, so that no second
// copy of the weight is ever in memory.
#ifndef TN_BACKEND_PACK_BANDS_H
#define TN_BACKEND_PACK_BANDS_H

#include "graph/op.h"

typedef struct tn_pack_bands {
    const tn_weight_source *source;
    uint32_t n_groups, group_rows;           // rows are packed in groups
    uint64_t group_bytes, group_scale_bytes; // of a packed group, and of its scales, 0: it has none of its own
    uint64_t scales_at;                      // byte of the packed weight where the scales begin
    uint64_t scratch_bytes;                  // that `pack` needs
    // Packs groups [first, first + n): `scratch` and `dst` aligned to 64.   Threads: any, on different memory.
    tn_status (*pack)(void *ctx, uint32_t first, uint32_t n, void *scratch, uint8_t *dst, uint8_t *dst_scales);
    // Takes packed bytes that belong at byte `at` of the weight. One call at a time, in any order, from any thread.
    tn_status (*sink)(void *ctx, uint64_t at, const void *bytes, uint64_t n_bytes);
    void *ctx;
} tn_pack_bands;

// Packs on up to n_threads threads (0: as many as there are processors; small weights on the caller's alone). Rows are released behind each
// band.  Errors: those of `pack` and `sink`, of the first band that failed; OUT_OF_MEMORY; BAD_FILE (sizes overflow).
tn_status tn_pack_bands_run(const tn_pack_bands *bands, uint32_t n_threads);

#endif
