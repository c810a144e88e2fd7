// The index of prefixes: a hash table of whole pages, and the list of those that nobody holds, oldest first.
#include "runtime/kv_prefix.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "graph/op.h"

#include <string.h>

enum { PAGE_TOKENS_BYTES = TN_KV_PAGE_POSITIONS * sizeof(int32_t) };

static int32_t *tokens_of(const tn_kv_cache *cache, uint32_t page) { return cache->prefix.tokens + (size_t)page * TN_KV_PAGE_POSITIONS; }

static uint32_t *bucket_of(const tn_kv_cache *cache, uint64_t parent, const int32_t *tokens)
{
    const uint64_t hash = tn_hash(tokens, PAGE_TOKENS_BYTES) + parent * 0x9E3779B97F4A7C15u;
    return &cache->prefix.buckets[(hash ^ hash >> 32) & (cache->prefix.n_buckets - 1)];
}

tn_status tn_kv_prefix_init(tn_kv_cache *cache, uint32_t n_kept_max)
{
    tn_kv_prefix *prefix = &cache->prefix;
    *prefix = (tn_kv_prefix){.n_buckets = 16, .n_kept_max = n_kept_max, .oldest = TN_KV_NO_PAGE, .newest = TN_KV_NO_PAGE};
    while (prefix->n_buckets < cache->n_pages && prefix->n_buckets < (1u << 30)) prefix->n_buckets *= 2;
    tn_status status;
    TN_TRY_GOTO(tn_alloc(cache->n_pages, PAGE_TOKENS_BYTES, &prefix->tokens));
    TN_TRY_GOTO(tn_alloc(prefix->n_buckets, sizeof *prefix->buckets, &prefix->buckets));
    for (uint32_t i = 0; i < prefix->n_buckets; i++) prefix->buckets[i] = TN_KV_NO_PAGE;
    return TN_OK;
fail:
    tn_kv_prefix_deinit(cache);
    return status;
}

void tn_kv_prefix_deinit(tn_kv_cache *cache)
{
    tn_kv_prefix *prefix = &cache->prefix;
    for (uint32_t i = 0; prefix->buckets && i < cache->n_pages; i++) {
        const bool kept = cache->pages[i].serial && cache->pages[i].n_refs == 0;
        cache->pages[i].serial = 0;
        if (kept) cache->free_pages[cache->n_free++] = i;
    }
    cache->n_kept = 0;
    tn_free(prefix->tokens);
    tn_free(prefix->buckets);
    *prefix = (tn_kv_prefix){0};
}

uint32_t tn_kv_prefix_find(const tn_kv_cache *cache, uint64_t parent, const int32_t *tokens)
{
    if (!cache->prefix.buckets) return TN_KV_NO_PAGE;
    uint32_t page = *bucket_of(cache, parent, tokens);
    while (page != TN_KV_NO_PAGE && (cache->pages[page].parent != parent || memcmp(tokens_of(cache, page), tokens, PAGE_TOKENS_BYTES) != 0))
        page = cache->pages[page].next_in_bucket;
    return page;
}

void tn_kv_prefix_seal(tn_kv_cache *cache, uint32_t seq, uint32_t index, const int32_t *tokens)
{
    uint32_t *table = cache->page_table + (size_t)seq * cache->n_seq_pages;
    const uint32_t own = table[index];
    const uint64_t parent = index ? cache->pages[table[index - 1]].serial : 0;
    if (!cache->prefix.buckets || cache->pages[own].serial || (index && !parent)) return;
    const uint32_t equal = tn_kv_prefix_find(cache, parent, tokens);
    if (equal != TN_KV_NO_PAGE) {
        tn_kv_cache_retain(cache, equal);
        table[index] = equal;
        tn_kv_cache_release(cache, own);
        return;
    }
    uint32_t *bucket = bucket_of(cache, parent, tokens);
    tn_kv_page *page = &cache->pages[own];
    memcpy(tokens_of(cache, own), tokens, PAGE_TOKENS_BYTES);
    page->serial = ++cache->prefix.n_serials;
    page->parent = parent;
    page->next_in_bucket = *bucket;
    *bucket = own;
}

void tn_kv_prefix_forget(tn_kv_cache *cache, uint32_t page)
{
    uint32_t *link = bucket_of(cache, cache->pages[page].parent, tokens_of(cache, page));
    while (*link != page) link = &cache->pages[*link].next_in_bucket;
    *link = cache->pages[page].next_in_bucket;
    cache->pages[page].serial = 0;
}

void tn_kv_prefix_unkeep(tn_kv_cache *cache, uint32_t page)
{
    const tn_kv_page *p = &cache->pages[page];
    *(p->older == TN_KV_NO_PAGE ? &cache->prefix.oldest : &cache->pages[p->older].newer) = p->newer;
    *(p->newer == TN_KV_NO_PAGE ? &cache->prefix.newest : &cache->pages[p->newer].older) = p->older;
    cache->n_kept--;
}

void tn_kv_prefix_keep(tn_kv_cache *cache, uint32_t page)
{
    tn_kv_prefix *prefix = &cache->prefix;
    tn_kv_page *p = &cache->pages[page];
    p->older = prefix->newest;
    p->newer = TN_KV_NO_PAGE;
    *(p->older == TN_KV_NO_PAGE ? &prefix->oldest : &cache->pages[p->older].newer) = page;
    prefix->newest = page;
    cache->n_kept++;
    if (cache->n_kept <= prefix->n_kept_max) return;
    const uint32_t oldest = prefix->oldest;
    tn_kv_prefix_unkeep(cache, oldest);
    tn_kv_prefix_forget(cache, oldest);
    cache->free_pages[cache->n_free++] = oldest;
}
