// Finding, describing and opening devices: what is absent, what cannot be used, what is used of what there is.
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <map>

extern "C" {
#include "vulkan/vk_describe.h"
}

namespace vulkan_test
{
namespace
{

tn_device_desc describe(const Host &host, uint32_t index = 0)
{
    tn_device_desc desc;
    EXPECT_EQ(vulkan().device_describe(&host.host, index, &desc), TN_OK) << last_error();
    return desc;
}

uint32_t count(const Host &host)
{
    uint32_t n = 99;
    EXPECT_EQ(vulkan().device_count(&host.host, &n), TN_OK) << last_error();
    return n;
}

// ---- absent ----

struct Absence {
    const char *name, *reason;
    void (*arrange)(FaultLayer *layer, tn_backend_host *host);
};

PFN_vkVoidFunction VKAPI_PTR nothing(VkInstance, const char *) { return nullptr; }

class Absent : public testing::TestWithParam<Absence>
{
};

TEST_P(Absent, IsNoFailureAndHasAReason)
{
    FaultLayer layer;
    {
        Host host(&layer.hooks);
        GetParam().arrange(&layer, &host.host);
        EXPECT_EQ(count(host), 0u);
        EXPECT_STREQ(host.keep.absent, GetParam().reason);
        tn_device_desc desc;
        tn_device *device = nullptr;
        EXPECT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_UNAVAILABLE);
        EXPECT_EQ(vulkan().device_open(&host.host, 0, &device), TN_UNAVAILABLE);
        EXPECT_EQ(last_error(), std::string("UNAVAILABLE Vulkan is not available: ") + GetParam().reason);
        EXPECT_EQ(device, nullptr);
    }
    EXPECT_TRUE(layer.alive().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, Absent,
    testing::Values(
        Absence{"Loader", "the loader (libvulkan.so.1) is not installed",
                [](FaultLayer *layer, tn_backend_host *) { layer->hooks.no_loader = true; }},
        Absence{"Functions", "the loader has no vkCreateInstance: update it to Vulkan 1.2",
                [](FaultLayer *layer, tn_backend_host *) { layer->hooks.get_proc_addr = nothing; }},
        Absence{"Version", "the loader is of Vulkan 1.1: update it to 1.2",
                [](FaultLayer *layer, tn_backend_host *) { layer->change_version = [](uint32_t *v) { *v = VK_API_VERSION_1_1; }; }},
        Absence{"Driver", "no Vulkan driver is installed",
                [](FaultLayer *layer, tn_backend_host *) { layer->fail("vkCreateInstance", 1, VK_ERROR_INCOMPATIBLE_DRIVER); }},
        Absence{"Memory", "no instance could be made: VK_ERROR_OUT_OF_HOST_MEMORY (-1)",
                [](FaultLayer *layer, tn_backend_host *) { layer->fail("vkCreateInstance", 1, VK_ERROR_OUT_OF_HOST_MEMORY); }},
        Absence{"Device", "no driver found a device",
                [](FaultLayer *layer, tn_backend_host *) { layer->fail("vkEnumeratePhysicalDevices", 1, VK_ERROR_INITIALIZATION_FAILED); }},
        Absence{"List", "devices could not be listed: VK_ERROR_OUT_OF_HOST_MEMORY (-1)",
                [](FaultLayer *layer, tn_backend_host *) { layer->fail("vkEnumeratePhysicalDevices", 2, VK_ERROR_OUT_OF_HOST_MEMORY); }},
        Absence{"Wish", "switched off", [](FaultLayer *, tn_backend_host *host) { host->vulkan_off = true; }}),
    [](const testing::TestParamInfo<Absence> &absence) { return absence.param.name; });

TEST(Instance, IsMadeOnceForAHostThatKeepsIt)
{
    FaultLayer layer;
    {
        Host host(&layer.hooks);
        EXPECT_GE(count(host), 1u);
        describe(host);
        const OpenDevice a(host), b(host);
        EXPECT_EQ(layer.calls().at("vkCreateInstance"), 1u);
    }
    EXPECT_TRUE(layer.alive().empty());
    {
        const Host host(&layer.hooks, false);
        count(host);
        describe(host);
        EXPECT_TRUE(layer.alive().empty());
        const OpenDevice device(host);
        EXPECT_EQ(layer.calls().at("vkCreateInstance"), 4u);
    }
    EXPECT_TRUE(layer.alive().empty());
}

TEST(Instance, WithoutPortabilityEnumerationIsMadeAllTheSame)
{
    FaultLayer layer;
    for (uint32_t nth : {1u, 2u}) {
        const Host host(&layer.hooks);
        layer.fail("vkEnumerateInstanceExtensionProperties", nth, VK_ERROR_OUT_OF_HOST_MEMORY);
        EXPECT_GE(count(host), 1u);
        EXPECT_TRUE(layer.has_failed());
    }
}

TEST(Description, NamesTheDeviceItsDriverAndWhatItHas)
{
    FaultLayer layer;
    const Host host(&layer.hooks);
    layer.change_properties = [](VkPhysicalDeviceProperties *p) {
        snprintf(p->deviceName, sizeof p->deviceName, "%s", std::string(255, 'x').c_str());
    };
    const tn_device_desc desc = describe(host);
    EXPECT_STREQ(desc.name, "vulkan0");
    EXPECT_EQ(desc.description, std::string(127, 'x'));
    EXPECT_STREQ(desc.isa, "");
    EXPECT_NE(desc.driver[0], '\0');
    EXPECT_GT(desc.memory_bytes, 0u);
    EXPECT_GT(desc.memory_free_bytes, 0u);
    EXPECT_LE(desc.memory_free_bytes, desc.memory_bytes);
    EXPECT_GE(desc.subgroup_size, 1u);
    EXPECT_STREQ(desc.unusable, "");
    tn_device_desc none;
    EXPECT_EQ(vulkan().device_describe(&host.host, count(host), &none), TN_INVALID_ARGUMENT);
    EXPECT_EQ(none.name[0], '\0');
    tn_device *device = nullptr;
    EXPECT_EQ(vulkan().device_open(&host.host, 1000, &device), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT there is no Vulkan device 1000: this host has " + std::to_string(count(host)));
}

// ---- not usable ----

struct Defect {
    const char *name, *reason;
    void (*arrange)(FaultLayer *layer);
};

class Unusable : public testing::TestWithParam<Defect>
{
};

TEST_P(Unusable, IsSaidInTheListAndWhenItIsOpened)
{
    FaultLayer layer;
    {
        const Host host(&layer.hooks);
        GetParam().arrange(&layer);
        const tn_device_desc desc = describe(host);
        EXPECT_STREQ(desc.unusable, GetParam().reason);
        tn_device *device = nullptr;
        EXPECT_EQ(vulkan().device_open(&host.host, 0, &device), TN_UNAVAILABLE);
        EXPECT_EQ(last_error(), std::string("UNAVAILABLE device vulkan0 (") + desc.description + ") cannot be used: " + GetParam().reason);
        EXPECT_EQ(device, nullptr);
    }
    EXPECT_TRUE(layer.alive().empty());
}

#define LIMIT(field, value) [](FaultLayer *layer) { layer->change_properties = [](VkPhysicalDeviceProperties *p) { p->field = value; }; }

INSTANTIATE_TEST_SUITE_P(
    Reasons, Unusable,
    testing::Values(Defect{"Version", "its driver has Vulkan 1.1, 1.2 is needed: update it", LIMIT(apiVersion, VK_API_VERSION_1_1)},
                    Defect{"Buffers", "its shaders see 7 storage buffers, 8 are needed",
                           LIMIT(limits.maxPerStageDescriptorStorageBuffers, 7)},
                    Defect{"Shared", "its workgroups have 16383 bytes of shared memory, 16384 are needed",
                           LIMIT(limits.maxComputeSharedMemorySize, 16383)},
                    Defect{"Invocations", "its workgroups have at most 127 invocations, 128 are needed",
                           LIMIT(limits.maxComputeWorkGroupInvocations, 127)},
                    Defect{"InvocationsOfADimension", "its workgroups have at most 64 invocations, 128 are needed",
                           LIMIT(limits.maxComputeWorkGroupSize[0], 64)},
                    Defect{"Push", "its push constants have 64 bytes, 128 are needed", LIMIT(limits.maxPushConstantsSize, 64)},
                    Defect{"Timeline", "it has no timeline semaphores: update its driver",
                           [](FaultLayer *layer) {
                               layer->change_features = [](VkPhysicalDeviceVulkan12Features *f) { f->timelineSemaphore = VK_FALSE; };
                           }},
                    Defect{"Compute", "it has no queue for compute",
                           [](FaultLayer *layer) {
                               layer->change_families = [](std::vector<VkQueueFamilyProperties> *list) {
                                   for (auto &family : *list) family.queueFlags = VK_QUEUE_GRAPHICS_BIT;
                               };
                           }}),
    [](const testing::TestParamInfo<Defect> &defect) { return defect.param.name; });

// ---- what is used ----

tn_vk_facts facts_of(FaultLayer *layer)
{
    const Host host(&layer->hooks, true);
    tn_vk_instance *instance;
    tn_vk_facts facts = {};
    EXPECT_EQ(tn_vk_instance_acquire(&host.host, &instance), TN_OK);
    EXPECT_EQ(tn_vk_facts_read(instance, instance->devices[0], &facts), TN_OK);
    tn_vk_instance_release(instance);
    return facts;
}

TEST(QueueFamily, IsForComputeAloneWhereThereIsOne)
{
    FaultLayer layer;
    const auto chosen = [&layer](const std::vector<VkQueueFlags> &flags) {
        layer.change_families = [flags](std::vector<VkQueueFamilyProperties> *list) {
            list->clear();
            for (VkQueueFlags f : flags) list->push_back({f, f ? 1u : 0u, 64, {1, 1, 1}});
        };
        return facts_of(&layer).queue_family;
    };
    const VkQueueFlags graphics = VK_QUEUE_GRAPHICS_BIT, compute = VK_QUEUE_COMPUTE_BIT, transfer = VK_QUEUE_TRANSFER_BIT;
    EXPECT_EQ(chosen({graphics | compute, transfer, compute | transfer, compute}), 2u);
    EXPECT_EQ(chosen({graphics, graphics | compute, graphics | compute}), 1u);
    EXPECT_EQ(chosen({compute, graphics | compute}), 0u);
    EXPECT_EQ(chosen({transfer, 0, graphics}), UINT32_MAX);
    EXPECT_EQ(chosen({}), UINT32_MAX);
}

TEST(Kernels, AreOfTheFormThatSuitsTheDevice)
{
    FaultLayer layer;
    const auto form = [&layer](VkPhysicalDeviceType kind, bool dot, bool fast) {
        layer.change_properties = [kind](VkPhysicalDeviceProperties *p) { p->deviceType = kind; };
        layer.change_dot_features = [dot](VkPhysicalDeviceShaderIntegerDotProductFeatures *f) { f->shaderIntegerDotProduct = dot; };
        layer.change_dot_properties = [fast](VkPhysicalDeviceShaderIntegerDotProductProperties *p) {
            p->integerDotProduct4x8BitPackedSignedAccelerated = fast;
        };
        const Host host(&layer.hooks);
        const tn_device_desc desc = describe(host);
        return std::string(desc.kernels) + " " + desc.integer_dot;
    };
    const VkPhysicalDeviceType gpu = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, software = VK_PHYSICAL_DEVICE_TYPE_CPU;
    EXPECT_EQ(form(gpu, true, true), "dot fast");
    EXPECT_EQ(form(gpu, true, false), "mul emulated");
    EXPECT_EQ(form(gpu, false, false), "mul none");
    EXPECT_EQ(form(software, true, true), "mul_texel fast");
    EXPECT_EQ(form(software, true, false), "mul_texel emulated");
}

TEST(Kernels, AreOfTheFormThatTheHostWants)
{
    FaultLayer layer;
    Host host(&layer.hooks);
    for (const char *form : {"dot", "mul", "mul_texel"}) {
        host.host.vulkan_kernels = form;
        EXPECT_STREQ(describe(host).kernels, form);
        const OpenDevice device(host);
        EXPECT_STREQ(tn_vk_form_name(&device.vk()->traits), form);
        EXPECT_EQ(device.vk()->traits.use_shuffle, device.vk()->traits.has_shuffle && std::string(form) == "mul_texel");
        std::map<std::string, bool> chosen;
        const auto note = [](void *user, const char *kernel, bool is) { (*static_cast<std::map<std::string, bool> *>(user))[kernel] = is; };
        ASSERT_EQ(vulkan().device_kernels(&device.vk()->base, note, &chosen), TN_OK);
        EXPECT_EQ(chosen.at("matmul_ternary_mul_shuffle"), device.vk()->traits.use_shuffle);
        EXPECT_EQ(chosen.at("matmul_ternary_mul_texel"), std::string(form) == "mul_texel" && !device.vk()->traits.use_shuffle);
        EXPECT_EQ(chosen.at("matmul_dense_q8_0_mul_texel"), std::string(form) == "mul_texel");
        EXPECT_EQ(chosen.at(std::string("matmul_ternary_") + (std::string(form) == "mul" ? "mul" : "dot")),
                  std::string(form) != "mul_texel");
        const bool texels = std::string(form) == "mul_texel";
        for (const char *twin : {"row_quant", "rope_append", "quant_group", "matmul_dense_f32", "matmul_dense_f16", "matmul_dense_bf16"}) {
            EXPECT_EQ(chosen.at(twin), !texels) << form << ": " << twin;
            EXPECT_EQ(chosen.at(std::string(twin) + "_texel"), texels) << form << ": " << twin;
        }
        EXPECT_EQ(chosen.at("probe_read"), !texels);
        EXPECT_EQ(chosen.at("probe_read_mul_texel"), texels);
        EXPECT_EQ(chosen.at("attention_walk_texel"), texels);
        EXPECT_EQ(chosen.at("attention_split"), !texels);
        EXPECT_FALSE(chosen.at("attention_split_texel"));
        for (const char *everywhere : {"attention_walk", "elementwise", "copy_rows", "copy_pages", "embed_f32", "embed_q6_k"})
            EXPECT_TRUE(chosen.at(everywhere)) << form << ": " << everywhere;
    }
    host.host.vulkan_kernels = "auto";
    EXPECT_STREQ(describe(host).kernels, "mul_texel");
    host.host.vulkan_kernels = "dto";
    const std::string reason = "the form of Vulkan kernels (TN_VULKAN_KERNELS) cannot be \"dto\": use auto, dot, mul or mul_texel";
    EXPECT_EQ(describe(host).unusable, reason);
    tn_device *device = nullptr;
    EXPECT_EQ(vulkan().device_open(&host.host, 0, &device), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT " + reason);
}

TEST(Kernels, OfTheFormDotNeedADotProduct)
{
    FaultLayer layer;
    Host host(&layer.hooks);
    host.host.vulkan_kernels = "dot";
    layer.change_dot_features = [](VkPhysicalDeviceShaderIntegerDotProductFeatures *f) { f->shaderIntegerDotProduct = VK_FALSE; };
    EXPECT_NE(describe(host).unusable[0], '\0');
    tn_device *device = nullptr;
    EXPECT_EQ(vulkan().device_open(&host.host, 0, &device), TN_UNSUPPORTED);
    host.host.vulkan_kernels = "mul";
    layer.on_create_device = [](const VkDeviceCreateInfo &info) {
        for (auto *at = static_cast<const VkBaseInStructure *>(info.pNext); at; at = at->pNext)
            EXPECT_NE(at->sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES) << "it is not there to be enabled";
    };
    const OpenDevice opened(host);
}

TEST(Limits, AreTheDriversAndNoLooserThanVulkans)
{
    FaultLayer layer;
    layer.change_properties = [](VkPhysicalDeviceProperties *p) {
        p->limits.minStorageBufferOffsetAlignment = 4;
        p->limits.minTexelBufferOffsetAlignment = 64;
        p->limits.maxComputeWorkGroupCount[1] = 1000;
        p->limits.maxComputeWorkGroupInvocations = 192;
        p->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    };
    tn_vk_facts facts = facts_of(&layer);
    EXPECT_EQ(facts.limits.offset_alignment, 64u);
    EXPECT_EQ(facts.limits.n_groups, 1000u);
    EXPECT_EQ(facts.traits.n_row_threads, 128u) << "a power of two of at most 192";
    layer.change_properties = [](VkPhysicalDeviceProperties *p) {
        p->limits.minStorageBufferOffsetAlignment = p->limits.minTexelBufferOffsetAlignment = 4;
    };
    facts = facts_of(&layer);
    EXPECT_EQ(facts.limits.offset_alignment, 16u);
    EXPECT_EQ(facts.traits.n_row_threads, 256u);
    EXPECT_EQ(facts.limits.range_bytes, facts.core.limits.maxStorageBufferRange);
}

// ---- waiting ----

TEST(Waiting, ThatTakesTooLongIsALostDevice)
{
    FaultLayer layer;
    const Host host(&layer.hooks);
    const OpenDevice device(host);
    layer.fail("vkWaitSemaphores", 1, VK_TIMEOUT);
    EXPECT_EQ(tn_vk_wait(device.vk(), 0), TN_DEVICE_LOST);
    EXPECT_EQ(last_error(), "DEVICE_LOST vulkan0 did not finish a step in ten minutes (VK_TIMEOUT): use shorter steps, or another device");
    EXPECT_EQ(tn_error_last()->native_code, VK_TIMEOUT);
    EXPECT_EQ(tn_vk_wait(device.vk(), 0), TN_DEVICE_LOST) << "what is lost stays lost";
    EXPECT_EQ(last_error(),
              "DEVICE_LOST vulkan0 was lost before (VK_TIMEOUT): start the program again; if it happens again, update the driver "
              "or use the CPU");
}

// What is polled for soon enough is not slept for; what fails meanwhile is told by the wait.
TEST(Waiting, PollsBeforeItSleeps)
{
    FaultLayer layer;
    layer.hooks.poll_ns = uint64_t(60) * 1000000000;
    const Host host(&layer.hooks);
    const OpenDevice device(host);
    EXPECT_EQ(tn_vk_wait(device.vk(), 0), TN_OK);
    EXPECT_EQ(layer.calls().at("vkGetSemaphoreCounterValue"), 1u);
    EXPECT_EQ(layer.calls().count("vkWaitSemaphores"), 0u);
    layer.fail("vkGetSemaphoreCounterValue", 1, VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(tn_vk_wait(device.vk(), 0), TN_OK);
    EXPECT_EQ(layer.calls().at("vkWaitSemaphores"), 1u);
    device.vk()->poll_ns = 1;
    layer.fail("vkWaitSemaphores", 1, VK_TIMEOUT);
    EXPECT_EQ(tn_vk_wait(device.vk(), 1), TN_DEVICE_LOST) << "it was not reached while it was polled for";
    EXPECT_EQ(layer.calls().at("vkGetSemaphoreCounterValue"), 3u);
}

TEST(Results, BecomeStatusesWithTheirNames)
{
    const std::vector<std::pair<VkResult, tn_status>> results = {
        {VK_ERROR_OUT_OF_HOST_MEMORY, TN_OUT_OF_MEMORY},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, TN_OUT_OF_MEMORY},
        {VK_ERROR_OUT_OF_POOL_MEMORY, TN_OUT_OF_MEMORY},
        {VK_ERROR_TOO_MANY_OBJECTS, TN_OUT_OF_MEMORY},
        {VK_ERROR_DEVICE_LOST, TN_DEVICE_LOST},
        {VK_ERROR_INITIALIZATION_FAILED, TN_UNAVAILABLE},
        {VK_ERROR_INCOMPATIBLE_DRIVER, TN_UNAVAILABLE},
        {VK_ERROR_FEATURE_NOT_PRESENT, TN_UNAVAILABLE},
        {VK_ERROR_UNKNOWN, TN_INTERNAL},
        {VK_TIMEOUT, TN_INTERNAL},
        {static_cast<VkResult>(-123456789), TN_INTERNAL},
    };
    EXPECT_EQ(TN_VK_CHECK(VK_SUCCESS, "vkX"), TN_OK);
    for (const auto &[result, status] : results) {
        EXPECT_EQ(TN_VK_CHECK(result, "vkX"), status);
        EXPECT_EQ(tn_error_last()->native_code, result);
        EXPECT_NE(last_error().find(std::string("vkX failed with ") + tn_vk_result_name(result)), std::string::npos);
    }
    EXPECT_STREQ(tn_vk_result_name(VK_ERROR_DEVICE_LOST), "VK_ERROR_DEVICE_LOST");
}

} // namespace
} // namespace vulkan_test
