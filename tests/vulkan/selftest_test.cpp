// The self-test at open: devices that are right pass in every form, each shader that goes wrong is noticed, and what was found out is kept.
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <map>
#include <set>
#include <sstream>
#include <vector>

extern "C" {
#include "base/alloc.h"
#include "vulkan/shaders/shader_params.h"
#include "vulkan/vk_describe.h"
#include "vulkan/vk_shaders.h"
#include "vulkan/vk_spirv.h"
}

namespace vulkan_test
{
namespace
{

namespace fs = std::filesystem;

// Knows which shader a pipeline has and lets a test leave out its dispatches or change its push constants. One at a time.
struct Saboteur {
    tn_vk_api driver = {}; // as it was
    tn_vk_hooks hooks = {};
    std::map<VkShaderModule, std::string> modules;
    std::map<VkPipeline, std::string> pipelines; // "matmul_ternary_dot 16 1 0"
    std::string bound;
    uint32_t n_dispatches = 0;
    std::string left_out;                                                     // a pipeline
    std::function<void(const std::string &, std::vector<uint32_t> *)> change; // pipeline, push constants

    Saboteur();
    ~Saboteur() { current = nullptr; }
    Saboteur(const Saboteur &) = delete;
    Saboteur &operator=(const Saboteur &) = delete;
    std::set<std::string> names() const
    {
        std::set<std::string> all;
        for (const auto &entry : pipelines) all.insert(entry.second);
        return all;
    }
    static inline Saboteur *current = nullptr;
};

// A module of the library, whatever the device had declared in it.
std::string shader_of(const uint32_t *words, size_t n_words)
{
    std::string name;
    for (uint32_t i = 0; i < tn_vk_n_shaders && name.empty(); i++) {
        for (int declared = 0; declared < 4 && name.empty(); declared++) {
            uint32_t *expected, n_expected;
            EXPECT_EQ(
                tn_vk_spirv_declare(tn_vk_shaders[i].words, tn_vk_shaders[i].n_words, declared & 1, declared & 2, &expected, &n_expected),
                TN_OK);
            if (n_expected == n_words && memcmp(expected, words, n_words * sizeof *words) == 0) name = tn_vk_shaders[i].name;
            tn_free(expected);
        }
    }
    EXPECT_NE(name, "") << "a module that is not the library's";
    return name;
}

VkResult VKAPI_PTR create_module(VkDevice device, const VkShaderModuleCreateInfo *info, const VkAllocationCallbacks *allocator,
                                 VkShaderModule *out)
{
    const VkResult result = Saboteur::current->driver.vkCreateShaderModule(device, info, allocator, out);
    if (result == VK_SUCCESS) Saboteur::current->modules[*out] = shader_of(info->pCode, info->codeSize / sizeof *info->pCode);
    return result;
}

VkResult VKAPI_PTR create_pipelines(VkDevice device, VkPipelineCache cache, uint32_t n, const VkComputePipelineCreateInfo *infos,
                                    const VkAllocationCallbacks *allocator, VkPipeline *out)
{
    const VkResult result = Saboteur::current->driver.vkCreateComputePipelines(device, cache, n, infos, allocator, out);
    for (uint32_t i = 0; result == VK_SUCCESS && i < n; i++) {
        std::string name = Saboteur::current->modules.at(infos[i].stage.module);
        const VkSpecializationInfo *constants = infos[i].stage.pSpecializationInfo;
        for (uint32_t k = 0; k < constants->mapEntryCount; k++)
            name += " " + std::to_string(static_cast<const uint32_t *>(constants->pData)[k]);
        Saboteur::current->pipelines[out[i]] = name;
    }
    return result;
}

void VKAPI_PTR bind_pipeline(VkCommandBuffer commands, VkPipelineBindPoint point, VkPipeline pipeline)
{
    Saboteur::current->bound = Saboteur::current->pipelines.at(pipeline);
    Saboteur::current->driver.vkCmdBindPipeline(commands, point, pipeline);
}

void VKAPI_PTR push_constants(VkCommandBuffer commands, VkPipelineLayout layout, VkShaderStageFlags stages, uint32_t offset, uint32_t n,
                              const void *values)
{
    std::vector<uint32_t> words(n / sizeof(uint32_t));
    memcpy(words.data(), values, n);
    if (Saboteur::current->change) Saboteur::current->change(Saboteur::current->bound, &words);
    Saboteur::current->driver.vkCmdPushConstants(commands, layout, stages, offset, n, words.data());
}

void VKAPI_PTR dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y, uint32_t z)
{
    Saboteur::current->n_dispatches++;
    if (Saboteur::current->bound != Saboteur::current->left_out) Saboteur::current->driver.vkCmdDispatch(commands, x, y, z);
}

void VKAPI_PTR dispatch_indirect(VkCommandBuffer commands, VkBuffer buffer, VkDeviceSize offset)
{
    Saboteur::current->n_dispatches++;
    if (Saboteur::current->bound != Saboteur::current->left_out) Saboteur::current->driver.vkCmdDispatchIndirect(commands, buffer, offset);
}

// New memory is garbage: what the last device left there was right.
VkResult VKAPI_PTR allocate_memory(VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
                                   VkDeviceMemory *out)
{
    const tn_vk_api &driver = Saboteur::current->driver;
    const VkResult result = driver.vkAllocateMemory(device, info, allocator, out);
    void *mapped;
    if (result != VK_SUCCESS || driver.vkMapMemory(device, *out, 0, VK_WHOLE_SIZE, 0, &mapped) != VK_SUCCESS) return result;
    memset(mapped, 0xff, size_t(info->allocationSize));
    driver.vkUnmapMemory(device, *out);
    return VK_SUCCESS;
}

void wrap(void *, tn_vk_level level, tn_vk_api *api)
{
    if (level != TN_VK_LEVEL_DEVICE) return;
    Saboteur::current->driver = *api;
    api->vkAllocateMemory = allocate_memory;
    api->vkCreateShaderModule = create_module;
    api->vkCreateComputePipelines = create_pipelines;
    api->vkCmdBindPipeline = bind_pipeline;
    api->vkCmdPushConstants = push_constants;
    api->vkCmdDispatch = dispatch;
    api->vkCmdDispatchIndirect = dispatch_indirect;
}

Saboteur::Saboteur()
{
    current = this;
    hooks.wrap = wrap;
}

// Opens the first device and closes it again.
tn_status open_once(const tn_backend_host &host)
{
    tn_device *device;
    const tn_status status = vulkan().device_open(&host, 0, &device);
    vulkan().device_close(device);
    return status;
}

bool has_dot(const Host &host)
{
    tn_device_desc desc;
    EXPECT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK);
    return std::string(desc.integer_dot) != "none";
}

