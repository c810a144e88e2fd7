// Which page of the KV buffers holds which positions of which sequence. Only numbers: the bytes belong to the devices.
//
// A page is free, held (by sequences and by others that retain it), or kept: held by nobody, but its content is known to the index of
// prefixes (kv_prefix.h), so that a later sequence may begin with it. Kept pages are taken again, oldest first, where no free one is left.
// A page that others need too, or that the index knows, is never written: who would write into it gets a copy first.
#ifndef TN_RUNTIME_KV_CACHE_H
#define TN_RUNTIME_KV_CACHE_H

#include "runtime/token_log.h"

#define TN_KV_NO_PAGE UINT32_MAX

typedef struct tn_kv_page {
    uint32_t n_refs;
    uint32_t older, newer;   // neighbours in the list of kept pages
    uint32_t next_in_bucket; // of the index
    uint64_t serial;         // 0: the index does not know it; else unlike that of any content before
    uint64_t parent;         // serial of the page before it; 0: it begins a sequence
} tn_kv_page;

// The bytes of a page that go to another one before the next step writes anything.
typedef struct tn_kv_copy {
    uint32_t from, to;
    uint32_t length; // of the sequence that goes on in the copy: what stands behind it in the page does not matter
    uint32_t taker;  // the step in flight that makes it; TN_KV_NOT_TAKEN: the next one has to
} tn_kv_copy;
#define TN_KV_NOT_TAKEN UINT32_MAX

// The index of prefixes: contents of whole pages by the tokens that made them.
typedef struct tn_kv_prefix {
    uint32_t *buckets;       // [n_buckets] first page of each; NULL: there is no index
    uint32_t n_buckets;      // a power of two
    int32_t *tokens;         // [n_pages][TN_KV_PAGE_POSITIONS]
    uint64_t n_serials;      // given out
    uint32_t n_kept_max;     // pages
    uint32_t oldest, newest; // ends of the list of kept pages
} tn_kv_prefix;

// One thread at a time.
typedef struct tn_kv_cache {
    uint32_t n_seqs, n_seq_pages; // pages a sequence may have
    uint32_t n_pages, n_free, n_kept;
    uint32_t *free_pages; // stack
    tn_kv_page *pages;    // [n_pages]
    uint32_t *page_table; // [n_seqs][n_seq_pages]
    uint32_t *n_held;     // [n_seqs] pages of each
    uint32_t *lengths;    // [n_seqs] positions in use
    tn_kv_copy *copies;   // [n_seqs] that are not made yet, one a sequence at most; sources are held until they are
    uint32_t n_copies;
    uint64_t n_copied; // that were made, of all time
    tn_kv_prefix prefix;
    tn_token_log log; // of all pages that are held; who sets a length tells it the tokens
} tn_kv_cache;

uint32_t tn_kv_pages_for(uint32_t length); // pages that so many positions take

// n_pages pages for n_seqs sequences of at most n_ctx positions each; 0 pages: as many as these take when all are full.
// Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (too many pages).
tn_status tn_kv_cache_init(tn_kv_cache *cache, uint32_t n_seqs, uint32_t n_ctx, uint32_t n_pages);
void tn_kv_cache_deinit(tn_kv_cache *cache);

// Pages that can be had now.
static inline uint32_t tn_kv_cache_available(const tn_kv_cache *cache) { return cache->n_free + cache->n_kept; }
// Pages that must be available for tn_kv_cache_reserve.
uint32_t tn_kv_cache_needed(const tn_kv_cache *cache, uint32_t seq, uint32_t length);
// Makes sure that positions from the sequence's length up to `length` can be written; its length stays. Where they begin in a page that may
// not be written, a copy takes its place (`copies`); where no page is left for that and nobody else holds it, the index forgets it. Errors:
// LIMIT.
tn_status tn_kv_cache_reserve(tn_kv_cache *cache, uint32_t seq, uint32_t length);
// A step, by any number that no other step in flight has, makes all copies that are not taken: writes them as (from, to) into `words`,
// which has room for n_seqs, and returns how many. Steps that begin later find the copies made, but hold to their sources while one may yet
// fail.
uint32_t tn_kv_cache_copies_take(tn_kv_cache *cache, uint32_t taker, uint32_t *words);
// That step has made its copies; or it has failed, and the next one has to make those that are still wanted.
void tn_kv_cache_copies_made(tn_kv_cache *cache, uint32_t taker);
void tn_kv_cache_copies_return(tn_kv_cache *cache, uint32_t taker);
// Sets the length of `seq` and gives back the pages that it no longer needs.
void tn_kv_cache_set_length(tn_kv_cache *cache, uint32_t seq, uint32_t length);
// Lets `seq`, whose length must end a page, go on with `n` pages that others hold or that are kept, up to `length` positions.
void tn_kv_cache_attach(tn_kv_cache *cache, uint32_t seq, const uint32_t *pages, uint32_t n, uint32_t length);
// Holding a page beside sequences.
void tn_kv_cache_retain(tn_kv_cache *cache, uint32_t page);
void tn_kv_cache_release(tn_kv_cache *cache, uint32_t page);

#endif
