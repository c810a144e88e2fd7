// Pages of the KV cache: handed out, given back, never twice.
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <vector>

extern "C" {
#include "graph/op.h"
#include "runtime/kv_cache.h"
#include "runtime/kv_prefix.h"
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

namespace
{

// A cache with made-up bytes: a position's content is a hash of all tokens up to it, as keys and values depend on them all.
class Shadow
{
  public:
    Shadow(uint32_t n_seqs, uint32_t n_ctx, uint32_t n_pages, uint32_t n_kept_max, bool index) : tokens_(n_seqs)
    {
        EXPECT_EQ(tn_kv_cache_init(&cache, n_seqs, n_ctx, n_pages), TN_OK);
        if (index) {
            EXPECT_EQ(tn_kv_prefix_init(&cache, n_kept_max), TN_OK);
        }
        bytes_.resize(cache.n_pages, std::vector<uint64_t>(TN_KV_PAGE_POSITIONS));
    }
    ~Shadow() { tn_kv_cache_deinit(&cache); }
    Shadow(const Shadow &) = delete;
    Shadow &operator=(const Shadow &) = delete;

    // A step that appends tokens to one sequence; false where no page is left.
    bool append(uint32_t seq, const std::vector<int32_t> &tokens, bool seal)
    {
        const uint32_t first = cache.lengths[seq], end = first + static_cast<uint32_t>(tokens.size());
        const uint32_t needed = tn_kv_cache_needed(&cache, seq, end), available = tn_kv_cache_available(&cache);
        const tn_status status = tn_kv_cache_reserve(&cache, seq, end);
        EXPECT_EQ(status == TN_OK, needed <= available && end <= cache.n_seq_pages * TN_KV_PAGE_POSITIONS);
        if (status != TN_OK) return false;
        step();
        for (uint32_t i = first; i < end; i++) {
            tokens_[seq].push_back(tokens[i - first]);
            const uint32_t page = page_of(seq, i);
            EXPECT_EQ(cache.pages[page].n_refs, 1u);
            EXPECT_EQ(cache.pages[page].serial, 0u);
            bytes_[page][i % TN_KV_PAGE_POSITIONS] = content(tokens_[seq], i);
        }
        cache.lengths[seq] = end;
        for (uint32_t page = first / TN_KV_PAGE_POSITIONS; seal && (page + 1) * TN_KV_PAGE_POSITIONS <= end; page++)
            tn_kv_prefix_seal(&cache, seq, page, tokens_[seq].data() + page * TN_KV_PAGE_POSITIONS);
        return true;
    }
    // Reserves for a step that then fails: the copies stay to be made.
    void fail(uint32_t seq, uint32_t n)
    {
        if (tn_kv_cache_reserve(&cache, seq, cache.lengths[seq] + n) == TN_OK) tn_kv_cache_set_length(&cache, seq, cache.lengths[seq]);
    }
    void truncate(uint32_t seq, uint32_t length)
    {
        tn_kv_cache_set_length(&cache, seq, length);
        tokens_[seq].resize(length);
    }
    void share(uint32_t to, uint32_t from, uint32_t length)
    {
        truncate(to, 0);
        tn_kv_cache_attach(&cache, to, cache.page_table + from * cache.n_seq_pages, tn_kv_pages_for(length), length);
        tokens_[to].assign(tokens_[from].begin(), tokens_[from].begin() + length);
    }
    // Begins an empty sequence with what the index knows of the tokens, and appends the rest; the number that was known.
    uint32_t begin(uint32_t seq, const std::vector<int32_t> &tokens)
    {
        truncate(seq, 0);
        uint64_t parent = 0;
        for (uint32_t page = 0; (page + 1) * TN_KV_PAGE_POSITIONS <= tokens.size(); page++) {
            const uint32_t found = tn_kv_prefix_find(&cache, parent, tokens.data() + page * TN_KV_PAGE_POSITIONS);
            if (found == TN_KV_NO_PAGE) break;
            parent = cache.pages[found].serial;
            tn_kv_cache_attach(&cache, seq, &found, 1, (page + 1) * TN_KV_PAGE_POSITIONS);
        }
        const uint32_t n_known = cache.lengths[seq];
        tokens_[seq].assign(tokens.begin(), tokens.begin() + n_known);
        if (n_known < tokens.size()) append(seq, std::vector<int32_t>(tokens.begin() + n_known, tokens.end()), true);
        return n_known;
    }
    // Every position of every sequence has the content that its tokens make, and every page is free, kept or held as often as it is used.
    void check() const
    {
        std::vector<uint32_t> refs(cache.n_pages);
        for (uint32_t seq = 0; seq < cache.n_seqs; seq++) {
            ASSERT_EQ(cache.lengths[seq], tokens_[seq].size());
            ASSERT_GE(cache.n_held[seq], tn_kv_pages_for(cache.lengths[seq]));
            for (uint32_t i = 0; i < cache.n_held[seq]; i++) refs[cache.page_table[seq * cache.n_seq_pages + i]]++;
            for (uint32_t i = 0; i < cache.lengths[seq]; i++)
                ASSERT_EQ(bytes_[source_of(page_of(seq, i))][i % TN_KV_PAGE_POSITIONS], content(tokens_[seq], i)) << seq << " " << i;
        }
        for (uint32_t i = 0; i < cache.n_copies; i++) refs[cache.copies[i].from]++;
        ASSERT_LE(cache.n_copies, cache.n_seqs);
        std::set<uint32_t> free(cache.free_pages, cache.free_pages + cache.n_free);
        ASSERT_EQ(free.size(), cache.n_free);
        uint32_t n_kept = 0, n_held = 0;
        for (uint32_t page = 0; page < cache.n_pages; page++) {
            ASSERT_EQ(cache.pages[page].n_refs, refs[page]);
            const bool is_kept = refs[page] == 0 && cache.pages[page].serial;
            ASSERT_EQ(free.count(page), refs[page] == 0 && !is_kept ? 1u : 0u);
            n_kept += is_kept;
            n_held += refs[page] != 0;
        }
        ASSERT_EQ(n_kept, cache.n_kept);
        ASSERT_EQ(n_kept + n_held + cache.n_free, cache.n_pages);
    }
    size_t length(uint32_t seq) const { return tokens_[seq].size(); }

    tn_kv_cache cache = {};

  private:
    static uint64_t content(const std::vector<int32_t> &tokens, uint32_t position)
    {
        uint64_t hash = 14695981039346656037u;
        for (uint32_t i = 0; i <= position; i++) hash = (hash ^ static_cast<uint64_t>(tokens[i])) * 1099511628211u;
        return hash;
    }
    uint32_t page_of(uint32_t seq, uint32_t position) const
    {
        return cache.page_table[seq * cache.n_seq_pages + position / TN_KV_PAGE_POSITIONS];
    }
    uint32_t source_of(uint32_t page) const
    {
        for (uint32_t i = 0; i < cache.n_copies; i++) {
            if (cache.copies[i].to == page) return cache.copies[i].from;
        }
        return page;
    }
    void step()
    {
        std::set<uint32_t> from, to;
        for (uint32_t i = 0; i < cache.n_copies; i++) {
            from.insert(cache.copies[i].from);
            EXPECT_TRUE(to.insert(cache.copies[i].to).second);
            bytes_[cache.copies[i].to] = bytes_[cache.copies[i].from];
        }
        for (uint32_t page : to) EXPECT_EQ(from.count(page), 0u);
        std::vector<uint32_t> words(2 * cache.n_seqs);
        EXPECT_EQ(tn_kv_cache_copies_take(&cache, 0, words.data()), to.size());
        tn_kv_cache_copies_made(&cache, 0);
        EXPECT_EQ(cache.n_copies, 0u);
    }
    std::vector<std::vector<int32_t>> tokens_;
    std::vector<std::vector<uint64_t>> bytes_;
};

std::vector<int32_t> tokens_from(std::mt19937 &random, size_t n, int32_t n_different)
{
    std::vector<int32_t> tokens(n);
    for (int32_t &token : tokens) token = static_cast<int32_t>(random() % static_cast<uint32_t>(n_different));
    return tokens;
}

} // namespace

// Steps in flight, by number, and the copies that each makes.
TEST(KvCache, CopiesBelongToTheStepThatMakesThem)
{
    tn_kv_cache cache;
    uint32_t words[8], from, to;
    ASSERT_EQ(tn_kv_cache_init(&cache, 4, 512, 0), TN_OK);
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 0, 150), TN_OK);
    tn_kv_cache_set_length(&cache, 0, 150);
    tn_kv_cache_attach(&cache, 1, cache.page_table, 2, 150);
    tn_kv_cache_attach(&cache, 2, cache.page_table, 2, 140);
    from = cache.page_table[1];
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 1, 151), TN_OK);
    to = cache.page_table[1 * cache.n_seq_pages + 1];
    ASSERT_EQ(tn_kv_cache_copies_take(&cache, 5, words), 1u);
    EXPECT_EQ(words[0], from);
    EXPECT_EQ(words[1], to);
    cache.lengths[1] = 151;
    // The next step of the same sequence writes behind the first one's position, which a copy would lose.
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 1, 152), TN_OK);
    EXPECT_EQ(tn_kv_cache_copies_take(&cache, 6, words), 0u);
    // Others' are their own, and what one step made is not another's.
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 2, 141), TN_OK);
    ASSERT_EQ(tn_kv_cache_copies_take(&cache, 7, words), 1u);
    tn_kv_cache_copies_made(&cache, 6);
    EXPECT_EQ(cache.n_copies, 2u);
    EXPECT_EQ(cache.pages[from].n_refs, 3u) << "sequence 0 and two copies";
    tn_kv_cache_copies_made(&cache, 7);
    EXPECT_EQ(cache.pages[from].n_refs, 2u);
    EXPECT_EQ(cache.n_copied, 1u);
    // The first step failed: the next one, of whatever sequence, makes its copy.
    cache.lengths[1] = 150;
    tn_kv_cache_copies_return(&cache, 5);
    ASSERT_EQ(tn_kv_cache_copies_take(&cache, 8, words), 1u);
    EXPECT_EQ(words[1], to);
    // Meanwhile the sequence itself goes on: its own step makes the copy again, and keeps it whatever becomes of the other.
    ASSERT_EQ(tn_kv_cache_reserve(&cache, 1, 151), TN_OK);
    ASSERT_EQ(tn_kv_cache_copies_take(&cache, 9, words), 1u);
    EXPECT_EQ(words[0], from);
    EXPECT_EQ(words[1], to);
    tn_kv_cache_copies_return(&cache, 8);
    EXPECT_EQ(tn_kv_cache_copies_take(&cache, 10, words), 0u);
    tn_kv_cache_copies_made(&cache, 8);
    EXPECT_EQ(cache.n_copies, 1u);
    tn_kv_cache_copies_made(&cache, 9);
    EXPECT_EQ(cache.n_copies, 0u);
    EXPECT_EQ(cache.pages[from].n_refs, 1u);
    tn_kv_cache_deinit(&cache);
}

