// A session whose Vulkan device is lost, or has no memory, at any call that the driver can fail, from the device's opening to the last
// reply: the CPU's logits, one line, and nothing left in the driver.  TN_VK_FAULTS=all: every call of every function instead of a sample.
#include "support/loss_story.hpp"
#include "vulkan/fault_layer.hpp"
#include "vulkan/fault_names.hpp"

#include <filesystem>

namespace vulkan_test
{
namespace
{

using Calls = std::map<std::string, uint32_t>;

struct Way {
    const char *devices;
    bool is_staged; // device memory is not mapped, and what is mapped is flushed
    bool profiles;
};
const Way kMapped = {"vulkan0", false, false}, kStaged = {"cpu0,vulkan0", true, false}, kProfiled = {"vulkan0,cpu0", false, true};

// Functions that no session calls: those that find the driver and its devices, whose failures are vk_step_fault_test's; what a list needs
// that is recorded again for other buffers, of which a session has one of each; and what is looked at before a wait for a GPU alone.
const std::set<std::string> kNotOfSessions = {
    "vkCreateInstance",           "vkEnumerateInstanceVersion", "vkEnumerateInstanceExtensionProperties",
    "vkEnumeratePhysicalDevices", "vkResetDescriptorPool",      "vkGetSemaphoreCounterValue"};
// Whose failure nobody hears of: shaders are compiled where they cannot be kept, memory of the device's own is written through staging.
const std::set<std::string> kSilent = {"vkCreatePipelineCache", "vkGetPipelineCacheData", "vkMapMemory"};
// Steps that find no memory for a mirror go on without it: through staging, one for each way.
const std::set<std::string> kOfMirrors = {"vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory"};
constexpr uint32_t kMirrors = 2;

class VulkanSessionFaults : public testing::Test
{
  protected:
    VulkanSessionFaults()
    {
        story_.cache_folder = testing::TempDir() + "tn_vk_session_faults_" + std::to_string(getpid());
        std::filesystem::create_directories(story_.cache_folder);
    }
    ~VulkanSessionFaults() override
    {
        std::error_code ignored;
        std::filesystem::remove_all(story_.cache_folder, ignored);
    }
    void SetUp() override { setenv("TN_CUDA", "off", 1); } // whose devices would be listed too
    void TearDown() override { unsetenv("TN_CUDA"); }