class SelfTest : public testing::Test
{
  protected:
    void SetUp() override
    {
        folder_ = fs::path(testing::TempDir()) / ("selftest-" + std::to_string(getpid()));
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }
    std::vector<fs::path> kept() const
    {
        std::vector<fs::path> files;
        for (const auto &entry : fs::directory_iterator(folder_)) {
            if (entry.path().extension() == ".selftest") files.push_back(entry.path());
        }
        return files;
    }
    fs::path folder_;
};

TEST_F(SelfTest, PassesInEveryFormAndOnBothPathsToMemory)
{
    for (const char *kernels : {"mul", "mul_texel"}) {
        for (bool staging : {false, true}) {
            if (staging && std::string(kernels) == "mul") continue;
            tn_vk_hooks hooks = {};
            hooks.force_staging = staging;
            Host host(&hooks);
            host.host.vulkan_kernels = kernels;
            EXPECT_EQ(open_once(host.host), TN_OK) << kernels << ": " << last_error();
        }
    }
    tn_vk_hooks hooks = {};
    hooks.selftest = TN_VK_SELFTEST_ALWAYS; // in steps of many tokens too
    Host host(&hooks);
    if (!has_dot(host)) GTEST_SKIP() << "the device has no integer dot product";
    host.host.vulkan_kernels = "dot";
    EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
}

// The form that a GPU has.
class GpuForms : public SelfTest, public testing::WithParamInterface<const char *>
{
  protected:
    const std::string form_ = GetParam();
};

