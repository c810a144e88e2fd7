// quant in groups on the device against src/ref, bit by bit.
#include "vulkan/code_forms.hpp"
#include "vulkan/shader_rig.hpp"

#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "ref/ref.h"
}
#include "vulkan/shaders/shader_params.h"

namespace vulkan_test
{
namespace
{

constexpr uint32_t kRows = 3;

tn_vk_group_params params_of(uint32_t n, uint32_t group, uint32_t form)
{
    const uint32_t n_padded = (n + 255) / 256 * 256;
    tn_vk_group_params p = {};
    p.n = n;
    p.in_at = 4;
    p.in_stride = (n + 3) / 4 * 4 + 8;
    p.group = group;
    p.sum_group = group == 32 ? 32 : 16;
    p.codes = p.in_at + kRows * p.in_stride + 1;
    p.codes_stride = n_padded / (form == kDot ? 4 : 2) + 4;
    p.scales = p.codes + kRows * p.codes_stride + 1;
    p.scales_stride = n_padded / group + 1;
    p.sums = p.scales + kRows * p.scales_stride + 1;
    p.sums_stride = n_padded / p.sum_group + 3;
    return p;
}

// Values of groups of all sizes: zeros, far below the smallest scale, about it, and large; NaN between the rows.
std::vector<uint32_t> make_arena(const tn_vk_group_params &p)
{
    std::mt19937 random(p.n + p.group);
    std::uniform_real_distribution<float> value(-1.0f, 1.0f);
    const float sizes[] = {1.0f, 0.0f, 0x1p-40f, 1.5e-5f, 0x1p50f};
    std::vector<uint32_t> arena(p.sums + kRows * p.sums_stride, 0xffffffff);
    for (uint32_t r = 0; r < kRows; r++) {
        for (uint32_t i = 0; i < p.n; i++)
            arena[p.in_at + r * p.in_stride + i] = bits_of(tn_fl(value(random) * sizes[(i / p.group + 2 * r) % std::size(sizes)]));
    }
    return arena;
}

std::vector<uint32_t> expected(const tn_vk_group_params &p, uint32_t form, std::vector<uint32_t> arena)
{
    const uint32_t n_padded = (p.n + 255) / 256 * 256, n_whole = (p.n + p.group - 1) / p.group * p.group;
    for (uint32_t r = 0; r < kRows; r++) {
        std::vector<float> x(n_whole), scales(n_padded / p.group, 0.0f);
        for (uint32_t i = 0; i < p.n; i++) x[i] = float_of(arena[p.in_at + r * p.in_stride + i]);
        std::vector<int8_t> q(n_whole);
        std::vector<int32_t> group_sums(n_whole / p.group), sums(n_padded / p.sum_group, 0);
        tn_ref_quant_group(x.data(), n_whole, p.group, q.data(), scales.data(), group_sums.data());
        for (uint32_t i = 0; i < n_whole; i++) sums[i / p.sum_group] += q[i];
        const std::vector<uint32_t> words = words_of_codes(q, n_padded, form);
        memcpy(&arena[p.codes + r * p.codes_stride], words.data(), words.size() * sizeof(uint32_t));
        memcpy(&arena[p.scales + r * p.scales_stride], scales.data(), scales.size() * sizeof(float));
        memcpy(&arena[p.sums + r * p.sums_stride], sums.data(), sums.size() * sizeof(int32_t));
    }
    return arena;
}

class QuantGroup : public testing::TestWithParam<uint32_t>
{
};

TEST_P(QuantGroup, EqualsTheReferenceForEveryLengthAndForm)
{
    ShaderRig rig;
    for (uint32_t group : {32u, 256u}) {
        for (uint32_t n : {1u, 32u, 96u, 255u, 256u, 800u, 2560u, 8192u, 8448u, 20000u}) {
            for (uint32_t form : {kDot, kMul}) {
                const tn_vk_group_params p = params_of(n, group, form);
                const char *shader = (n / 32 + form) % 2 == 0 ? "quant_group" : "quant_group_texel";
                SCOPED_TRACE(testing::Message() << shader << " n " << n << " group " << group << " form " << form);
                Bindings b;
                b.arena = make_arena(p);
                const std::vector<uint32_t> want = expected(p, form, b.arena);
                rig.run(shader, {GetParam(), form}, p, kRows, 1, 1, &b);
                for (uint32_t i = 0; i < want.size(); i++) ASSERT_EQ(b.arena[i], want[i]) << "word " << i;
            }
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Invocations, QuantGroup, testing::Values(8u, 32u, 64u, 128u, 256u));

} // namespace
} // namespace vulkan_test
