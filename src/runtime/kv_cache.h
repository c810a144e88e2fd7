// Which page of the KV buffers holds which positions of which sequence. Only numbers: the bytes belong to the devices.
#ifndef TN_RUNTIME_KV_CACHE_H
#define TN_RUNTIME_KV_CACHE_H

#include "base/status.h"

// One thread at a time.
typedef struct tn_kv_cache {
    uint32_t n_seqs, n_seq_pages; // pages a sequence may have
    uint32_t n_pages, n_free;
    uint32_t *free_pages; // stack
    uint32_t *page_table; // [n_seqs][n_seq_pages]
    uint32_t *n_held;     // [n_seqs] pages of each
    uint32_t *lengths;    // [n_seqs] positions in use
} tn_kv_cache;

// Room for n_seqs sequences of n_ctx positions each.  Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (too many pages).
tn_status tn_kv_cache_init(tn_kv_cache *cache, uint32_t n_seqs, uint32_t n_ctx);
void tn_kv_cache_deinit(tn_kv_cache *cache);
// Makes sure that pages exist for `length` positions of `seq`; its length stays.  Errors: LIMIT.
tn_status tn_kv_cache_reserve(tn_kv_cache *cache, uint32_t seq, uint32_t length);
// Sets the length of `seq` and gives back the pages that it no longer needs.
void tn_kv_cache_set_length(tn_kv_cache *cache, uint32_t seq, uint32_t length);

#endif
