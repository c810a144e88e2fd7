// Pages of the KV cache: a stack of free ones, a table for each sequence, and copies where a shared page would be written.
#include "runtime/kv_cache.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "graph/op.h"
#include "runtime/kv_prefix.h"

uint32_t tn_kv_pages_for(uint32_t length) { return length / TN_KV_PAGE_POSITIONS + (length % TN_KV_PAGE_POSITIONS != 0); }

static uint32_t *table_of(const tn_kv_cache *cache, uint32_t seq) { return cache->page_table + (size_t)seq * cache->n_seq_pages; }

tn_status tn_kv_cache_init(tn_kv_cache *cache, uint32_t n_seqs, uint32_t n_ctx, uint32_t n_pages)
{
    *cache = (tn_kv_cache){.n_seqs = n_seqs, .n_seq_pages = tn_kv_pages_for(n_ctx)};
    uint64_t n_full;
    if (!tn_ckd_mul(n_seqs, cache->n_seq_pages, &n_full) || n_full > INT32_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u sequences of %u positions are too many for one KV cache", (unsigned)n_seqs,
                       (unsigned)n_ctx);
    cache->n_pages = n_pages && n_pages < n_full ? n_pages : (uint32_t)n_full;
    cache->n_free = cache->n_pages;
    tn_status status;
    TN_TRY_GOTO(tn_alloc(cache->n_pages, sizeof *cache->free_pages, &cache->free_pages));
    TN_TRY_GOTO(tn_alloc_zero(cache->n_pages, sizeof *cache->pages, &cache->pages));
    TN_TRY_GOTO(tn_alloc_zero((size_t)n_full, sizeof *cache->page_table, &cache->page_table));
    TN_TRY_GOTO(tn_alloc_zero(n_seqs, sizeof *cache->n_held, &cache->n_held));
    TN_TRY_GOTO(tn_alloc_zero(n_seqs, sizeof *cache->lengths, &cache->lengths));
    TN_TRY_GOTO(tn_alloc_zero(n_seqs, sizeof *cache->copies, &cache->copies));
    TN_TRY_GOTO(tn_token_log_init(&cache->log, cache->n_pages));
    for (uint32_t i = 0; i < cache->n_pages; i++) cache->free_pages[i] = cache->n_pages - 1 - i; // page 0 is handed out first
    return TN_OK;
fail:
    tn_kv_cache_deinit(cache);
    return status;
}

void tn_kv_cache_deinit(tn_kv_cache *cache)
{
    tn_kv_prefix_deinit(cache);
    tn_free(cache->free_pages);
    tn_free(cache->pages);
    tn_free(cache->page_table);
    tn_free(cache->n_held);
    tn_free(cache->lengths);
    tn_free(cache->copies);
    tn_token_log_deinit(&cache->log);
    *cache = (tn_kv_cache){0};
}

// A page that is nobody's, held once from now on; one must be available.
static uint32_t take_page(tn_kv_cache *cache)
{
    uint32_t page;
    if (cache->n_free) {
        page = cache->free_pages[--cache->n_free];
    } else {
        page = cache->prefix.oldest;
        tn_kv_prefix_unkeep(cache, page);
        tn_kv_prefix_forget(cache, page);
    }
    cache->pages[page].n_refs = 1;
    return page;
}

void tn_kv_cache_retain(tn_kv_cache *cache, uint32_t page)
{
    if (cache->pages[page].n_refs++ == 0) tn_kv_prefix_unkeep(cache, page);
}

// A page that nobody holds any more needs no copy.
static void drop_copy(tn_kv_cache *cache, uint32_t page)
{
    for (uint32_t i = 0; i < cache->n_copies; i++) {
        if (cache->copies[i].to != page) continue;
        const uint32_t from = cache->copies[i].from;
        cache->copies[i] = cache->copies[--cache->n_copies];
        tn_kv_cache_release(cache, from);
        return;
    }
}

void tn_kv_cache_release(tn_kv_cache *cache, uint32_t page)
{
    if (--cache->pages[page].n_refs) return;
    drop_copy(cache, page);
    if (cache->pages[page].serial)
        tn_kv_prefix_keep(cache, page);
    else
        cache->free_pages[cache->n_free++] = page;
}

// The page that the sequence's next position lies in, where it has one.
static uint32_t *next_page(const tn_kv_cache *cache, uint32_t seq)
{
    const uint32_t index = cache->lengths[seq] / TN_KV_PAGE_POSITIONS;
    return index < cache->n_held[seq] ? &table_of(cache, seq)[index] : NULL;
}

// Whether others need what the sequence's next position would overwrite in the page. A copy that is still to be made holds its page, but is
// made before the sequence writes (by the same step, or one in flight, behind which the sequence's comes); it is no reason for another copy
// where the sequence writes behind all that it needs, so that it may be made once more after a step that failed.
static bool is_shared(const tn_kv_cache *cache, uint32_t seq, uint32_t page)
{
    uint32_t n_refs = cache->pages[page].n_refs;
    for (uint32_t i = 0; i < cache->n_copies; i++) {
        if (cache->copies[i].from == page && cache->copies[i].length <= cache->lengths[seq]) n_refs--;
    }
    return n_refs > 1;
}

