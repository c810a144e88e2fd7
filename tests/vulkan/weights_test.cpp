// Weights in a device's buffer: the same words as packing gives alone, at the offset asked for, and what is refused.
#include "kernels/matmul_fixture.h"
#include "vulkan/device_rig.hpp"

extern "C" {
#include "vulkan/vk_pack.h"
}

using namespace tn_test;

namespace vulkan_test
{
namespace
{

std::vector<uint32_t> packed_alone(const tn_weight_source &source)
{
    tn_vk_weight_shape shape;
    EXPECT_EQ(tn_vk_weight_shape_of(&source, &shape), TN_OK) << last_error();
    std::vector<uint32_t> words(shape.n_words);
    tn_vk_pack_sink *sink = [](void *ctx, uint64_t at, const uint32_t *part, uint64_t n) {
        std::copy(part, part + n, static_cast<std::vector<uint32_t> *>(ctx)->begin() + static_cast<int64_t>(at));
        return TN_OK;
    };
    EXPECT_EQ(tn_vk_pack_all(&shape, &source, 1, sink, &words), TN_OK) << last_error();
    return words;
}

Weight ternary(uint32_t N, uint32_t K)
{
    Random random(N + K);
    std::vector<uint8_t> rows(size_t{N} * K);
    for (auto &v : rows) v = static_cast<uint8_t>(random.range(-1, 1));
    return Weight(TN_WEIGHT_TERNARY, TN_DTYPE_NONE, N, K, std::move(rows), TN_SCALE_ROW, std::vector<float>(N, 0.5f));
}

TEST(VkWeights, ArePackedIntoTheBufferWhereTheyWereAskedFor)
{
    Host host;
    OpenDevice device(host);
    const Weight weight = ternary(5003, 2560); // several bands and threads
    tn_weight_layout layout;
    ASSERT_EQ(vulkan().weight_layout(device.get(), &weight.source(), &layout), TN_OK) << last_error();
    EXPECT_EQ(layout.alignment_bytes, 256u);
    EXPECT_STREQ(layout.name, "t2x16");
    const std::vector<uint32_t> want = packed_alone(weight.source());
    ASSERT_EQ(layout.size_bytes, want.size() * 4);
    tn_buffer *buffer = nullptr;
    ASSERT_EQ(vulkan().buffer_create(device.get(), layout.size_bytes + 512, &buffer), TN_OK) << last_error();
    ASSERT_EQ(vulkan().weight_pack(device.get(), &weight.source(), buffer, 256), TN_OK) << last_error();
    std::vector<uint32_t> have(want.size() + 128);
    ASSERT_EQ(vulkan().buffer_read(buffer, 0, have.data(), have.size() * 4), TN_OK) << last_error();
    EXPECT_EQ(std::memcmp(&have[64], want.data(), want.size() * 4), 0);
    for (size_t i = 0; i < 64; i++) EXPECT_EQ(have[i] | have[have.size() - 1 - i], 0u) << "beside the weight";
    EXPECT_EQ(vulkan().weight_pack(device.get(), &weight.source(), buffer, 128), TN_INVALID_ARGUMENT);
    EXPECT_EQ(vulkan().weight_pack(device.get(), &weight.source(), buffer, 1024), TN_INVALID_ARGUMENT) << "past the end";
    EXPECT_EQ(vulkan().weight_pack(device.get(), &weight.source(), nullptr, 0), TN_INVALID_ARGUMENT);
    vulkan().buffer_destroy(buffer);
}

} // namespace
} // namespace vulkan_test
