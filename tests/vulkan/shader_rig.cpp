// The rig: a device, and for every run its buffers, descriptors and pipeline.
#include "vulkan/shader_rig.hpp"

#include "support/quick.hpp"

#define VOLK_IMPLEMENTATION
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <volk.h>

extern "C" {
#include "vulkan/vk_shaders.h"
}

namespace vulkan_test
{
namespace
{

void must(VkResult result, const char *what)
{
    if (result != VK_SUCCESS) throw std::runtime_error(std::string(what) + " failed with " + std::to_string(result));
}

constexpr uint32_t kStorage = 6, kTexels = 2; // bindings

// A shader of the library by its name, or one of a file by its path.
std::vector<uint32_t> words_of(const std::string &shader)
{
    for (uint32_t i = 0; i < tn_vk_n_shaders; i++) {
        if (shader == tn_vk_shaders[i].name) return {tn_vk_shaders[i].words, tn_vk_shaders[i].words + tn_vk_shaders[i].n_words};
    }
    std::ifstream file(shader, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (bytes.empty()) throw std::runtime_error("no shader " + shader);
    std::vector<uint32_t> words(bytes.size() / sizeof(uint32_t));
    memcpy(words.data(), bytes.data(), words.size() * sizeof(uint32_t));
    return words;
}

struct DeviceBuffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    void *mapped;
    VkBufferView view;
};

// Mesa's software device then compiles without optimising, large shaders in a quarter of the time. Here hundreds of them are compiled for a
// run of some rows each; whole models are run by shaders that are optimised.
void compile_quickly() { setenv("GALLIVM_PERF", "nopt", 0); }

} // namespace

struct ShaderRig::State {
    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    uint32_t memory_type = 0;
    bool has_dot = false, has_shuffle = false;
    double seconds = 0;
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkCommandPool commands = VK_NULL_HANDLE;
    VkDescriptorPool descriptors = VK_NULL_HANDLE;
    std::map<std::pair<std::string, std::vector<uint32_t>>, VkPipeline> pipelines; // by shader and constants