// Every pipeline that the test has, left out: whatever it should have computed is missing.
TEST_P(GpuForms, NoticesEachKernelThatDoesNothing)
{
    Saboteur saboteur;
    saboteur.hooks.selftest = TN_VK_SELFTEST_ALWAYS;
    Host host(&saboteur.hooks);
    if (form_ == "dot" && !has_dot(host)) GTEST_SKIP() << "the device has no integer dot product";
    host.host.vulkan_kernels = form_.c_str();
    ASSERT_EQ(open_once(host.host), TN_OK) << last_error();
    const std::set<std::string> all = saboteur.names();
    std::vector<std::string> shaders = {"embed_f32",        "embed_f16",        "embed_bf16",        "embed_q8_0",  "embed_q4_0",
                                        "embed_q6_k",       "row_quant",        "quant_group",       "rope_append", "attention_walk",
                                        "matmul_dense_f32", "matmul_dense_f16", "matmul_dense_bf16", "elementwise", "attention_split",
                                        "copy_rows",        "copy_pages",       "rank_groups",       "rank"};
    for (const char *shader : {"matmul_dense_q8_0_", "matmul_dense_q4_0_", "matmul_dense_q6_k_", "matmul_ternary_", "matmul_ternary_gemm_"})
        shaders.push_back(shader + form_);
    for (const std::string &shader : shaders) {
        const auto found = all.lower_bound(shader + " ");
        EXPECT_TRUE(found != all.end() && found->rfind(shader + " ", 0) == 0) << shader << " is not tested";
    }
    tn_device_desc desc;
    ASSERT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK);
    for (const std::string &pipeline : all) {
        saboteur.left_out = pipeline;
        EXPECT_EQ(open_once(host.host), TN_INTERNAL) << pipeline;
        const std::string message = tn_error_last()->message;
        EXPECT_EQ(message.rfind("vulkan0: self-test: ", 0), 0u) << message;
        EXPECT_NE(message.find("than the reference: " + std::string(desc.driver).substr(0, 95) + "; this device is left out"),
                  std::string::npos)
            << message;
    }
    saboteur.left_out.clear();
    EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
}

INSTANTIATE_TEST_SUITE_P(Vulkan, GpuForms, testing::Values("dot", "mul"),
                         [](const testing::TestParamInfo<const char *> &form) { return std::string(form.param); });

// Which of a shader's pipelines: constant `index` has this value.
struct Constant {
    uint32_t index, value;
};
const Constant kAny = {TN_NONE, 0};

struct Change {
    const char *shader;
    Constant constant;
    const char *named; // what the message says
    size_t field;      // byte of the push constants
    uint32_t flip;
};

bool is_of(const Change &change, const std::string &pipeline)
{
    std::istringstream words(pipeline);
    std::string shader;
    words >> shader;
    if (shader != change.shader) return false;
    uint32_t value = 0;
    for (uint32_t i = 0; change.constant.index != TN_NONE && i <= change.constant.index; i++) words >> value;
    return change.constant.index == TN_NONE || value == change.constant.value;
}

#define FIELD(params, name) offsetof(params, name)
const Change kChanges[] = {
    {"row_quant", {1, 0}, "norm (", FIELD(tn_vk_row_params, recip_n), 1u << 20},
    {"row_quant", {1, 1}, "norm_quant, matmul_ternary", FIELD(tn_vk_row_params, eps), 1u << 29},
    {"row_quant", {1, 2}, "quant, matmul_ternary", FIELD(tn_vk_row_params, scales), 4},
    {"quant_group", kAny, "matmul_dense", FIELD(tn_vk_group_params, scales), 4},
    {"matmul_dense_q6_k_dot", kAny, "matmul_dense", FIELD(tn_vk_dense_params, sums), 4},
    {"matmul_dense_f16", kAny, "matmul_dense", FIELD(tn_vk_dense_params, n), 8},
    {"matmul_ternary_dot", kAny, "matmul_ternary", FIELD(tn_vk_ternary_params, s_1), 1},
    {"matmul_ternary_gemm_dot", kAny, "matmul_ternary", FIELD(tn_vk_ternary_params, sums), 1},
    {"matmul_ternary_gemm_dot", {2, 1}, "gives other poison", FIELD(tn_vk_ternary_params, add_node), 1},
    {"matmul_ternary_mul", kAny, "matmul_ternary", FIELD(tn_vk_ternary_params, s_1), 1},
    {"matmul_ternary_gemm_mul", kAny, "matmul_ternary", FIELD(tn_vk_ternary_params, sums), 1},
    {"matmul_ternary_gemm_mul", {2, 1}, "gives other poison", FIELD(tn_vk_ternary_params, add_node), 1},
    {"rope_append", kAny, "rope", FIELD(tn_vk_rope_params, adjacent), 1},
    {"rope_append", kAny, "rope, kv_append, attention", FIELD(tn_vk_rope_params, a_qk), 1u << 10},
    {"attention_split", kAny, "attention", FIELD(tn_vk_attention_params, recip_a_v), 1},
    {"attention_walk", kAny, "attention", FIELD(tn_vk_attention_params, log2e_by_sqrt), 1u << 3},
    {"embed_q6_k", kAny, "embed", FIELD(tn_vk_embed_params, w.scales_at), 1},
    {"elementwise", {1, 0}, "add", FIELD(tn_vk_element_params, b_at), 1},
    {"elementwise", {1, 2}, "glu", FIELD(tn_vk_element_params, b_at), 1},
    {"copy_pages", kAny, "attention", FIELD(tn_vk_pages_params, copies), 1},
};

