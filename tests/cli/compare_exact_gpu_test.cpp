// Where bits part between a CPU and GPUs, whose devices fuse ops: the same ops are told of each, and a bit of the file is found.
#include "cli/exact_rig.hpp"

using namespace tn_test;

namespace
{

// The first that can be used of a backend.
std::string device_of(tn_host *host, const std::string &backend)
{
    for (uint32_t i = 0; i < tn_host_device_count(host); i++) {
        tn_device_info info;
        if (tn_host_device_info(host, i, &info) == TN_OK && backend == info.backend && !info.unusable[0]) return info.name;
    }
    return "";
}

class ExactGpu : public ExactSides, public testing::WithParamInterface<const char *>
{
};

} // namespace

TEST_P(ExactGpu, IsComparedWithTheCpuInAllOps)
{
    const std::string whole = write("exact_gpu", exact_model());
    const std::string bent =
        write("exact_gpu_bit", exact_model(), [&](auto &all) { tensor(all, "token_embd.weight").bytes[embedding_byte(tokens, 13)] ^= 1; });
    ExactSide a(whole), same(whole), b(bent);
    const std::string device = device_of(a.host, GetParam());
    if (device.empty()) GTEST_SKIP() << "there is no such device here: ternion devices says why";
    same.devices = b.devices = device;
    Found found = find(a, same);
    EXPECT_EQ(found.result.kind, TN_CLI_EXACT_SAME) << found.sentence;
    EXPECT_EQ(a.kept.rows.size(), exact_n_tokens * 24u);
    for (const auto &[place, row] : a.kept.rows) EXPECT_EQ(same.kept.rows.count(place), 1u) << place.second << " at " << place.first;
    found = find(a, b);
    EXPECT_EQ(found.result.kind, TN_CLI_EXACT_PARTED) << found.sentence;
    EXPECT_STREQ(found.result.op, "embed");
    EXPECT_EQ(found.result.element, 5u);
    EXPECT_EQ(found.result.position, first_of_token(tokens, 13));
}

INSTANTIATE_TEST_SUITE_P(All, ExactGpu, testing::Values("vulkan", "cuda"), [](const auto &test) { return std::string(test.param); });