    // `begin` and `end`: when the device is listed, and before the session ends.
    tn_test::LossTold tell(const Way &way, FaultLayer *layer, const std::function<void()> &begin, const std::function<void()> &end)
    {
        layer->hooks.force_staging = way.is_staged;
        if (way.is_staged)
            layer->change_memory = [](VkPhysicalDeviceMemoryProperties *memory) {
                for (VkMemoryType &type : memory->memoryTypes)
                    type.propertyFlags &= ~VkMemoryPropertyFlags(VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
            };
        story_.on_host = [&](tn_host *host) { tn_host_hook_vulkan(host, &layer->hooks); };
        story_.on_begin = begin;
        story_.on_end = end;
        story_.profiles = way.profiles;
        const tn_test::LossTold told = story_.tell(way.devices);
        EXPECT_EQ(layer->alive(), std::vector<std::string>());
        expect_undisturbed(told, story_);
        return told;
    }
    // Calls of the session's life, and of its end.
    void count(const Way &way, Calls *in_life, Calls *at_end)
    {
        FaultLayer layer;
        const auto begin = [&] { layer.forget_calls(); };
        const auto end = [&] {
            *in_life = layer.calls();
            layer.forget_calls();
        };
        const tn_test::LossTold told = tell(way, &layer, begin, end);
        *at_end = layer.calls();
        EXPECT_TRUE(told.lines.empty()) << told.lines[0];
    }
    void lose(const Way &way, const std::string &function, uint32_t nth, VkResult result)
    {
        FaultLayer layer;
        const tn_test::LossTold told = tell(way, &layer, [&] { layer.fail(function, nth, result); }, {});
        EXPECT_TRUE(layer.has_failed());
        const bool is_lost = result == VK_ERROR_DEVICE_LOST, is_of_mirrors = way.is_staged && !is_lost && kOfMirrors.count(function);
        if (!told.lines.empty() || !(kSilent.count(function) || is_of_mirrors)) return expect_one_line(told, "vulkan0", is_lost);
        EXPECT_EQ(told.unusable, "");
        if (is_of_mirrors) {
            EXPECT_LE(++n_unheard_[function], kMirrors);
        }
    }
    void lose_at_end(const Way &way, const std::string &function, uint32_t nth, VkResult result)
    {
        FaultLayer layer;
        const tn_test::LossTold told = tell(way, &layer, {}, [&] { layer.fail(function, nth, result); });
        EXPECT_TRUE(layer.has_failed());
        EXPECT_TRUE(told.lines.empty()) << told.lines[0];
    }
    // Whether its calls take memory, so that any of them may find none; of others one does.
    static bool takes_memory(const std::string &function)
    {
        for (const char *part : {"Create", "Allocate", "Bind", "Map"})
            if (function.find(part) != std::string::npos) return true;
        return false;
    }
    // All calls; or the last loses the device, and one that takes memory finds none.
    static std::vector<std::pair<uint32_t, VkResult>> faults_of(const std::string &function, uint32_t n)
    {
        std::vector<std::pair<uint32_t, VkResult>> faults;
        for (uint32_t nth = 1; nth <= n; nth++) {
            if (tries_all() || nth == n) faults.emplace_back(nth, VK_ERROR_DEVICE_LOST);
            const bool is_full = tries_all() ? takes_memory(function) || nth == n : function == "vkAllocateMemory" && nth == (n + 1) / 2;
            if (is_full) faults.emplace_back(nth, VK_ERROR_OUT_OF_DEVICE_MEMORY);
        }
        return faults;
    }
    void lose_everywhere(const Way &way, const std::vector<std::string> &functions)
    {
        Calls in_life, at_end;
        count(way, &in_life, &at_end); // has the shaders compiled
        count(way, &in_life, &at_end);
        for (const std::string &function : functions) {
            for (const bool is_end : {false, true}) {
                for (const auto &[nth, result] : faults_of(function, is_end ? at_end[function] : in_life[function])) {
                    SCOPED_TRACE((is_end ? "at the end, call " : "call ") + std::to_string(nth) + " of " + function + ", VkResult " +
                                 std::to_string(result));
                    is_end ? lose_at_end(way, function, nth, result) : lose(way, function, nth, result);
                }
            }
            if (HasFailure()) return;
        }
    }

  private:
    tn_test::LossStory story_;
    Calls n_unheard_; // of those that mirrors take
};

TEST_F(VulkanSessionFaults, ItsCallsAreAllThatMayFail)
{
    Calls all;
    for (const Way &way : {kMapped, kStaged, kProfiled}) {
        Calls in_life, at_end;
        count(way, &in_life, &at_end);
        all.insert(in_life.begin(), in_life.end());
        all.insert(at_end.begin(), at_end.end());
    }
    for (const std::string &function : fallible_functions()) EXPECT_NE(all.count(function), kNotOfSessions.count(function)) << function;
}

TEST_F(VulkanSessionFaults, AnyCallMayFailOfMappedMemory) { lose_everywhere(kMapped, fallible_functions()); }

TEST_F(VulkanSessionFaults, AnyCallMayFailOfStagedMemory) { lose_everywhere(kStaged, fallible_functions()); }

// What no other session calls.
TEST_F(VulkanSessionFaults, AnyCallMayFailThatMeasuresTime) { lose_everywhere(kProfiled, {"vkCreateQueryPool", "vkGetQueryPoolResults"}); }

} // namespace
} // namespace vulkan_test
