// Pages of the KV cache: a stack of free ones and a table for each sequence.
#include "runtime/kv_cache.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "graph/op.h"

static uint32_t pages_for(uint32_t length) { return length / TN_KV_PAGE_POSITIONS + (length % TN_KV_PAGE_POSITIONS != 0); }

tn_status tn_kv_cache_init(tn_kv_cache *cache, uint32_t n_seqs, uint32_t n_ctx)
{
    *cache = (tn_kv_cache){.n_seqs = n_seqs, .n_seq_pages = pages_for(n_ctx)};
    uint64_t n_pages;
    if (!tn_ckd_mul(n_seqs, cache->n_seq_pages, &n_pages) || n_pages > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences of %u positions are too many for one KV cache", (unsigned)n_seqs,
                       (unsigned)n_ctx);
    cache->n_pages = (uint32_t)n_pages;
    cache->n_free = cache->n_pages;
    tn_status status;
    TN_TRY_GOTO(tn_alloc(cache->n_pages, sizeof *cache->free_pages, &cache->free_pages));
    TN_TRY_GOTO(tn_alloc_zero(cache->n_pages, sizeof *cache->page_table, &cache->page_table));
    TN_TRY_GOTO(tn_alloc_zero(n_seqs, sizeof *cache->n_held, &cache->n_held));
    TN_TRY_GOTO(tn_alloc_zero(n_seqs, sizeof *cache->lengths, &cache->lengths));
    for (uint32_t i = 0; i < cache->n_pages; i++) cache->free_pages[i] = cache->n_pages - 1 - i; // page 0 is handed out first
    return TN_OK;
fail:
    tn_kv_cache_deinit(cache);
    return status;
}

void tn_kv_cache_deinit(tn_kv_cache *cache)
{
    tn_free(cache->free_pages);
    tn_free(cache->page_table);
    tn_free(cache->n_held);
    tn_free(cache->lengths);
    *cache = (tn_kv_cache){0};
}

tn_status tn_kv_cache_reserve(tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    uint32_t need = pages_for(length);
    if (need > cache->n_seq_pages || need > cache->n_held[seq] + cache->n_free)
        return tn_fail(TN_LIMIT, "the KV cache has no room for %u positions of sequence %u", (unsigned)length, (unsigned)seq);
    uint32_t *table = cache->page_table + (size_t)seq * cache->n_seq_pages;
    while (cache->n_held[seq] < need) table[cache->n_held[seq]++] = cache->free_pages[--cache->n_free];
    return TN_OK;
}

void tn_kv_cache_set_length(tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    uint32_t *table = cache->page_table + (size_t)seq * cache->n_seq_pages;
    cache->lengths[seq] = length;
    while (cache->n_held[seq] > pages_for(length)) cache->free_pages[cache->n_free++] = table[--cache->n_held[seq]];
}