// One word of what a kernel is told, a little wrong: every third in every run, all of them with TN_VK_CHANGES=all.
TEST_F(SelfTest, NoticesKernelsThatComputeSomethingElse)
{
    Saboteur saboteur;
    saboteur.hooks.selftest = TN_VK_SELFTEST_ALWAYS;
    Host host(&saboteur.hooks);
    if (!has_dot(host)) GTEST_SKIP() << "the device has no integer dot product";
    const size_t step = std::getenv("TN_VK_CHANGES") ? 1 : 3;
    for (size_t i = 0; i < std::size(kChanges); i += step) {
        const Change &change = kChanges[i];
        const bool is_mul = std::string(change.shader).find("_mul") != std::string::npos;
        host.host.vulkan_kernels = is_mul ? "mul" : "dot";
        uint32_t n = 0;
        saboteur.change = [&](const std::string &pipeline, std::vector<uint32_t> *words) {
            if (!is_of(change, pipeline)) return;
            words->at(change.field / 4) ^= change.flip;
            n++;
        };
        EXPECT_EQ(open_once(host.host), TN_INTERNAL) << change.shader << ", " << change.named;
        EXPECT_NE(std::string(tn_error_last()->message).find(change.named), std::string::npos)
            << change.shader << " at " << change.field << ": " << tn_error_last()->message;
        EXPECT_GT(n, 0u) << change.shader;
    }
}

TEST_F(SelfTest, APassIsKeptInTheCacheFolderForTheSameForm)
{
    Saboteur saboteur;
    const std::string folder = folder_.string();
    auto dispatches = [&](const char *kernels) {
        Host host(&saboteur.hooks); // a new process, as far as the library can tell
        host.host.cache_folder = folder.c_str();
        host.host.vulkan_kernels = kernels;
        saboteur.n_dispatches = 0;
        EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
        return saboteur.n_dispatches;
    };
    EXPECT_GT(dispatches("mul_texel"), 0u);
    ASSERT_EQ(kept().size(), 1u);
    EXPECT_EQ(dispatches("mul_texel"), 0u);
    EXPECT_GT(dispatches("mul"), 0u) << "another form";
    ASSERT_EQ(kept().size(), 2u);
    for (const fs::path &file : kept()) std::ofstream(file, std::ios::app) << "x";
    EXPECT_GT(dispatches("mul_texel"), 0u) << "a damaged file";
    EXPECT_EQ(dispatches("mul_texel"), 0u) << "which was written anew";
    saboteur.hooks.selftest = TN_VK_SELFTEST_ALWAYS;
    saboteur.left_out = "copy_rows 256";
    Host host(&saboteur.hooks);
    host.host.cache_folder = folder.c_str();
    host.host.vulkan_kernels = "dot";
    if (has_dot(host)) {
        EXPECT_EQ(open_once(host.host), TN_INTERNAL) << "tested in spite of the file";
        EXPECT_EQ(kept().size(), 2u) << "nothing is kept of a device that failed";
    }
}

TEST_F(SelfTest, AHostRemembersBothAnswersWithoutAFolder)
{
    Saboteur saboteur;
    Host host(&saboteur.hooks);
    host.host.vulkan_kernels = "mul";
    EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
    EXPECT_GT(saboteur.n_dispatches, 0u);
    saboteur.n_dispatches = 0;
    EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
    EXPECT_EQ(saboteur.n_dispatches, 0u);

    host.host.vulkan_kernels = "mul_texel";
    saboteur.left_out = "copy_rows 8";
    tn_device_desc desc;
    ASSERT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK);
    EXPECT_STREQ(desc.unusable, "");
    EXPECT_EQ(open_once(host.host), TN_INTERNAL);
    const std::string message = tn_error_last()->message;
    ASSERT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK);
    EXPECT_EQ(desc.unusable, message.substr(0, 255));
    saboteur.n_dispatches = 0;
    EXPECT_EQ(open_once(host.host), TN_INTERNAL);
    EXPECT_EQ(tn_error_last()->message, message.substr(0, 255));
    EXPECT_EQ(saboteur.n_dispatches, 0u);
    host.host.vulkan_kernels = "mul";
    ASSERT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK);
    EXPECT_STREQ(desc.unusable, "") << "the other form is right";
    EXPECT_EQ(open_once(host.host), TN_OK) << last_error();
}

