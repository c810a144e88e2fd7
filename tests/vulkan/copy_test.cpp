// Copies of rows and of pages of the KV cache on the device.
#include "vulkan/shader_rig.hpp"

#include <gtest/gtest.h>
#include <numeric>

extern "C" {
#include "backend/step.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr uint32_t kCanary = 0xdddddddd;

std::vector<uint32_t> numbered(size_t n)
{
    std::vector<uint32_t> words(n);
    std::iota(words.begin(), words.end(), 0x7fc00000u); // NaN and infinity are bits like others
    return words;
}

TEST(CopyRows, WholeValuesAndWantedRows)
{
    ShaderRig rig;
    const std::vector<uint32_t> wanted = {0, 2, 3, 6};
    for (uint32_t invocations : {8u, 64u, 256u}) {
        for (uint32_t by_logits : {0u, 1u}) {
            tn_vk_copy_params p = {};
            p.n = 333;
            p.in_at = 5;
            p.in_stride = 340;
            p.y_at = 2;
            p.y_stride = 335;
            p.by_logits = by_logits;
            p.logit_rows = 9;
            const uint32_t n_rows = by_logits ? uint32_t(wanted.size()) : 7;
            Bindings b;
            b.arena = numbered(p.in_at + 7 * p.in_stride);
            b.step.assign(p.logit_rows, 99);
            b.step.insert(b.step.end(), wanted.begin(), wanted.end());
            b.out.assign(p.y_at + n_rows * p.y_stride, kCanary);
            std::vector<uint32_t> want = b.out;
            for (uint32_t r = 0; r < n_rows; r++) {
                const uint32_t from = by_logits ? wanted[r] : r;
                for (uint32_t i = 0; i < p.n; i++) want[p.y_at + r * p.y_stride + i] = b.arena[p.in_at + from * p.in_stride + i];
            }
            rig.run("copy_rows", {invocations}, p, (p.n + invocations - 1) / invocations, n_rows, 1, &b);
            EXPECT_EQ(b.out, want);
        }
    }
}

class CopyPages : public testing::TestWithParam<uint32_t>
{
  protected:
    static constexpr uint32_t kPages = 6, kLayers = 3, kPageWords = 2 * 1024 + 640, kCopiesMax = 4;

    // Runs the step's copies and compares all pages with what they should be.
    static void check(uint32_t invocations, const std::vector<uint32_t> &copies, uint32_t n_made)
    {
        ShaderRig rig;
        tn_step_limits limits = {};
        limits.n_tokens = limits.n_logits = 1;
        limits.n_seqs = kCopiesMax;
        limits.n_seq_pages = 2;
        limits.n_kv_pages = kPages;
        tn_step_layout layout;
        ASSERT_EQ(tn_step_layout_of(&limits, &layout), TN_OK);
        Bindings b;
        b.step.assign(layout.n_words, 0);
        tn_step step = {};
        step.n_copies = uint32_t(copies.size() / 2);
        memcpy(b.step.data(), &step, sizeof step);
        for (uint32_t i = 0; i < 2 * kCopiesMax; i++) b.step[layout.copies + i] = i < copies.size() ? copies[i] : i % 2; // not of the step
        b.kv = numbered(size_t(kLayers) * kPages * kPageWords);
        std::vector<uint32_t> want = b.kv;
        for (uint32_t i = 0; i < n_made; i++) {
            for (uint32_t layer = 0; layer < kLayers; layer++) {
                const auto page = [&](uint32_t number) { return want.begin() + (layer * kPages + number) * kPageWords; };
                std::copy(page(copies[2 * i]), page(copies[2 * i]) + kPageWords, page(copies[2 * i + 1]));
            }
        }
        const tn_vk_pages_params p = {layout.copies, kPages, kPageWords};
        rig.run("copy_pages", {invocations}, p, (kPageWords + 1023) / 1024, kCopiesMax, kLayers, &b);
        for (size_t i = 0; i < want.size(); i++) ASSERT_EQ(b.kv[i], want[i]) << "word " << i;
    }
};

TEST_P(CopyPages, CopiesWhatTheStepHasInEveryLayer)
{
    check(GetParam(), {}, 0);
    check(GetParam(), {0, 5}, 1);
    check(GetParam(), {4, 1, 4, 0, 2, 3}, 3); // one page may be copied twice
}
TEST_P(CopyPages, LeavesOutPagesThatAreNotThere) { check(GetParam(), {4, 1, 4, kPages, kPages + 1, 2}, 1); }
INSTANTIATE_TEST_SUITE_P(Invocations, CopyPages, testing::Values(8u, 32u, 64u, 128u, 256u));

} // namespace
} // namespace vulkan_test
