// add and glu on the device against src/ref, bit by bit.
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

class Elementwise : public testing::TestWithParam<uint32_t>
{
};

TEST_P(Elementwise, EqualsTheReferenceAndMarksPoison)
{
    const uint32_t op = GetParam(), n = 333, rows = 5, stride = 336;
    std::mt19937 random(op + 1);
    std::uniform_real_distribution<float> value(-3.0f, 3.0f);
    ShaderRig rig;
    for (uint32_t invocations : {8u, 64u, 256u}) {
        Bindings b;
        std::vector<float> a(rows * n), c(rows * n), want(rows * n);
        b.arena.assign(2 * rows * stride, 0xffffffff);
        for (uint32_t i = 0; i < rows * n; i++) {
            a[i] = i % 17 == 0 ? 0x1p-40f * value(random) : value(random);
            c[i] = i % 13 == 0 ? -a[i] : value(random);
            if (i == 2 * n + 7) a[i] = c[i] = 0x1p57f; // poison, of row 2
            b.arena[i / n * stride + i % n] = bits_of(a[i]);
            b.arena[rows * stride + i / n * stride + i % n] = bits_of(c[i]);
        }
        for (uint32_t r = 0; r < rows; r++) {
            if (op == 0)
                tn_ref_add(&a[r * n], &c[r * n], n, &want[r * n]);
            else
                tn_ref_glu(op == 1 ? TN_GLU_RELU2 : TN_GLU_SILU, &a[r * n], &c[r * n], n, &want[r * n]);
        }
        b.state.assign(rows, 0xffffffff);
        b.out.assign(rows * n, 0xdddddddd);
        tn_vk_element_params p = {};
        p.n = n;
        p.a_stride = p.b_stride = stride;
        p.b_at = rows * stride;
        p.y_stride = n;
        p.node = 42;
        rig.run("elementwise", {invocations, op}, p, (n + invocations - 1) / invocations, rows, 1, &b);
        EXPECT_EQ(memcmp(b.out.data(), want.data(), want.size() * sizeof(float)), 0);
        for (uint32_t r = 0; r < rows; r++) EXPECT_EQ(b.state[r], r == 2 ? 42u : 0xffffffffu);
    }
}

INSTANTIATE_TEST_SUITE_P(Ops, Elementwise, testing::Values(0u, 1u, 2u));

} // namespace
} // namespace vulkan_test
