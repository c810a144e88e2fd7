// The best logits of rows against a sort of them all.
#include "vulkan/shader_rig.hpp"
#include "vulkan/shaders/shader_params.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numeric>
#include <random>

namespace vulkan_test
{
namespace
{

constexpr uint32_t kUntouched = 0xdddddddd, kGroups = 1024, kNTop = 32, kTopMax = 128;
using Rows = std::vector<std::vector<float>>;

class Rank : public testing::Test
{
  protected:
    // Ranks rows of equal length, of which n_top are wanted, among the first n_ids.
    void run(const Rows &rows, const std::vector<uint32_t> &n_top, uint32_t n_ids = UINT32_MAX, bool has_top = true)
    {
        const uint32_t n_rows = uint32_t(rows.size());
        p_ = {};
        p_.n = uint32_t(rows[0].size());
        p_.n_top = kNTop;
        p_.top_max = kTopMax;
        p_.counts = 3;
        p_.ids = p_.counts + n_rows + 1;
        p_.logits = p_.ids + n_rows * kTopMax;
        p_.groups = p_.logits + n_rows * kTopMax;
        n_ids_ = std::min(n_ids, p_.n);
        b_ = {};
        b_.step.assign(kNTop, 0);
        b_.step[1] = n_rows;
        b_.step[4] = has_top;
        b_.step[5] = n_ids;
        b_.step.insert(b_.step.end(), n_top.begin(), n_top.end());
        for (const std::vector<float> &row : rows)
            for (const float v : row) b_.arena.push_back(bits_of(v));
        b_.arena.resize((b_.arena.size() + 3) / 4 * 4, 0x7fc00000);
        b_.state.assign(p_.groups + (n_rows + 1) * kGroups, kUntouched);
        rig_.run("rank_groups", {64}, p_, kGroups / 64, n_rows + 1, 1, &b_);
        rig_.run("rank", {256}, p_, n_rows + 1, 1, 1, &b_);
    }
    uint32_t count(uint32_t r) const { return b_.state[p_.counts + r]; }
    void expect(const Rows &rows, const std::vector<uint32_t> &n_top) const
    {
        for (uint32_t r = 0; r < rows.size(); r++) {
            const std::vector<float> &row = rows[r];
            std::vector<uint32_t> order(n_ids_);
            std::iota(order.begin(), order.end(), 0u);
            std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
            ASSERT_EQ(count(r), n_top[r]) << "of " << p_.n;
            for (uint32_t i = 0; i < kTopMax; i++) {
                const uint32_t at = r * kTopMax + i;
                ASSERT_EQ(b_.state[p_.ids + at], i < n_top[r] ? order[i] : kUntouched)
                    << "place " << i << " of row " << r << " of " << p_.n;
                ASSERT_EQ(b_.state[p_.logits + at], i < n_top[r] ? bits_of(row[order[i]]) : kUntouched);
            }
        }
        EXPECT_EQ(count(uint32_t(rows.size())), kUntouched) << "a row that the step does not have";
    }
    std::vector<float> random_row(uint32_t n)
    {
        std::vector<float> row(n);
        for (float &v : row) v = float(int(random_() % 2000001) - 1000000) / 100000;
        return row;
    }
    ShaderRig rig_;
    std::mt19937 random_{5};
    Bindings b_;
    tn_vk_rank_params p_;
    uint32_t n_ids_ = 0;
};

TEST_F(Rank, EveryWidth)
{
    for (const uint32_t n : {1u, 3u, 4u, 40u, 127u, 1023u, 1024u, 1025u, 4096u, 4100u, 32003u, 128256u}) {
        const Rows rows = {random_row(n), random_row(n), random_row(n)};
        const std::vector<uint32_t> n_top = {1, std::min(n, 40u), std::min(n, kTopMax)};
        run(rows, n_top);
        expect(rows, n_top);
    }
}

TEST_F(Rank, EqualLogitsByTheirIds)
{
    std::vector<float> few = random_row(9001), forbidden(9001, -INFINITY);
    for (size_t i = 0; i < few.size(); i += 9) few[i] = 11;
    for (size_t i = 0; i < 300; i++) forbidden[31 * (i % 290)] = float(i % 7);
    run({few, forbidden}, {128, 64});
    expect({few, forbidden}, {128, 64});
}

TEST_F(Rank, IdsThatDoNotCount)
{
    const Rows rows = {random_row(5000)};
    for (const uint32_t n_ids : {40u, 3001u, 3004u}) {
        run(rows, {40}, n_ids);
        expect(rows, {40});
    }
}

TEST_F(Rank, RowsThatAreNotRanked)
{
    const std::vector<float> row = random_row(3000), equal(3000, -1.5f);
    run({row, row, equal, row}, {0, 129, 5, 2});
    for (const uint32_t r : {0u, 1u, 2u}) EXPECT_EQ(count(r), 0u) << r;
    EXPECT_EQ(count(3), 2u);
    run({row}, {20}, 19);
    EXPECT_EQ(count(0), 0u) << "more than there are";
    run({row}, {20}, 3000, false);
    EXPECT_EQ(count(0), 0u) << "no row's best are wanted";
}

} // namespace
} // namespace vulkan_test