    DeviceBuffer create(const std::vector<uint32_t> &words) const
    {
        DeviceBuffer b = {};
        VkBufferCreateInfo info = {};
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
        info.size = (words.empty() ? 64 : (words.size() + 3) / 4 * 4) * sizeof(uint32_t);
        info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT;
        must(vkCreateBuffer(device, &info, nullptr, &b.buffer), "vkCreateBuffer");
        VkMemoryRequirements needs;
        vkGetBufferMemoryRequirements(device, b.buffer, &needs);
        VkMemoryAllocateInfo allocate = {};
        allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
        allocate.allocationSize = needs.size;
        allocate.memoryTypeIndex = memory_type;
        must(vkAllocateMemory(device, &allocate, nullptr, &b.memory), "vkAllocateMemory");
        must(vkBindBufferMemory(device, b.buffer, b.memory, 0), "vkBindBufferMemory");
        must(vkMapMemory(device, b.memory, 0, VK_WHOLE_SIZE, 0, &b.mapped), "vkMapMemory");
        memset(b.mapped, 0xff, size_t(info.size));
        if (!words.empty()) memcpy(b.mapped, words.data(), words.size() * sizeof(uint32_t));
        VkBufferViewCreateInfo view = {};
        view.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO;
        view.buffer = b.buffer;
        view.format = VK_FORMAT_R32G32B32A32_UINT;
        view.range = VK_WHOLE_SIZE;
        must(vkCreateBufferView(device, &view, nullptr, &b.view), "vkCreateBufferView");
        return b;
    }
    void destroy(const DeviceBuffer &b) const
    {
        vkDestroyBufferView(device, b.view, nullptr);
        vkDestroyBuffer(device, b.buffer, nullptr);
        vkFreeMemory(device, b.memory, nullptr);
    }
    void open_device();
    void create_layouts();
    VkPipeline create_pipeline(const std::string &shader, const std::vector<uint32_t> &constants) const;
    VkDescriptorSet bind(const DeviceBuffer *buffers, bool texels_of_kv) const;
    VkCommandBuffer record(VkPipeline pipeline, VkDescriptorSet set, const void *params, uint32_t n_params, const uint32_t *grid,
                           const std::vector<uint32_t> &x_order) const;
    double submit(VkCommandBuffer recorded) const;
    VkPipeline pipeline_of(const std::string &shader, const std::vector<uint32_t> &constants)
    {
        VkPipeline &pipeline = pipelines[{shader, constants}];
        if (pipeline == VK_NULL_HANDLE) pipeline = create_pipeline(shader, constants);
        return pipeline;
    }
};

void ShaderRig::State::open_device()
{
    must(volkInitialize(), "loading Vulkan");
    VkApplicationInfo app = {};
    app.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    app.apiVersion = VK_API_VERSION_1_3;
    VkInstanceCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &app;
    must(vkCreateInstance(&info, nullptr, &instance), "vkCreateInstance");
    volkLoadInstance(instance);
    uint32_t n = 1;
    vkEnumeratePhysicalDevices(instance, &n, &physical);
    if (n == 0) throw std::runtime_error("no Vulkan device");
    VkPhysicalDeviceVulkan13Features has13 = {};
    has13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
    VkPhysicalDeviceFeatures2 has = {};
    has.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    has.pNext = &has13;
    vkGetPhysicalDeviceFeatures2(physical, &has);
    has_dot = has13.shaderIntegerDotProduct;
    VkPhysicalDeviceVulkan11Properties subgroups = {};
    subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES;
    VkPhysicalDeviceProperties2 properties = {};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &subgroups;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    has_shuffle = subgroups.subgroupSize == 8 && (subgroups.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
    VkPhysicalDeviceVulkan13Features wanted = {};
    wanted.sType = has13.sType;
    wanted.shaderIntegerDotProduct = has13.shaderIntegerDotProduct;
    wanted.maintenance4 = has13.maintenance4;
    const float priority = 1;
    VkDeviceQueueCreateInfo queue_info = {};
    queue_info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue_info.queueCount = 1;
    queue_info.pQueuePriorities = &priority;
    VkDeviceCreateInfo device_info = {};
    device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    device_info.pNext = &wanted;
    device_info.queueCreateInfoCount = 1;
    device_info.pQueueCreateInfos = &queue_info;
    must(vkCreateDevice(physical, &device_info, nullptr, &device), "vkCreateDevice");
    volkLoadDevice(device);
    vkGetDeviceQueue(device, 0, 0, &queue);
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    const VkMemoryPropertyFlags mapped = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    while (memory_type < memory.memoryTypeCount && (memory.memoryTypes[memory_type].propertyFlags & mapped) != mapped) memory_type++;
}

void ShaderRig::State::create_layouts()
{
    VkDescriptorSetLayoutBinding slots[kStorage + kTexels] = {};
    for (uint32_t i = 0; i < kStorage + kTexels; i++) {
        slots[i].binding = i;
        slots[i].descriptorType = i < kStorage ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
        slots[i].descriptorCount = 1;
        slots[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    }
    VkDescriptorSetLayoutCreateInfo set_info = {};
    set_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    set_info.bindingCount = kStorage + kTexels;
    set_info.pBindings = slots;
    must(vkCreateDescriptorSetLayout(device, &set_info, nullptr, &set_layout), "vkCreateDescriptorSetLayout");
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 128};
    VkPipelineLayoutCreateInfo layout_info = {};
    layout_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layout_info.setLayoutCount = 1;
    layout_info.pSetLayouts = &set_layout;
    layout_info.pushConstantRangeCount = 1;
    layout_info.pPushConstantRanges = &push;
    must(vkCreatePipelineLayout(device, &layout_info, nullptr, &layout), "vkCreatePipelineLayout");
    VkCommandPoolCreateInfo pool_info = {};
    pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    must(vkCreateCommandPool(device, &pool_info, nullptr, &commands), "vkCreateCommandPool");
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kStorage},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, kTexels}};
    VkDescriptorPoolCreateInfo descriptors_info = {};
    descriptors_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    descriptors_info.maxSets = 1;
    descriptors_info.poolSizeCount = 2;
    descriptors_info.pPoolSizes = sizes;
    must(vkCreateDescriptorPool(device, &descriptors_info, nullptr, &descriptors), "vkCreateDescriptorPool");
}

VkPipeline ShaderRig::State::create_pipeline(const std::string &shader, const std::vector<uint32_t> &constants) const
{
    const std::vector<uint32_t> words = words_of(shader);
    VkShaderModuleCreateInfo module_info = {};
    module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module_info.codeSize = words.size() * sizeof(uint32_t);
    module_info.pCode = words.data();
    VkShaderModule shader_module;
    must(vkCreateShaderModule(device, &module_info, nullptr, &shader_module), "vkCreateShaderModule");
    std::vector<VkSpecializationMapEntry> entries;
    for (uint32_t i = 0; i < constants.size(); i++) entries.push_back({i, i * 4, 4});
    const VkSpecializationInfo special = {uint32_t(entries.size()), entries.data(), constants.size() * 4, constants.data()};
    VkComputePipelineCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = shader_module;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = &special;
    info.layout = layout;
    info.flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT;
    VkPipeline pipeline;
    const VkResult result = vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
    vkDestroyShaderModule(device, shader_module, nullptr);
    must(result, "vkCreateComputePipelines");
    return pipeline;
}