TEST(KvCache, AWriterIntoASharedPageGetsACopy)
{
    Shadow shadow(3, 512, 0, 0, false);
    std::mt19937 random(1);
    ASSERT_TRUE(shadow.append(0, tokens_from(random, 200, 50), false));
    shadow.share(1, 0, 150);
    EXPECT_EQ(shadow.cache.n_free, 12u - 2);
    ASSERT_TRUE(shadow.append(1, {7}, false));
    EXPECT_EQ(shadow.cache.n_free, 12u - 3);
    ASSERT_TRUE(shadow.append(0, {8}, false)); // its page is its own again
    EXPECT_EQ(shadow.cache.n_free, 12u - 3);
    shadow.check();
}

TEST(KvCache, KnownPagesAreFoundBehindTheirOwnBeginningAlone)
{
    Shadow shadow(2, 1024, 0, 8, true);
    std::mt19937 random(2);
    std::vector<int32_t> a = tokens_from(random, 400, 50), b = a;
    b[5] ^= 1;
    EXPECT_EQ(shadow.begin(0, a), 0u);
    EXPECT_EQ(shadow.begin(1, b), 0u); // though its later pages have equal tokens
    EXPECT_EQ(shadow.begin(0, a), 384u);
    shadow.truncate(0, 0);
    shadow.truncate(1, 0);
    EXPECT_EQ(shadow.cache.n_kept, 6u);
    EXPECT_EQ(shadow.begin(0, b), 384u);
    shadow.check();
}

