// What the two kinds of merging share: the heap of merges that wait, and the list of tokens that come out.
#ifndef TN_MODEL_MERGE_H
#define TN_MODEL_MERGE_H

#include "base/status.h"

#include <stdint.h>

#define TN_MERGE_NO_RANK UINT32_MAX

// A growing list of token ids. Zero-initialise; free `ids` with tn_free.
typedef struct tn_id_list {
    int32_t *ids;
    size_t n, capacity;
} tn_id_list;

// Appends ids.  Errors: OUT_OF_MEMORY.
tn_status tn_id_list_append(tn_id_list *list, const int32_t *ids, size_t n);

// Entries are rank << 32 | index of the left symbol, so that the smallest is the leftmost of the lowest rank. Symbols stand at the
// index of their first byte. An entry whose rank is no longer that of its symbol is stale, and whoever pops it drops it.
// Zero-initialise; one thread.
typedef struct tn_merge_heap {
    uint64_t *entries;
    size_t n, capacity;
    uint64_t n_pops; // over all words: the work done, for tests
} tn_merge_heap;

// Empties the heap and makes room for all that a word of `len` bytes can need: at most len - 1 entries at first, and each of at
// most len - 1 merges takes one out and puts two in.  Errors: OUT_OF_MEMORY.
tn_status tn_merge_heap_start(tn_merge_heap *heap, size_t len);
void tn_merge_heap_deinit(tn_merge_heap *heap);
// Adds an entry without keeping order; tn_merge_heap_order makes it when all first entries are there.
static inline void tn_merge_heap_add(tn_merge_heap *heap, uint32_t rank, uint32_t at)
{
    heap->entries[heap->n++] = (uint64_t)rank << 32 | at;
}
void tn_merge_heap_order(tn_merge_heap *heap);
void tn_merge_heap_push(tn_merge_heap *heap, uint32_t rank, uint32_t at);
// False where the heap is empty.
bool tn_merge_heap_pop(tn_merge_heap *heap, uint32_t *out_rank, uint32_t *out_at);

#endif