// buffers [kStorage]; the texel bindings are those of weights (or kv) and arena.
VkDescriptorSet ShaderRig::State::bind(const DeviceBuffer *buffers, bool texels_of_kv) const
{
    must(vkResetDescriptorPool(device, descriptors, 0), "vkResetDescriptorPool");
    VkDescriptorSetAllocateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.descriptorPool = descriptors;
    info.descriptorSetCount = 1;
    info.pSetLayouts = &set_layout;
    VkDescriptorSet set;
    must(vkAllocateDescriptorSets(device, &info, &set), "vkAllocateDescriptorSets");
    const uint32_t texels[kTexels] = {texels_of_kv ? 3u : 2u, 1u};
    for (uint32_t i = 0; i < kStorage + kTexels; i++) {
        const DeviceBuffer &b = buffers[i < kStorage ? i : texels[i - kStorage]];
        const VkDescriptorBufferInfo range = {b.buffer, 0, VK_WHOLE_SIZE};
        VkWriteDescriptorSet write = {};
        write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        write.dstSet = set;
        write.dstBinding = i;
        write.descriptorCount = 1;
        write.descriptorType = i < kStorage ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
        write.pBufferInfo = &range;
        write.pTexelBufferView = &b.view;
        vkUpdateDescriptorSets(device, 1, &write, 0, nullptr);
    }
    return set;
}

VkCommandBuffer ShaderRig::State::record(VkPipeline pipeline, VkDescriptorSet set, const void *params, uint32_t n_params,
                                         const uint32_t *grid, const std::vector<uint32_t> &x_order) const
{
    VkCommandBufferAllocateInfo allocate = {};
    allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocate.commandPool = commands;
    allocate.commandBufferCount = 1;
    VkCommandBuffer recorded;
    must(vkAllocateCommandBuffers(device, &allocate, &recorded), "vkAllocateCommandBuffers");
    VkCommandBufferBeginInfo begin = {};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    must(vkBeginCommandBuffer(recorded, &begin), "vkBeginCommandBuffer");
    vkCmdBindPipeline(recorded, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(recorded, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    vkCmdPushConstants(recorded, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, n_params, params);
    VkMemoryBarrier barrier = {};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    if (x_order.empty()) vkCmdDispatch(recorded, grid[0], grid[1], grid[2]);
    for (uint32_t x : x_order) {
        vkCmdDispatchBase(recorded, x, 0, 0, 1, grid[1], grid[2]);
        vkCmdPipelineBarrier(recorded, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0,
                             nullptr, 0, nullptr);
    }
    must(vkEndCommandBuffer(recorded), "vkEndCommandBuffer");
    return recorded;
}

// Seconds until the device was done.
double ShaderRig::State::submit(VkCommandBuffer recorded) const
{
    VkSubmitInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &recorded;
    const auto start = std::chrono::steady_clock::now();
    must(vkQueueSubmit(queue, 1, &info, VK_NULL_HANDLE), "vkQueueSubmit");
    must(vkQueueWaitIdle(queue), "vkQueueWaitIdle");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

ShaderRig::ShaderRig() : state_(std::make_unique<State>())
{
    if (tn_test::is_quick()) compile_quickly(); // before the driver is loaded, which reads it then
    state_->open_device();
    state_->create_layouts();
}

ShaderRig::~ShaderRig()
{
    for (const auto &entry : state_->pipelines) vkDestroyPipeline(state_->device, entry.second, nullptr);
    vkDestroyDescriptorPool(state_->device, state_->descriptors, nullptr);
    vkDestroyCommandPool(state_->device, state_->commands, nullptr);
    vkDestroyPipelineLayout(state_->device, state_->layout, nullptr);
    vkDestroyDescriptorSetLayout(state_->device, state_->set_layout, nullptr);
    vkDestroyDevice(state_->device, nullptr);
    vkDestroyInstance(state_->instance, nullptr);
}

bool ShaderRig::has_dot() const { return state_->has_dot; }
bool ShaderRig::has_shuffle() const { return state_->has_shuffle; }
double ShaderRig::seconds() const { return state_->seconds; }

void ShaderRig::run_bytes(const std::string &shader, const std::vector<uint32_t> &constants, const void *params, uint32_t n_params,
                          uint32_t x, uint32_t y, uint32_t z, Bindings *bindings)
{
    State &s = *state_;
    std::vector<uint32_t> *words[kStorage] = {&bindings->step, &bindings->arena, &bindings->weights,
                                              &bindings->kv,   &bindings->state, &bindings->out};
    DeviceBuffer buffers[kStorage];
    for (uint32_t i = 0; i < kStorage; i++) buffers[i] = s.create(*words[i]);
    const VkPipeline pipeline = s.pipeline_of(shader, constants);
    const VkDescriptorSet set = s.bind(buffers, options.texels_of_kv);
    const uint32_t grid[3] = {x, y, z};
    const VkCommandBuffer commands = s.record(pipeline, set, params, n_params, grid, options.x_order);
    s.seconds = s.submit(commands);
    for (uint32_t i = 1; i < options.repeats; i++) s.seconds = std::min(s.seconds, s.submit(commands));
    for (uint32_t i = 0; i < kStorage; i++) {
        if (!words[i]->empty()) memcpy(words[i]->data(), buffers[i].mapped, words[i]->size() * sizeof(uint32_t));
        s.destroy(buffers[i]);
    }
    vkFreeCommandBuffers(s.device, s.commands, 1, &commands);
}

} // namespace vulkan_test
