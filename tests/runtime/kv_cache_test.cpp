// Pages of the KV cache: handed out, given back, never twice.
#include <gtest/gtest.h>
#include <set>

extern "C" {
#include "graph/op.h"
#include "runtime/kv_cache.h"
}

namespace
{

// No page is free and held, or held twice.
void expect_consistent(const tn_kv_cache &cache)
{
    std::set<uint32_t> seen(cache.free_pages, cache.free_pages + cache.n_free);
    ASSERT_EQ(seen.size(), cache.n_free);
    uint32_t n_held = 0;
    for (uint32_t s = 0; s < cache.n_seqs; s++) {
        for (uint32_t i = 0; i < cache.n_held[s]; i++) seen.insert(cache.page_table[s * cache.n_seq_pages + i]);
        n_held += cache.n_held[s];
    }
    EXPECT_EQ(seen.size(), cache.n_pages);
    EXPECT_EQ(n_held + cache.n_free, cache.n_pages);
}

} // namespace

TEST(KvCache, PagesComeWithThePositionsAndGoWithThem)
{
    tn_kv_cache cache;
    ASSERT_EQ(tn_kv_cache_init(&cache, 2, 300, 0), TN_OK);
    EXPECT_EQ(cache.n_seq_pages, 3u);
    EXPECT_EQ(cache.n_pages, 6u);
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 0, 1), TN_OK);
    EXPECT_EQ(cache.n_held[0], 1u);
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 0, 128), TN_OK);
    EXPECT_EQ(cache.n_held[0], 1u);
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 0, 129), TN_OK);
    EXPECT_EQ(cache.n_held[0], 2u);
    tn_kv_cache_set_length(&cache, 0, 128);
    EXPECT_EQ(cache.n_held[0], 1u);
    EXPECT_EQ(cache.lengths[0], 128u);
    tn_kv_cache_set_length(&cache, 0, 0);
    EXPECT_EQ(cache.n_free, 6u);
    EXPECT_EQ(tn_kv_cache_reserve(&cache, 1, 385), TN_LIMIT);
    expect_consistent(cache);
    tn_kv_cache_deinit(&cache);
}

TEST(KvCache, ARandomMixNeverSharesAPage)
{
    tn_kv_cache cache;
    ASSERT_EQ(tn_kv_cache_init(&cache, 5, 1000, 0), TN_OK);
    uint32_t random = 7;
    for (int i = 0; i < 5000; i++) {
        random = random * 1664525u + 1013904223u;
        const uint32_t seq = (random >> 8) % 5, length = (random >> 12) % 1001;
        if (length >= cache.lengths[seq]) {
            ASSERT_EQ(tn_kv_cache_reserve(&cache, seq, length), TN_OK);
        }
        tn_kv_cache_set_length(&cache, seq, length);
        ASSERT_NO_FATAL_FAILURE(expect_consistent(cache));
    }
    tn_kv_cache_deinit(&cache);
}

TEST(KvCache, AbsurdSizesAreRefused)
{
    tn_kv_cache cache;
    EXPECT_EQ(tn_kv_cache_init(&cache, UINT32_MAX, UINT32_MAX, 0), TN_INVALID_ARGUMENT);
}