// Whether the page of the sequence's next position is one that it may not write.
static bool needs_copy(const tn_kv_cache *cache, uint32_t seq)
{
    const uint32_t *page = next_page(cache, seq);
    return page && (cache->pages[*page].serial || is_shared(cache, seq, *page));
}

static uint32_t pages_to_come(const tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    const uint32_t pages = tn_kv_pages_for(length);
    return pages > cache->n_held[seq] ? pages - cache->n_held[seq] : 0;
}

uint32_t tn_kv_cache_needed(const tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    const bool copies = length > cache->lengths[seq] && next_page(cache, seq) && is_shared(cache, seq, *next_page(cache, seq));
    return pages_to_come(cache, seq, length) + (copies ? 1 : 0);
}

// Where the bytes of a page are now: a page that waits for its copy has none of its own yet.
static uint32_t source_of(const tn_kv_cache *cache, uint32_t page)
{
    for (uint32_t i = 0; i < cache->n_copies; i++) {
        if (cache->copies[i].to == page) return cache->copies[i].from;
    }
    return page;
}

// Puts a copy in place of the page that the sequence's next position lies in. There is one a sequence at most before a step, since its
// last page alone can wait for a copy.
static void copy_page(tn_kv_cache *cache, uint32_t seq)
{
    uint32_t *page = next_page(cache, seq);
    const uint32_t old = *page;
    const tn_kv_copy copy = {source_of(cache, old), take_page(cache), cache->lengths[seq], TN_KV_NOT_TAKEN};
    *page = copy.to;
    tn_token_log_copy(&cache->log, old, copy.to, copy.length % TN_KV_PAGE_POSITIONS);
    cache->copies[cache->n_copies++] = copy; // it holds its source, in place of the sequence
    if (copy.from == old) return;
    tn_kv_cache_retain(cache, copy.from);
    tn_kv_cache_release(cache, old);
}

// A copy that a step in flight makes, though that has no position of the sequence behind it, is made by the sequence's own step once more:
// the other one may fail, and what the sequence writes into the page must not be copied over after that.
static void retake_copy(tn_kv_cache *cache, uint32_t seq)
{
    const uint32_t *page = next_page(cache, seq);
    for (uint32_t i = 0; page && i < cache->n_copies; i++) {
        tn_kv_copy *copy = &cache->copies[i];
        if (copy->to == *page && cache->lengths[seq] <= copy->length) copy->taker = TN_KV_NOT_TAKEN;
    }
}

tn_status tn_kv_cache_reserve(tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    const uint32_t n_new = pages_to_come(cache, seq, length), n_available = tn_kv_cache_available(cache);
    bool copies = length > cache->lengths[seq] && needs_copy(cache, seq);
    if (tn_kv_pages_for(length) > cache->n_seq_pages || tn_kv_cache_needed(cache, seq, length) > n_available)
        return tn_fail(TN_LIMIT, "the KV cache has no room for %u positions of sequence %u: shorten it, end others, or give the cache more",
                       (unsigned)length, (unsigned)seq);
    if (copies && n_new + 1 > n_available) { // nobody else holds the page, so it can be written if the index forgets it
        tn_kv_prefix_forget(cache, *next_page(cache, seq));
        copies = false;
    }
    if (copies) copy_page(cache, seq);
    retake_copy(cache, seq);
    while (cache->n_held[seq] < tn_kv_pages_for(length)) table_of(cache, seq)[cache->n_held[seq]++] = take_page(cache);
    return TN_OK;
}

uint32_t tn_kv_cache_copies_take(tn_kv_cache *cache, uint32_t taker, uint32_t *words)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < cache->n_copies; i++) {
        tn_kv_copy *copy = &cache->copies[i];
        if (copy->taker != TN_KV_NOT_TAKEN) continue;
        copy->taker = taker;
        words[2 * n] = copy->from;
        words[2 * n + 1] = copy->to;
        n++;
    }
    return n;
}

void tn_kv_cache_copies_made(tn_kv_cache *cache, uint32_t taker)
{
    for (uint32_t i = cache->n_copies; i-- > 0;) {
        if (cache->copies[i].taker != taker) continue;
        const uint32_t from = cache->copies[i].from;
        cache->copies[i] = cache->copies[--cache->n_copies];
        cache->n_copied++;
        tn_kv_cache_release(cache, from);
    }
}

void tn_kv_cache_copies_return(tn_kv_cache *cache, uint32_t taker)
{
    for (uint32_t i = 0; i < cache->n_copies; i++) {
        if (cache->copies[i].taker == taker) cache->copies[i].taker = TN_KV_NOT_TAKEN;
    }
}

void tn_kv_cache_set_length(tn_kv_cache *cache, uint32_t seq, uint32_t length)
{
    const uint32_t *table = table_of(cache, seq);
    cache->lengths[seq] = length;
    while (cache->n_held[seq] > tn_kv_pages_for(length)) tn_kv_cache_release(cache, table[--cache->n_held[seq]]);
}

void tn_kv_cache_attach(tn_kv_cache *cache, uint32_t seq, const uint32_t *pages, uint32_t n, uint32_t length)
{
    uint32_t *table = table_of(cache, seq);
    for (uint32_t i = 0; i < n; i++) {
        tn_kv_cache_retain(cache, pages[i]);
        table[cache->n_held[seq]++] = pages[i];
    }
    cache->lengths[seq] = length;
}