TEST(KvCache, EqualPagesBecomeOne)
{
    Shadow shadow(2, 512, 0, 8, true);
    std::mt19937 random(3);
    const std::vector<int32_t> tokens = tokens_from(random, 256, 50);
    ASSERT_TRUE(shadow.append(0, tokens, true));
    ASSERT_TRUE(shadow.append(1, tokens, true)); // computed beside the first one
    EXPECT_EQ(shadow.cache.n_free, 8u - 2);
    shadow.check();
}

TEST(KvCache, TheOldestKeptPageGoesFirstAndATailBeforeItsBeginning)
{
    Shadow shadow(2, 512, 5, 5, true);
    std::mt19937 random(4);
    const std::vector<int32_t> a = tokens_from(random, 256, 50), b = tokens_from(random, 256, 50);
    shadow.begin(0, a);
    shadow.truncate(0, 0);
    shadow.begin(0, b);
    shadow.truncate(0, 0);
    shadow.begin(1, tokens_from(random, 250, 50)); // the fifth page, and a's second
    EXPECT_EQ(shadow.cache.n_kept, 3u);
    EXPECT_EQ(shadow.begin(0, std::vector<int32_t>(a.begin(), a.begin() + 128)), 128u);
    shadow.truncate(0, 0);
    EXPECT_EQ(shadow.begin(0, b), 256u);
    shadow.check();
}

