// Tests of allocation and checked arithmetic at the ends of their ranges.
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <string>

extern "C" {
#include "base/alloc.h"
#include "base/checked.h"
}

namespace
{

TEST(Checked, AdditionKnowsItsLimit)
{
    uint64_t r = 7;
    EXPECT_TRUE(tn_ckd_add(UINT64_MAX - 1, 1, &r));
    EXPECT_EQ(r, UINT64_MAX);
    r = 7;
    EXPECT_FALSE(tn_ckd_add(UINT64_MAX, 1, &r));
    EXPECT_EQ(r, 7u);
}

TEST(Checked, MultiplicationKnowsItsLimit)
{
    uint64_t r = 7;
    EXPECT_TRUE(tn_ckd_mul(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &r));
    EXPECT_EQ(r, UINT64_MAX - UINT32_MAX);
    r = 7;
    EXPECT_FALSE(tn_ckd_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
    EXPECT_EQ(r, 7u);
    EXPECT_TRUE(tn_ckd_mul(0, UINT64_MAX, &r));
    EXPECT_EQ(r, 0u);
}

TEST(Checked, RoundingUpKnowsItsLimit)
{
    uint64_t r = 0;
    EXPECT_TRUE(tn_ckd_round_up(0, 32, &r));
    EXPECT_EQ(r, 0u);
    EXPECT_TRUE(tn_ckd_round_up(33, 32, &r));
    EXPECT_EQ(r, 64u);
    EXPECT_TRUE(tn_ckd_round_up(UINT64_MAX - 31, 32, &r));
    EXPECT_EQ(r, UINT64_MAX - 31);
    EXPECT_FALSE(tn_ckd_round_up(UINT64_MAX - 30, 32, &r));
}

TEST(Alloc, ZeroedMemoryIsZero)
{
    uint32_t *p = nullptr;
    ASSERT_EQ(tn_alloc_zero(1000, sizeof *p, &p), TN_OK);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(p[i], 0u);
    tn_free(p);
}

TEST(Alloc, ARequestForNothingIsAPointer)
{
    void *a = nullptr, *b = nullptr, *c = nullptr;
    ASSERT_EQ(tn_alloc(0, 8, &a), TN_OK);
    ASSERT_EQ(tn_alloc_zero(8, 0, &b), TN_OK);
    ASSERT_EQ(tn_alloc_aligned(0, 64, &c), TN_OK);
    EXPECT_NE(a, nullptr);
    EXPECT_NE(b, nullptr);
    EXPECT_NE(c, nullptr);
    tn_free(a);
    tn_free(b);
    tn_free(c);
    tn_free(nullptr);
}

TEST(Alloc, SizesThatOverflowFailWithTheSizeInTheMessage)
{
    void *p = &p;
    EXPECT_EQ(tn_alloc(SIZE_MAX / 2, 3, &p), TN_OUT_OF_MEMORY);
    EXPECT_EQ(p, nullptr);
    EXPECT_NE(std::string(tn_error_last()->message).find(std::to_string(SIZE_MAX / 2)), std::string::npos);
    p = &p;
    EXPECT_EQ(tn_alloc_zero(SIZE_MAX, SIZE_MAX, &p), TN_OUT_OF_MEMORY);
    EXPECT_EQ(p, nullptr);
    EXPECT_EQ(tn_alloc(static_cast<size_t>(PTRDIFF_MAX) + 1, 1, &p), TN_OUT_OF_MEMORY);
    EXPECT_EQ(tn_alloc_aligned(SIZE_MAX, 64, &p), TN_OUT_OF_MEMORY);
    EXPECT_EQ(p, nullptr);
}

TEST(Alloc, AlignedMemoryIsAlignedAndZero)
{
    for (size_t alignment = 1; alignment <= 1 << 21; alignment *= 2) {
        uint8_t *p = nullptr;
        ASSERT_EQ(tn_alloc_aligned(100, alignment, &p), TN_OK);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0u);
        for (int i = 0; i < 100; ++i) ASSERT_EQ(p[i], 0);
        tn_free(p);
    }
}

TEST(Alloc, AlignmentsMustBePowersOfTwo)
{
    for (size_t alignment : {0, 3, 48}) {
        void *p = &p;
        EXPECT_EQ(tn_alloc_aligned(8, alignment, &p), TN_INVALID_ARGUMENT);
        EXPECT_EQ(p, nullptr);
    }
}

TEST(Alloc, GrowingKeepsTheContentAndAtLeastDoubles)
{
    uint16_t *p = nullptr;
    size_t capacity = 0;
    ASSERT_EQ(tn_grow(&p, &capacity, 3, sizeof *p), TN_OK);
    EXPECT_EQ(capacity, 3u);
    p[0] = 11, p[1] = 22, p[2] = 33;
    ASSERT_EQ(tn_grow(&p, &capacity, 4, sizeof *p), TN_OK);
    EXPECT_EQ(capacity, 6u);
    ASSERT_EQ(tn_grow(&p, &capacity, 100, sizeof *p), TN_OK);
    EXPECT_EQ(capacity, 100u);
    EXPECT_EQ(p[0] + p[1] + p[2], 66);
    uint16_t *before = p;
    ASSERT_EQ(tn_grow(&p, &capacity, 50, sizeof *p), TN_OK);
    EXPECT_EQ(p, before);
    EXPECT_EQ(capacity, 100u);
    tn_free(p);
}

TEST(Alloc, AFailedGrowthLeavesEverythingAsItWas)
{
    uint64_t *p = nullptr;
    size_t capacity = 0;
    ASSERT_EQ(tn_grow(&p, &capacity, 2, sizeof *p), TN_OK);
    p[1] = 5;
    uint64_t *before = p;
    EXPECT_EQ(tn_grow(&p, &capacity, SIZE_MAX / 4, sizeof *p), TN_OUT_OF_MEMORY);
    EXPECT_EQ(p, before);
    EXPECT_EQ(capacity, 2u);
    EXPECT_EQ(p[1], 5u);
    tn_free(p);
}

TEST(Alloc, StringsAreCopiedWithATerminator)
{
    char *text = nullptr;
    ASSERT_EQ(tn_strdup("hello world", 5, &text), TN_OK);
    EXPECT_STREQ(text, "hello");
    tn_free(text);
    ASSERT_EQ(tn_strdup(nullptr, 0, &text), TN_OK);
    EXPECT_STREQ(text, "");
    tn_free(text);
    EXPECT_EQ(tn_strdup("", SIZE_MAX, &text), TN_OUT_OF_MEMORY);
    EXPECT_EQ(text, nullptr);
}

} // namespace