// What the driver refuses is its status, not the verdict that its bits are wrong; nothing is left behind.
TEST_F(SelfTest, FailuresOfTheDriverAreTheirOwnStatus)
{
    const struct {
        const char *function;
        VkResult result;
        tn_status status;
    } cases[] = {{"vkQueueSubmit", VK_ERROR_DEVICE_LOST, TN_DEVICE_LOST},
                 {"vkAllocateMemory", VK_ERROR_OUT_OF_DEVICE_MEMORY, TN_OUT_OF_MEMORY},
                 {"vkCreateComputePipelines", VK_ERROR_UNKNOWN, TN_INTERNAL},
                 {"vkWaitSemaphores", VK_ERROR_DEVICE_LOST, TN_DEVICE_LOST}};
    FaultLayer faults;
    faults.hooks.selftest = TN_VK_SELFTEST_ONCE;
    {
        Host host(&faults.hooks);
        host.host.vulkan_kernels = "mul_texel";
        for (const auto &each : cases) {
            for (uint32_t nth : {1u, 3u}) {
                faults.fail(each.function, nth, each.result);
                EXPECT_EQ(open_once(host.host), each.status) << each.function << " " << nth << ": " << last_error();
                EXPECT_TRUE(faults.has_failed()) << each.function;
                EXPECT_EQ(std::string(tn_error_last()->message).rfind("vulkan0: self-test: ", 0), 0u) << last_error();
            }
        }
        EXPECT_EQ(open_once(host.host), TN_OK) << "the device is tried again: " << last_error();
    }
    EXPECT_EQ(faults.alive(), std::vector<std::string>());
}

// Each function that the self-test calls fails in its middle.
// Of those that the test calls; memory that cannot be mapped is written through staging instead.
bool can_fail(const std::string &function)
{
    for (const char *begin : {"vkCreate", "vkAllocate", "vkBind", "vkBegin", "vkEnd", "vkQueueSubmit", "vkWaitSemaphores", "vkReset"}) {
        if (function.rfind(begin, 0) == 0) return true;
    }
    return false;
}

TEST_F(SelfTest, NothingIsLeftBehindWhereverItEnds)
{
    FaultLayer faults;
    std::map<std::string, uint32_t> without, with;
    for (bool tests : {false, true}) {
        faults.hooks.selftest = tests ? TN_VK_SELFTEST_ALWAYS : TN_VK_SELFTEST_NEVER;
        Host host(&faults.hooks, false);
        host.host.vulkan_kernels = "dot";
        if (tests && !has_dot(host)) host.host.vulkan_kernels = "mul";
        faults.forget_calls();
        ASSERT_EQ(open_once(host.host), TN_OK) << last_error();
        (tests ? with : without) = faults.calls();
    }
    uint32_t n = 0;
    for (const auto &entry : with) {
        const uint32_t before = without[entry.first];
        if (entry.second == before || !can_fail(entry.first)) continue;
        Host host(&faults.hooks, false);
        host.host.vulkan_kernels = "dot";
        if (!has_dot(host)) host.host.vulkan_kernels = "mul";
        faults.fail(entry.first, before + (entry.second - before + 1) / 2, VK_ERROR_OUT_OF_DEVICE_MEMORY);
        EXPECT_EQ(open_once(host.host), TN_OUT_OF_MEMORY) << entry.first << ": " << last_error();
        EXPECT_TRUE(faults.has_failed()) << entry.first;
        EXPECT_EQ(faults.alive(), std::vector<std::string>()) << entry.first;
        n++;
    }
    EXPECT_GE(n, 8u) << "functions";
}

} // namespace
} // namespace vulkan_test

// The driver's own cache of compiled shaders, so that a machine without one does not compile them for each of hundreds of opened devices.
int main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    const std::string cache = (std::filesystem::path(testing::TempDir()) / ("selftest-shaders-" + std::to_string(getpid()))).string();
    setenv("MESA_SHADER_CACHE_DIR", cache.c_str(), 0);
    const int result = RUN_ALL_TESTS();
    std::filesystem::remove_all(cache);
    return result;
}
