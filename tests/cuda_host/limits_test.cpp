// What a device has too little of: shared memory for wide rows, blocks along a side of a grid, blocks for attention of few tokens.
#include "conformance/cases.h"
#include "cuda_host/device_rig.hpp"

#include <set>

extern "C" {
#include "backend/builtin.h"
#include "base/alloc.h"
#include "cuda/cuda_launch.h"
}

namespace conformance
{

const tn_cuda_hooks *cuda_hooks_of(const CudaHooks &)
{
    static const tn_cuda_hooks *const hooks = [] {
        auto *made = new tn_cuda_hooks();
        made->get_proc = cuda_driver::get_proc;
        made->is_stand_in = made->skips_selftest = made->fills_scratch = true;
        return made;
    }();
    return hooks;
}
const tn_vk_hooks *vulkan_hooks_of(const VulkanHooks &) { return nullptr; }

} // namespace conformance

namespace cuda_test
{
namespace
{

using namespace conformance;

class Limits : public testing::Test
{
  protected:
    ~Limits() override
    {
        shared().close();
        EXPECT_EQ(cuda_driver::alive(), Lines());
        EXPECT_EQ(cuda_driver::complaints(), Lines());
    }
    static Target device_of(int capability, int n_sms = 4)
    {
        cuda_driver::DriverOptions options;
        options.capability = capability;
        options.n_sms = n_sms;
        cuda_driver::reset(options);
        Target target;
        target.name = "cuda:host";
        target.backend = &tn_cuda_backend_table;
        return target;
    }
};

// A norm of rows of so many columns in front of a ternary product, and one behind it.
struct WideNet {
    explicit WideNet(uint32_t width) : net(width)
    {
        const uint32_t x = net.embed(3, width);
        out = net.sum(x, net.ternary(net.norm_quant(net.ternary(net.norm_quant(x), 40)), width));
        MUST(tn_graph_check(net.graph));
    }
    Net net;
    uint32_t out;
};

void check_width(const Target &target, uint32_t n_cols, bool fits)
{
    Device device(target);
    EXPECT_EQ(tn_cuda_has_shared(tn_cuda_device_of(device.get()), (n_cols + 127) / 128 * 128), fits);
    const WideNet wide(n_cols);
    const Packed packed(device, wide.net);
    RefNet reference(wide.net);
    Program program(device, wide.net, packed, Bounds(), 0, wide.net.graph->n_nodes, TN_NONE, wide.out);
    const Token token = {1, 0, 0};
    EXPECT_EQ(same_rows("a row", program.run(make_step({token}, Bounds(), {0})), {reference.run(token).f32.at(wide.out)}), "");
}

// The codes of a row lie in shared memory, of which a block has 64 KiB (Turing) or 99 (cards of Ampere and later without HBM), less what
// the kernel has for itself: the widest rows that fit, and the first that do not. (With HBM there are 163 and 227, more than exact sums
// allow.)
TEST_F(Limits, RowsOfAnyWidthHaveTheBitsOfTheReference)
{
    const std::pair<int, uint32_t> most[] = {{75, 61184}, {86, 97024}, {89, 97024}, {120, 97024}};
    for (const auto &[capability, width] : most) {
        for (const uint32_t n_cols : {width, width + 1}) {
            SCOPED_TRACE(std::to_string(n_cols) + " columns, sm_" + std::to_string(capability));
            check_width(device_of(capability), n_cols, n_cols == width);
            EXPECT_EQ(cuda_driver::complaints(), Lines());
            shared().close();
        }
    }
}

// Two norms of a value that a product stores: what it leaves as the largest is by the gains of one norm alone.
struct TwoNormsNet {
    TwoNormsNet() : net(7)
    {
        const uint32_t x = net.embed(50, 200), stored = net.sum(x, net.ternary(net.norm_quant(x), 200));
        out = net.sum(net.ternary(net.norm_quant(stored), 72), net.ternary(net.norm_quant(stored), 72));
        MUST(tn_graph_check(net.graph));
    }
    Net net;
    uint32_t out;
};

TEST_F(Limits, TwoNormsOfOneValueHaveTheBitsOfTheReference)
{
    Device device(device_of(90));
    const TwoNormsNet two;
    const Packed packed(device, two.net);
    RefNet reference(two.net);
    Program program(device, two.net, packed, Bounds(), 0, two.net.graph->n_nodes, TN_NONE, two.out);
    for (int32_t i = 0; i < 5; i++) {
        const Token token = {i, 0, 0};
        EXPECT_EQ(same_rows("a row", program.run(make_step({token}, Bounds(), {0})), {reference.run(token).f32.at(two.out)}), "") << i;
    }
}

// One layer with rows of all kinds of values, attention over heads of 16, and wanted rows.
struct LayerNet {
    explicit LayerNet(uint32_t n_kv_heads = 1) : net(31)
    {
        const uint32_t n_heads = 2 * n_kv_heads, head_dim = 16, width = n_heads * head_dim;
        net.graph->n_layers = 1;
        net.graph->n_kv_heads = n_kv_heads;
        net.graph->head_dim = head_dim;
        const uint32_t x = net.embed(50, width);
        net.layer = 0;
        const uint32_t table = net.table_weight(512, head_dim), a = net.norm_quant(x);
        const uint32_t k = net.rope(net.ternary(a, n_kv_heads * head_dim), table, TN_ROPE_HALVES);
        net.kv_append(k, net.ternary(a, n_kv_heads * head_dim), n_heads);
        const uint32_t y = net.attention(net.rope(net.ternary(a, width), table, TN_ROPE_HALVES), n_heads);
        const uint32_t z = net.sum(x, y);
        net.layer = TN_LAYER_HEAD;
        out = net.norm(net.copy(z));
        MUST(tn_graph_check(net.graph));
    }
    Net net;
    uint32_t out;
};

Bounds bounds_of(uint32_t n_tokens, uint32_t n_seq_pages)
{
    Bounds bounds;
    bounds.n_tokens_max = n_tokens;
    bounds.n_logits_max = std::min(n_tokens, 128u);
    bounds.n_seq_pages_max = n_seq_pages;
    return bounds;
}

TEST_F(Limits, StepsMayHaveMoreTokensThanAGridIsHigh)
{
    Device device(device_of(90));
    LayerNet layer;
    Packed packed(device, layer.net);
    const Bounds bounds = bounds_of(70000, 1);
    Program program(device, layer.net, packed, bounds, 0, layer.net.graph->n_nodes, TN_NONE, layer.out);
    std::vector<Token> tokens;
    std::vector<std::vector<float>> want;
    RefNet reference(layer.net);
    for (uint32_t i = 0; i < 3; i++) {
        tokens.push_back({int32_t(7 * i), 0, i});
        want.push_back(reference.run(tokens.back()).f32.at(layer.out));
    }
    EXPECT_EQ(same_rows("3 tokens", program.run(step_of(tokens, 0, 3, bounds, {0})), want), "");
}

// The launches for steps of up to n_tokens, of a program that does not exist yet.
struct Launches {
    Launches(const Device &device, const Net &net, uint32_t out, const Bounds &bounds, uint32_t n_tokens)
    {
        tn_program_desc desc = {};
        tn_cuda_buffer later = {};
        later.base = {device.get(), UINT64_MAX};
        later.device = tn_cuda_device_of(device.get());
        std::vector<tn_packed_weight> weights(net.graph->n_weights);
        for (uint32_t i = 0; i < weights.size(); i++) {
            weights[i].buffer = &later.base;
            MUST(device.api().weight_layout(device.get(), &net.graph->weights[i], &weights[i].layout));
        }
        desc.graph = net.graph;
        desc.n_nodes = net.graph->n_nodes;
        desc.in_value = TN_NONE;
        desc.out_value = out;
        desc.weights = weights.data();
        desc.n_layers = net.graph->n_layers;
        desc.limits = bounds.limits();
        tn_desc_sketch sketch;
        MUST(tn_desc_sketch_init(&desc, &later.base, &sketch));
        tn_cuda_compile_params params = {};
        params.device = later.device;
        params.desc = &sketch.desc;
        params.n_tokens_max = n_tokens;
        params.sizes_only = true;
        MUST(tn_step_layout_of(&desc.limits, &params.step_layout));
        status = tn_cuda_compile(&params, &list);
        tn_desc_sketch_deinit(&sketch);
    }
    ~Launches() { tn_free(list.launches); }
    Launches(const Launches &) = delete;
    Launches &operator=(const Launches &) = delete;
    // "attention_split 4 x 5 x 16" for each launch whose name begins so.
    std::vector<std::string> named(const std::string &begin) const
    {
        std::vector<std::string> found;
        for (uint32_t i = 0; i < list.n_launches; i++) {
            const tn_cuda_launch &l = list.launches[i];
            const std::string name = tn_cuda_kernels[l.kernel].name;
            if (name.rfind(begin, 0) == 0)
                found.push_back(name + " " + std::to_string(l.grid[0]) + " x " + std::to_string(l.grid[1]) + " x " +
                                std::to_string(l.grid[2]));
        }
        return found;
    }
    tn_cuda_list list = {};
    tn_status status;
};

TEST_F(Limits, StepsThatNoGridIsLargeEnoughForAreRefusedWithTheNumbers)
{
    Device device(device_of(80));
    const LayerNet layer;
    const uint32_t most = 65535 * TN_CUDA_MANY_TOKENS;
    EXPECT_EQ(Launches(device, layer.net, layer.out, bounds_of(most, 1), most).status, TN_OK) << last_error();
    EXPECT_EQ(Launches(device, layer.net, layer.out, bounds_of(most + 1, 1), most + 1).status, TN_UNSUPPORTED);
    EXPECT_EQ(last_error(),
              "UNSUPPORTED cuda:host: steps of 4194241 tokens need 3 x 65536 x 1 blocks of ternary_many_mma, of which a GPU takes "
              "2147483647 x 65535 x 65535: ask for steps of fewer tokens");
}

// Blocks of attention on 132 multiprocessors for 5 KV heads: of steps of few tokens with long contexts there are enough for the device.
class AttentionBlocks : public Limits
{
  protected:
    using Names = std::vector<std::string>;
    Names blocks(Device &device, uint32_t n_tokens, uint32_t n_seq_pages)
    {
        const Launches launches(device, layer_.net, layer_.out, bounds_of(1024, n_seq_pages), n_tokens);
        EXPECT_EQ(launches.status, TN_OK) << last_error();
        return launches.named("attention");
    }