TEST(KvCache, RandomSequencesAlwaysHaveWhatTheirTokensMake)
{
    for (uint32_t seed = 0; seed < 60; seed++) {
        std::mt19937 random(seed);
        const uint32_t n_seqs = 2 + seed % 5, n_ctx = 128 * (1 + seed % 4) + seed % 3, n_pages = seed % 2 ? 3 + random() % 12 : 0;
        Shadow shadow(n_seqs, n_ctx, n_pages, random() % 8, seed % 7 != 0);
        const bool index = seed % 7 != 0;
        std::vector<int32_t> beginning = tokens_from(random, n_ctx, 3);
        for (int i = 0; i < 400; i++) {
            const uint32_t seq = random() % n_seqs, other = random() % n_seqs;
            const auto length = static_cast<uint32_t>(shadow.length(seq));
            switch (random() % 8) {
            case 0: shadow.truncate(seq, length ? random() % (length + 1) : 0); break;
            case 1: shadow.truncate(seq, 0); break;
            case 2:
                if (seq != other) shadow.share(other, seq, length ? random() % (length + 1) : 0);
                break;
            case 3: shadow.fail(seq, 1 + random() % 200); break;
            case 4:
                if (index) {
                    std::vector<int32_t> tokens(beginning.begin(), beginning.begin() + 1 + random() % n_ctx);
                    if (random() % 3 == 0) tokens[random() % tokens.size()] ^= 1;
                    shadow.begin(seq, tokens);
                }
                break;
            default: shadow.append(seq, tokens_from(random, 1 + random() % 60, 2), index && random() % 4);
            }
            ASSERT_NO_FATAL_FAILURE(shadow.check()) << "seed " << seed << " step " << i;
        }
    }
}
