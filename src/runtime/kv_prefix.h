// The index of prefixes of a KV cache: which pages hold what a sequence that begins with given tokens would compute. Exact: tokens are
// compared, and a page is found only behind the very page that it was computed behind.
#ifndef TN_RUNTIME_KV_PREFIX_H
#define TN_RUNTIME_KV_PREFIX_H

#include "runtime/kv_cache.h"

// At most n_kept_max pages stay known when nobody holds them.  Errors: OUT_OF_MEMORY.
tn_status tn_kv_prefix_init(tn_kv_cache *cache, uint32_t n_kept_max);
// Forgets everything; kept pages become free.
void tn_kv_prefix_deinit(tn_kv_cache *cache);

// The page that holds `tokens` [TN_KV_PAGE_POSITIONS] behind the page with serial `parent` (0: at the beginning); TN_KV_NO_PAGE.
uint32_t tn_kv_prefix_find(const tn_kv_cache *cache, uint64_t parent, const int32_t *tokens);
// Page `index` of `seq` is full, with `tokens`: makes it known. Where an equal one is known already, the sequence goes on with that one and
// its own is given back. Without effect where the page before it is not known.
void tn_kv_prefix_seal(tn_kv_cache *cache, uint32_t seq, uint32_t index, const int32_t *tokens);

// For kv_cache.c. A known page is held by nobody any more: keeps it.
void tn_kv_prefix_keep(tn_kv_cache *cache, uint32_t page);
// A kept page is held again.
void tn_kv_prefix_unkeep(tn_kv_cache *cache, uint32_t page);
// Forgets the content of a page that is not kept.
void tn_kv_prefix_forget(tn_kv_cache *cache, uint32_t page);

#endif