  private:
    const LayerNet layer_{5};
};

TEST_F(AttentionBlocks, FillADeviceWithMatrixInstructions)
{
    Device device(device_of(90, 132));
    EXPECT_EQ(blocks(device, 1, 256), Names{"attention_few_mma 1 x 5 x 53"});
    EXPECT_EQ(blocks(device, 8, 256), Names{"attention_few_mma 8 x 5 x 9"});
    EXPECT_EQ(blocks(device, 16, 256), Names{"attention_few_mma 16 x 5 x 4"});
    EXPECT_EQ(blocks(device, 16, 4), Names{"attention_few_mma 16 x 5 x 4"});
    EXPECT_EQ(blocks(device, 32, 256), Names{"attention_few_mma 32 x 5 x 2"});
    EXPECT_EQ(blocks(device, 64, 256), Names{"attention_few_mma 64 x 5 x 1"});
    EXPECT_EQ(blocks(device, 32, 32), (Names{"attention_tile_mma 264 x 1 x 1", "attention_few_mma 32 x 5 x 2"}));
    EXPECT_EQ(blocks(device, 64, 32), (Names{"attention_tile_mma 264 x 1 x 1", "attention_few_mma 64 x 5 x 1"}));
    EXPECT_EQ(blocks(device, 128, 256), (Names{"attention_tile_mma 264 x 1 x 1", "attention_few_mma 72 x 5 x 1"}));
    // As many row tiles as multiprocessors: one for each. 130 are less, 135 and 320 are not.
    EXPECT_EQ(blocks(device, 416, 32), (Names{"attention_tile_mma 264 x 1 x 1", "attention_few_mma 78 x 5 x 1"}));
    EXPECT_EQ(blocks(device, 432, 32), (Names{"attention_tile_mma 135 x 1 x 1", "attention_few_mma 54 x 5 x 1"}));
    EXPECT_EQ(blocks(device, 1024, 32), (Names{"attention_tile_mma 320 x 1 x 1", "attention_few_mma 64 x 5 x 1"}));
    // 32 tokens' parts of 80000 chunks would take 2 GB.
    EXPECT_EQ(blocks(device, 32, 80000), (Names{"attention_tile_mma 10 x 1 x 1", "attention_few_mma 32 x 5 x 1"}));
}

// As many blocks as a multiprocessor has at once: of 100 KiB of shared memory, of 164, and with more registers for each.
TEST_F(AttentionBlocks, AreNoMoreThanMultiprocessorsHaveAtOnce)
{
    const struct {
        int capability, n_sms;
        Names one_of_many, several, prompt;
    } cases[] = {
        {86,
         84,
         {"attention_few_mma 1 x 5 x 34"},
         {"attention_few_mma 8 x 5 x 2"},
         {"attention_tile_mma 84 x 1 x 1", "attention_few_mma 16 x 5 x 1"}},
        {80,
         108,
         {"attention_few_mma 1 x 5 x 44"},
         {"attention_few_mma 8 x 5 x 5"},
         {"attention_tile_mma 216 x 1 x 1", "attention_few_mma 40 x 5 x 1"}},
        {100,
         148,
         {"attention_few_mma 1 x 5 x 60"},
         {"attention_few_mma 8 x 5 x 11"},
         {"attention_tile_mma 148 x 1 x 1", "attention_few_mma 88 x 5 x 1"}},
    };
    for (const auto &c : cases) {
        SCOPED_TRACE("sm_" + std::to_string(c.capability));
        Device device(device_of(c.capability, c.n_sms));
        EXPECT_EQ(blocks(device, 1, 256), c.one_of_many);
        EXPECT_EQ(blocks(device, 8, 256), c.several);
        EXPECT_EQ(blocks(device, 128, 256), c.prompt);
        shared().close();
    }
}

TEST_F(AttentionBlocks, FillADeviceWithout)
{
    Device device(device_of(75, 132));
    EXPECT_EQ(blocks(device, 1, 256), Names{"attention_split 53 x 5 x 1"});
    EXPECT_EQ(blocks(device, 8, 256), Names{"attention_split 7 x 5 x 8"});
    EXPECT_EQ(blocks(device, 16, 8), Names{"attention_split 4 x 5 x 16"});
    EXPECT_EQ(blocks(device, 64, 256), Names{"attention_split 1 x 5 x 64"});
    EXPECT_EQ(blocks(device, 64, 32), Names{"attention_tile 4 x 5 x 13"});
    EXPECT_EQ(blocks(device, 64, 80000), Names{"attention_tile 4 x 5 x 13"}); // 64 tokens' parts would take 4 GB
}

// Steps of one sequence over borders of chunks.
void check_steps(const Target &target, uint32_t n_seq_pages)
{
    Device device(target);
    const LayerNet layer(2);
    const Packed packed(device, layer.net);
    const Bounds bounds = bounds_of(64, n_seq_pages);
    Program program(device, layer.net, packed, bounds, 0, layer.net.graph->n_nodes, TN_NONE, layer.out);
    RefNet reference(layer.net);
    Random random(41);
    const std::vector<uint32_t> pages = shuffled_pages(bounds, &random);
    uint32_t position = 0;
    for (const uint32_t n : {64u, 60u, 9u, 16u, 17u, 33u, 64u, 12u, 1u, 30u}) {
        std::vector<Token> tokens;
        std::vector<std::vector<float>> want;
        for (uint32_t i = 0; i < n; i++) {
            tokens.push_back({int32_t(random.below(50)), 0, position++});
            want.push_back(reference.run(tokens.back()).f32.at(layer.out));
        }
        EXPECT_EQ(same_rows(std::to_string(n) + " tokens", program.run(step_of(tokens, 0, n, bounds, pages)), want), "")
            << "before position " << position;
    }
}

// With room for long contexts, and without.
TEST_F(Limits, StepsOf9To64TokensHaveTheBitsOfTheReference)
{
    for (const int capability : {75, 90}) {
        for (const uint32_t n_seq_pages : {3u, 40u}) {
            SCOPED_TRACE(std::to_string(n_seq_pages) + " pages, sm_" + std::to_string(capability));
            check_steps(device_of(capability), n_seq_pages);
            EXPECT_EQ(cuda_driver::complaints(), Lines());
            shared().close();
        }
    }
}

// Kernels of a layer of steps of one token and of up to 16: the first layer's norm is made with the embedding, and behind the last one
// there is none that joins.
TEST_F(Limits, ALayerHasFiveKernelsOfOneTokenAndTenOfFew)
{
    enum { BESIDE = 7 }; // begin, embedding, wanted rows, the last norm, the head's quantisation and product, end
    Device device(device_of(90));
    const Model model(3);
    for (const auto &[n_tokens, n_kernels] :
         {std::pair(1u, kLayers * 5), std::pair(8u, kLayers * 10 - 1), std::pair(16u, kLayers * 10 - 1)}) {
        const Launches launches(device, model.net, model.logits, bounds_of(64, 1), n_tokens);
        ASSERT_EQ(launches.status, TN_OK) << last_error();
        EXPECT_EQ(launches.list.n_launches, n_kernels + BESIDE) << n_tokens << " tokens";
    }
}

// Of steps of one token each product takes the largest value of its row from the kernel that stored it, which begin has set to 0. The
// embedding leaves none, and attention without matrix instructions.
TEST_F(Limits, RowsOfOneTokenHaveTheirLargestValuesLeftForWhoMakesTheirCodes)
{
    const Model model(3);
    for (const int capability : {90, 75}) {
        Device device(device_of(capability));
        const Launches launches(device, model.net, model.logits, bounds_of(64, 1), 1);
        ASSERT_EQ(launches.status, TN_OK) << last_error();
        std::set<uint64_t> left;
        uint32_t n_taken = 0, n_not = 0;
        const auto leave = [&](const tn_cuda_largest &next) {
            if (next.words != 0) {
                EXPECT_TRUE(left.insert(next.words).second);
            }
        };
        for (uint32_t i = 0; i < launches.list.n_launches; i++) {
            const tn_cuda_launch &l = launches.list.launches[i];
            const std::string name = tn_cuda_kernels[l.kernel].name;
            tn_cuda_attention_params attention;
            tn_cuda_ternary_params product;
            std::memcpy(&attention, l.params, sizeof attention);
            std::memcpy(&product, l.params, sizeof product);
            if (name == "attention_one_mma") leave(attention.next);
            if (name.rfind("ternary_one", 0) != 0) continue;
            if (product.x_largest != 0) {
                EXPECT_EQ(left.erase(product.x_largest), 1u) << i;
            }
            if (product.before.op != TN_CUDA_ROW_NONE) ++(product.x_largest != 0 ? n_taken : n_not);
            leave(product.next);
        }
        EXPECT_EQ(left.size(), 0u);
        EXPECT_EQ(n_not, 1 + (capability == 90 ? 0 : kLayers)); // nor does the embedding
        EXPECT_EQ(n_taken + n_not, kLayers * 4);
        tn_cuda_begin_params begin;
        std::memcpy(&begin, launches.list.launches[0].params, sizeof begin);
        EXPECT_EQ(begin.n_largest, n_taken * TN_CUDA_LARGEST_WORDS);
        shared().close();
    }
}

TEST(LimitsOfDevices, OneWithoutMultiprocessorsIsListedAndNotOpened)
{
    cuda_driver::DriverOptions options;
    options.n_sms = 0;
    cuda_driver::reset(options);
    const Host host;
    tn_device_desc desc;
    tn_device *device = nullptr;
    ASSERT_EQ(tn_cuda_device_describe(&host.host, 0, &desc), TN_OK) << last_error();
    EXPECT_STREQ(desc.unusable, "its driver says that it has no multiprocessors");
    EXPECT_EQ(tn_cuda_device_open(&host.host, 0, &device), TN_UNAVAILABLE);
    EXPECT_EQ(last_error(), "UNAVAILABLE device cuda:host (Emulated GPU) cannot be used: its driver says that it has no multiprocessors");
    cuda_driver::reset();
}

// Its advice is not that of a model which is too large, and the device is named once.
TEST(LimitsOfDevices, ASelfTestWithoutMemorySaysSo)
{
    for (const char *function : {"cuMemAlloc", "cuMemHostAlloc"}) {
        cuda_driver::reset();
        Host host;
        host.hooks.skips_selftest = false;
        tn_device *device = nullptr;
        cuda_driver::fail(function, 3, CUDA_ERROR_OUT_OF_MEMORY); // behind the two that staging has
        EXPECT_EQ(tn_cuda_backend_table.device_open(&host.host, 0, &device), TN_UNAVAILABLE);
        EXPECT_EQ(last_error(),
                  "UNAVAILABLE cuda:host: its self-test finds no memory on the device or in the host, where it needs some MiB of "
                  "each (CUDA_ERROR_OUT_OF_MEMORY): end other programs that use them, or choose another device");
        EXPECT_STREQ(tn_error_last()->device, "cuda:host");
        EXPECT_EQ(device, nullptr);
    }
    cuda_driver::reset();
    Host host;
    host.hooks.skips_selftest = false;
    tn_device *device = nullptr;
    cuda_driver::fail("cuGraphLaunch", 2, CUDA_ERROR_LAUNCH_FAILED);
    EXPECT_EQ(tn_cuda_backend_table.device_open(&host.host, 0, &device), TN_DEVICE_LOST);
    EXPECT_EQ(last_error().find("DEVICE_LOST cuda:host: self-test: starting a step failed"), 0u) << last_error();
}

} // namespace
} // namespace cuda_test
