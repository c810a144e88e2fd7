// A kernel that computes wrongly is found by the bits that part from the CPU's: the op named is one that the kernel computes.
#include "cli/exact_rig.hpp"
#include "cuda_host/device_rig.hpp"

#include <optional>
#include <set>

using namespace tn_test;

namespace cuda_test
{
namespace
{

class CudaExact : public DriverTest
{
  protected:
    void SetUp() override
    {
        setenv("TN_VULKAN", "off", 1); // whose devices would be listed too
        const std::string path = exact_path("exact_cuda", exact_model());
        cpu_.emplace(path);
        gpu_.emplace(path);
        std::remove(path.c_str());
        tn_host_hook_cuda(gpu_->host, &stand_in_.hooks);
        gpu_->devices = "cuda:host";
    }
    void TearDown() override
    {
        gpu_.reset(); // closes the device
        unsetenv("TN_VULKAN");
    }

    // With this kernel computing wrongly from its first launch on; "": none.
    Found find(const std::string &kernel, uint32_t n_feed)
    {
        cuda_driver::options().bent = kernel;
        gpu_->n_ubatch = exact_n_tokens;
        const uint32_t n_tokens = n_feed < 3 ? 3 : n_feed;
        const Found found = find_exact({{cpu_->side("cpu0"), gpu_->side("cuda0")}, tokens_.data(), n_tokens, 0, n_feed, {}});
        cuda_driver::options().bent = "";
        return found;
    }

  private:
    Host stand_in_;
    std::optional<ExactSide> cpu_, gpu_;
    std::vector<int32_t> tokens_ = exact_tokens(exact_n_tokens, exact_model().n_vocab);
};

struct BentKernel {
    const char *kernel;
    uint32_t n_feed; // tokens a step, by which the kernel is chosen
    tn_cli_exact_kind kind;
    std::set<std::string> ops; // that it computes
};

const BentKernel kKernels[] = {
    {"embed_f16", 20, TN_CLI_EXACT_PARTED, {"embed"}},
    {"row", 20, TN_CLI_EXACT_PARTED, {"q", "mid", "glu", "out", "norm"}},
    {"row", 1, TN_CLI_EXACT_PARTED, {"q", "mid", "glu", "out", "norm"}},
    {"ternary_one_bmma", 1, TN_CLI_EXACT_PARTED, {"q"}},
    {"ternary_one_glu_bmma", 1, TN_CLI_EXACT_PARTED, {"glu"}},
    {"ternary_few8_mma", 5, TN_CLI_EXACT_PARTED, {"q"}},
    {"ternary_few32_mma", 20, TN_CLI_EXACT_PARTED, {"q"}},
    {"rope_append", 5, TN_CLI_EXACT_PARTED, {"q", "k", "attn"}},
    {"attention_few_mma", 1, TN_CLI_EXACT_PARTED, {"attn"}},
    {"attention_tile_mma", 20, TN_CLI_EXACT_PARTED, {"attn"}},
    {"attention_one_mma", 1, TN_CLI_EXACT_UNTRACED, {"logits"}}, // does RoPE and the append too, which a trace has apart
    {"dense_f16", 20, TN_CLI_EXACT_PARTED, {"logits"}},
};

} // namespace

TEST_F(CudaExact, AKernelThatComputesWronglyIsFoundByTheOpThatItComputes)
{
    EXPECT_EQ(find("", exact_n_tokens).result.kind, TN_CLI_EXACT_SAME);
    for (const BentKernel &k : kKernels) {
        const Found found = find(k.kernel, k.n_feed);
        EXPECT_EQ(found.result.kind, k.kind) << k.kernel << ": " << found.sentence;
        EXPECT_EQ(k.ops.count(found.result.op), 1u) << k.kernel << ": " << found.sentence;
        EXPECT_EQ(found.result.position, 0u) << k.kernel;
        EXPECT_EQ(found.result.layer, k.ops.count("embed") || k.ops.count("logits") || std::string(found.result.op) == "norm" ? -1 : 0)
            << k.kernel << ": " << found.sentence;
    }
}

} // namespace cuda_test
