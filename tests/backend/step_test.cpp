// A step's layout: room for every array, none in another's, the same for the same limits, and nothing that does not fit.
#include "support/step_block.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

namespace
{

__extension__ typedef unsigned __int128 Wide;

struct Array {
    const char *name;
    Wide begin, words;
};

// What must lie in a block, by its meaning: arithmetic that cannot overflow.
std::vector<Array> arrays_of(const tn_step_limits &m, const tn_step_layout &l)
{
    return {
        {"header", 0, sizeof(tn_step) / 4},
        {"copies", l.copies, Wide(m.n_seqs) * 2},
        {"logit_rows", l.logit_rows, m.n_logits},
        {"n_top", l.n_top, m.n_logits},
        {"tokens", l.tokens, m.n_tokens},
        {"positions", l.positions, m.n_tokens},
        {"seqs", l.seqs, m.n_tokens},
        {"page_table", l.page_table, Wide(m.n_seqs) * m.n_seq_pages},
    };
}

// Between what the arrays have and that with the padding of each.
void check(const tn_step_limits &m, size_t *n_refused)
{
    tn_step_layout layout;
    memset(&layout, 0xaa, sizeof layout);
    const tn_status status = tn_step_layout_of(&m, &layout);
    Wide least = 0;
    for (const Array &a : arrays_of(m, layout)) least += a.words;
    const Wide limit = UINT32_MAX / 4;
    if (status != TN_OK) {
        ASSERT_EQ(status, TN_INVALID_ARGUMENT);
        ASSERT_GT(least + 8 * TN_STEP_ALIGN_WORDS, limit) << m.n_tokens << " " << m.n_logits << " " << m.n_seqs << " " << m.n_seq_pages;
        ++*n_refused;
        return;
    }
    ASSERT_LE(layout.n_words, limit);
    ASSERT_LT(layout.n_words, least + 8 * TN_STEP_ALIGN_WORDS) << "as good as nothing is wasted";
    Wide end = 0;
    for (const Array &a : arrays_of(m, layout)) {
        ASSERT_GE(a.begin, end) << a.name << " begins in the one before it";
        ASSERT_EQ(a.begin % TN_STEP_ALIGN_WORDS, 0u) << a.name;
        end = a.begin + a.words;
    }
    ASSERT_LE(end, layout.n_words);
    ASSERT_EQ(layout.n_seq_pages, m.n_seq_pages);
    tn_step_limits other = m;
    other.n_kv_pages++; // says nothing of the block
    tn_step_layout again;
    ASSERT_EQ(tn_step_layout_of(&other, &again), TN_OK);
    ASSERT_EQ(memcmp(&layout, &again, sizeof layout), 0);
}

TEST(StepLayout, ArraysAreDisjointAndInsideForAnyLimits)
{
    std::mt19937 random(1);
    size_t n_refused = 0;
    constexpr size_t n_tries = 200000;
    for (size_t i = 0; i < n_tries; i++) {
        // Each limit of any magnitude: small ones meet huge ones.
        auto any = [&] { return static_cast<uint32_t>(random() >> (random() % 32)) - static_cast<uint32_t>(random() % 8 == 0); };
        check({any(), any(), any(), any(), any()}, &n_refused);
        if (HasFatalFailure()) return;
    }
    EXPECT_GT(n_refused, n_tries / 10);
    EXPECT_LT(n_refused, n_tries - n_tries / 10);
}

TEST(StepLayout, TheLargestBlockIsTakenAndTheNextOneRefused)
{
    constexpr uint32_t limit = (UINT32_MAX / 4) & ~(TN_STEP_ALIGN_WORDS - 1);
    tn_step_layout layout;
    const tn_step_limits small = {1, 1, 1, 0, 0};
    ASSERT_EQ(tn_step_layout_of(&small, &layout), TN_OK);
    tn_step_limits largest = small;
    largest.n_seq_pages = limit - layout.n_words;
    ASSERT_EQ(tn_step_layout_of(&largest, &layout), TN_OK) << tn_error_last()->message;
    EXPECT_EQ(layout.n_words, limit);
    largest.n_seq_pages++;
    EXPECT_EQ(tn_step_layout_of(&largest, &layout), TN_INVALID_ARGUMENT);
    for (uint32_t tn_step_limits::*one : {&tn_step_limits::n_tokens, &tn_step_limits::n_logits, &tn_step_limits::n_seqs}) {
        tn_step_limits huge = small;
        huge.*one = UINT32_MAX;
        EXPECT_EQ(tn_step_layout_of(&huge, &layout), TN_INVALID_ARGUMENT);
        EXPECT_NE(std::string(tn_error_last()->message).find("4294967295"), std::string::npos);
    }
}

TEST(StepBlock, ReadersSeeWhatWritersPut)
{
    const tn_step_limits limits = {5, 3, 2, 4, 9};
    tn_test::StepArrays a;
    a.tokens = {10, -1, 12};
    a.positions = {7, 8, 9};
    a.seqs = {0, 1, 1};
    a.logit_rows = {1, 2};
    a.n_top = {4, 0};
    a.n_top_ids = 77;
    a.copies = {8, 3, 2, 5};
    a.n_seqs = 2;
    a.page_table = {0, 1, 2, 3, 4, 5, 6, 7};
    tn_test::StepBlock block(a, limits);
    tn_step_layout layout;
    ASSERT_EQ(tn_step_layout_of(&limits, &layout), TN_OK);
    const tn_step_view v = tn_step_view_of(block.get(), &layout);
    EXPECT_EQ(std::vector<int32_t>(v.tokens, v.tokens + v.n_tokens), a.tokens);
    EXPECT_EQ(std::vector<uint32_t>(v.positions, v.positions + v.n_tokens), a.positions);
    EXPECT_EQ(std::vector<uint32_t>(v.seqs, v.seqs + v.n_tokens), a.seqs);
    EXPECT_EQ(std::vector<uint32_t>(v.logit_rows, v.logit_rows + v.n_logits), a.logit_rows);
    EXPECT_EQ(std::vector<uint32_t>(v.n_top, v.n_top + v.n_logits), a.n_top);
    EXPECT_EQ(std::vector<uint32_t>(v.copies, v.copies + 2 * size_t(v.n_copies)), a.copies);
    EXPECT_EQ(std::vector<uint32_t>(v.page_table, v.page_table + 8), a.page_table);
    EXPECT_EQ(v.n_top_ids, 77u);
    EXPECT_EQ(*tn_step_pages(block.get(), &layout, 1), 4u);
    EXPECT_EQ(tn_step_n_words(block.get(), &layout), layout.page_table + 8);

    // A block that is copied somewhere else, no further than it is used, is the same step.
    block.get()->n_seqs = 1;
    block.get()->has_top = 0;
    const auto *words = reinterpret_cast<const uint32_t *>(block.get());
    std::vector<uint32_t> moved(words, words + tn_step_n_words(block.get(), &layout));
    EXPECT_EQ(moved.size(), layout.page_table + 4);
    const tn_step_view w = tn_step_view_of(reinterpret_cast<const tn_step *>(moved.data()), &layout);
    EXPECT_EQ(w.n_top, nullptr);
    EXPECT_EQ(std::vector<int32_t>(w.tokens, w.tokens + w.n_tokens), a.tokens);
    EXPECT_EQ(std::vector<uint32_t>(w.page_table, w.page_table + 4), std::vector<uint32_t>({0, 1, 2, 3}));
}

} // namespace
