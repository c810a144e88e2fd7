// A binary heap in an array, and lists of ids.
#include "model/merge.h"

#include "base/alloc.h"

#include <string.h>

tn_status tn_id_list_append(tn_id_list *list, const int32_t *ids, size_t n)
{
    TN_TRY(tn_grow(&list->ids, &list->capacity, list->n + n, sizeof *ids));
    memcpy(list->ids + list->n, ids, n * sizeof *ids);
    list->n += n;
    return TN_OK;
}

tn_status tn_merge_heap_start(tn_merge_heap *heap, size_t len)
{
    heap->n = 0;
    return tn_grow(&heap->entries, &heap->capacity, 2 * len, sizeof *heap->entries);
}

void tn_merge_heap_deinit(tn_merge_heap *heap)
{
    tn_free(heap->entries);
    memset(heap, 0, sizeof *heap);
}

static void sift_down(uint64_t *entries, size_t n, size_t at)
{
    uint64_t entry = entries[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && entries[child + 1] < entries[child]) child++;
        if (entries[child] >= entry) break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = entry;
}

void tn_merge_heap_order(tn_merge_heap *heap)
{
    for (size_t i = heap->n / 2; i-- > 0;) sift_down(heap->entries, heap->n, i);
}

void tn_merge_heap_push(tn_merge_heap *heap, uint32_t rank, uint32_t at)
{
    uint64_t entry = (uint64_t)rank << 32 | at;
    size_t i = heap->n++;
    while (i > 0 && heap->entries[(i - 1) / 2] > entry) {
        heap->entries[i] = heap->entries[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap->entries[i] = entry;
}

bool tn_merge_heap_pop(tn_merge_heap *heap, uint32_t *out_rank, uint32_t *out_at)
{
    if (heap->n == 0) return false;
    uint64_t top = heap->entries[0];
    heap->entries[0] = heap->entries[--heap->n];
    if (heap->n > 0) sift_down(heap->entries, heap->n, 0);
    heap->n_pops++;
    *out_rank = (uint32_t)(top >> 32);
    *out_at = (uint32_t)top;
    return true;
}
