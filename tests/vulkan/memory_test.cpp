// Buffers on both paths, by the host's own writes and through staging; memory types; limits.
#include "vulkan/device_rig.hpp"
#include "vulkan/fault_layer.hpp"

#include <cstring>
#include <gtest/gtest.h>
#include <random>

extern "C" {
#include "backend/desc_check.h"
}

namespace vulkan_test
{
namespace
{

constexpr uint64_t kMiB = 1 << 20;
constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                                kCoherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;

struct BufferDeleter {
    void operator()(tn_buffer *buffer) const { vulkan().buffer_destroy(buffer); }
};
using BufferPointer = std::unique_ptr<tn_buffer, BufferDeleter>;

BufferPointer create(tn_device *device, uint64_t bytes)
{
    tn_buffer *buffer = nullptr;
    EXPECT_EQ(vulkan().buffer_create(device, bytes, &buffer), TN_OK) << last_error();
    return BufferPointer(buffer);
}

std::vector<uint8_t> read(tn_buffer *buffer, uint64_t offset, uint64_t n)
{
    std::vector<uint8_t> bytes(n, 0xdd);
    EXPECT_EQ(vulkan().buffer_read(buffer, offset, bytes.data(), n), TN_OK) << last_error();
    return bytes;
}

std::vector<uint8_t> random_bytes(size_t n, uint32_t seed)
{
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(n);
    for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(random());
    return bytes;
}

// Parameter: whether device memory is kept from the host.
class Memory : public testing::TestWithParam<bool>
{
  protected:
    Memory() : host(&layer.hooks)
    {
        layer.hooks.force_staging = GetParam();
        device = std::make_unique<OpenDevice>(host);
    }
    ~Memory() override
    {
        device.reset();
        EXPECT_EQ(layer.alive(), std::vector<std::string>({"vkCreateInstance 1"})); // the host keeps it
    }
    FaultLayer layer;
    Host host;
    std::unique_ptr<OpenDevice> device;
};

TEST_P(Memory, NewBuffersAreZeroWhateverLayThereBefore)
{
    for (uint64_t size : {uint64_t(1), uint64_t(3), uint64_t(64), uint64_t(4097), kMiB + 5, 40 * kMiB + 1}) {
        for (int round = 0; round < 2; round++) {
            BufferPointer buffer = create(device->get(), size);
            EXPECT_EQ(buffer->size_bytes, size);
            EXPECT_EQ(read(buffer.get(), 0, size), std::vector<uint8_t>(size, 0)) << size;
            const std::vector<uint8_t> ones(size, 0xff);
            ASSERT_EQ(vulkan().buffer_write(buffer.get(), 0, ones.data(), size), TN_OK);
        }
    }
}

TEST_P(Memory, DeviceMemoryIsMappedOnlyWhereTheHostMaySeeIt)
{
    BufferPointer buffer = create(device->get(), 100);
    EXPECT_EQ(tn_vk_buffer_of(buffer.get())->mapped == nullptr, GetParam());
    layer.forget_calls();
    read(buffer.get(), 0, 100);
    EXPECT_EQ(layer.calls().count("vkQueueSubmit"), GetParam() ? 1u : 0u);
}

TEST_P(Memory, AnyBytesAreWrittenAndReadAndNoOthers)
{
    const uint64_t size = 33 * kMiB + 7; // more than two parts of staging
    BufferPointer buffer = create(device->get(), size);
    std::vector<uint8_t> shadow(size, 0);
    std::mt19937 random(7);
    for (int i = 0; i < 60; i++) {
        const uint64_t longest = i % 20 == 0 ? size : 300;
        const uint64_t n = random() % longest, offset = random() % (size - n + 1);
        const std::vector<uint8_t> bytes = random_bytes(n, static_cast<uint32_t>(i));
        ASSERT_EQ(vulkan().buffer_write(buffer.get(), offset, bytes.data(), n), TN_OK) << last_error();
        if (n) memcpy(shadow.data() + offset, bytes.data(), n);
        const uint64_t from = offset > 9 ? offset - 9 : 0, to = std::min(size, offset + n + 9);
        ASSERT_EQ(read(buffer.get(), from, to - from), std::vector<uint8_t>(shadow.begin() + long(from), shadow.begin() + long(to)));
    }
    EXPECT_EQ(read(buffer.get(), 0, size), shadow);
}

TEST_P(Memory, BytesOutsideAreRefused)
{
    BufferPointer buffer = create(device->get(), 10);
    uint8_t byte = 0;
    for (const auto &[offset, n] :
         std::vector<std::pair<uint64_t, uint64_t>>{{0, 11}, {10, 1}, {11, 0}, {UINT64_MAX, 2}, {5, UINT64_MAX}}) {
        EXPECT_EQ(vulkan().buffer_write(buffer.get(), offset, &byte, n), TN_INVALID_ARGUMENT);
        EXPECT_EQ(vulkan().buffer_read(buffer.get(), offset, &byte, n), TN_INVALID_ARGUMENT);
    }
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT read from a buffer: bytes 5 to 5 + 18446744073709551615 are not inside a buffer of 10");
    EXPECT_EQ(vulkan().buffer_write(buffer.get(), 10, nullptr, 0), TN_OK);
    EXPECT_EQ(vulkan().buffer_read(buffer.get(), 10, nullptr, 0), TN_OK);
    const OpenDevice other(host);
    EXPECT_EQ(tn_buffer_check(other.get(), buffer.get(), 0, 1, "test"), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_buffer_check(device->get(), nullptr, 0, 0, "test"), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_buffer_check(device->get(), buffer.get(), 9, 1, "test"), TN_OK);
}

TEST_P(Memory, EmptyBuffersArePossible)
{
    BufferPointer buffer = create(device->get(), 0);
    uint8_t byte = 0;
    EXPECT_EQ(vulkan().buffer_read(buffer.get(), 0, &byte, 1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(vulkan().buffer_read(buffer.get(), 0, &byte, 0), TN_OK);
    vulkan().buffer_destroy(nullptr);
}

TEST_P(Memory, MappingMakesAReadOnlyCopy)
{
    alignas(64) uint8_t bytes[300];
    const std::vector<uint8_t> want = random_bytes(sizeof bytes, 5);
    memcpy(bytes, want.data(), sizeof bytes);
    tn_buffer *buffer = nullptr;
    EXPECT_EQ(vulkan().buffer_map(device->get(), nullptr, 1, &buffer), TN_INVALID_ARGUMENT);
    EXPECT_EQ(vulkan().buffer_map(device->get(), bytes + 1, 1, &buffer), TN_INVALID_ARGUMENT);
    EXPECT_EQ(buffer, nullptr);
    ASSERT_EQ(vulkan().buffer_map(device->get(), bytes, sizeof bytes, &buffer), TN_OK);
    const BufferPointer owner(buffer);
    memset(bytes, 0, sizeof bytes);
    EXPECT_EQ(read(buffer, 0, sizeof bytes), want);
    EXPECT_EQ(vulkan().buffer_write(buffer, 0, bytes, 1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT write to a buffer: its memory is read-only");
}

TEST_P(Memory, TooLargeBuffersAreRefusedWithTheLimit)
{
    tn_buffer *buffer = nullptr;
    const uint64_t limit = device->vk()->limits.allocation_bytes;
    for (uint64_t size : {limit + 1, UINT64_MAX, UINT64_MAX - 15}) {
        EXPECT_EQ(vulkan().buffer_create(device->get(), size, &buffer), TN_OUT_OF_MEMORY);
        EXPECT_NE(last_error().find("is larger than the driver allows (" + std::to_string(limit / kMiB) + " MiB): ask for"),
                  std::string::npos)
            << last_error();
        EXPECT_EQ(buffer, nullptr);
    }
}

TEST_P(Memory, LackOfMemorySaysHowMuchWasWantedAndThereIs)
{
    tn_buffer *buffer = nullptr;
    layer.fail("vkAllocateMemory", 1, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    EXPECT_EQ(vulkan().buffer_create(device->get(), 3 * kMiB, &buffer), TN_OUT_OF_MEMORY);
    EXPECT_EQ(tn_error_last()->native_code, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    const std::string heap = std::to_string(device->vk()->memory.memoryHeaps[0].size / kMiB);
    EXPECT_EQ(last_error(),
              "OUT_OF_MEMORY vulkan0: a buffer of 3 MiB could not be had (VK_ERROR_OUT_OF_DEVICE_MEMORY; the device's memory is " + heap +
                  " MiB): ask for a shorter context, fewer sequences or fewer layers on it (-ngl)");
}

INSTANTIATE_TEST_SUITE_P(Paths, Memory, testing::Values(false, true),
                         [](const testing::TestParamInfo<bool> &path) { return path.param ? "Staged" : "Mapped"; });

// ---- memory types of devices that are not here ----

struct FakeType {
    uint32_t heap;
    VkMemoryPropertyFlags flags;
};
struct FakeMemory {
    std::vector<std::pair<uint64_t, bool>> heaps; // bytes, of the device
    std::vector<FakeType> types;
};

class MemoryTypes : public testing::Test
{
  protected:
    // What a buffer of each place gets on such a device.
    std::unique_ptr<OpenDevice> open(const FakeMemory &memory, VkPhysicalDeviceType kind)
    {
        layer.fake_memory_types = true;
        layer.change_memory = [memory](VkPhysicalDeviceMemoryProperties *out) {
            out->memoryHeapCount = static_cast<uint32_t>(memory.heaps.size());
            out->memoryTypeCount = static_cast<uint32_t>(memory.types.size());
            for (size_t i = 0; i < memory.heaps.size(); i++)
                out->memoryHeaps[i] = {memory.heaps[i].first,
                                       memory.heaps[i].second ? VkMemoryHeapFlags(VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) : 0};
            for (size_t i = 0; i < memory.types.size(); i++) out->memoryTypes[i] = {memory.types[i].flags, memory.types[i].heap};
        };
        layer.change_properties = [kind](VkPhysicalDeviceProperties *out) {
            out->deviceType = kind;
            out->limits.nonCoherentAtomSize = 128;
        };
        layer.on_allocate = [this](const VkMemoryAllocateInfo &info) { allocated.push_back(info.memoryTypeIndex); };
        host = std::make_unique<Host>(&layer.hooks);
        return std::make_unique<OpenDevice>(*host);
    }
    // The types that are tried for a buffer of the place; the last one is its own.
    std::vector<uint32_t> types_of(const OpenDevice &device, tn_vk_place place, bool *mapped)
    {
        tn_vk_buffer *buffer;
        allocated.clear();
        EXPECT_EQ(tn_vk_memory_create(device.vk(), 1000, place, &buffer), TN_OK) << last_error();
        *mapped = buffer->mapped != nullptr;
        tn_vk_memory_destroy(buffer);
        return allocated;
    }
    FaultLayer layer;
    std::unique_ptr<Host> host;
    std::vector<uint32_t> allocated;
};

// The largest heap is not the first one; a type of an extension is passed over though it has all that is wanted.
const FakeMemory kDiscrete = {{{16384 * kMiB, false}, {256 * kMiB, true}, {8192 * kMiB, true}},
                              {{2, kLocal | kVisible | kCoherent | kCached | VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD},
                               {0, kVisible | kCoherent},
                               {2, kLocal},
                               {0, kVisible | kCached},
                               {0, kVisible | kCoherent | kCached},
                               {1, kLocal | kVisible | kCoherent}}};
const FakeMemory kReBar = {
    {{8192 * kMiB, true}, {16384 * kMiB, false}},
    {{0, kLocal}, {1, kVisible | kCoherent}, {1, kVisible | kCoherent | kCached}, {0, kLocal | kVisible | kCoherent}}};
const FakeMemory kUma = {{{16384 * kMiB, true}},
                         {{0, kLocal}, {0, kLocal | kVisible | kCoherent}, {0, kLocal | kVisible | kCoherent | kCached}}};

TEST_F(MemoryTypes, OfADiscreteDeviceAreTheLargeHeapAndHostMemoryForStaging)
{
    bool mapped;
    const auto device = open(kDiscrete, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_DEVICE, &mapped), std::vector<uint32_t>{2});
    EXPECT_FALSE(mapped);
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_UPLOAD, &mapped), std::vector<uint32_t>{5});
    EXPECT_TRUE(mapped);
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_READBACK, &mapped), std::vector<uint32_t>{4});
    EXPECT_TRUE(mapped);
    BufferPointer buffer = create(device->get(), 5000);
    const std::vector<uint8_t> bytes = random_bytes(5000, 3);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 0, bytes.data(), bytes.size()), TN_OK);
    EXPECT_EQ(read(buffer.get(), 0, bytes.size()), bytes);
}

TEST_F(MemoryTypes, OfADeviceWhoseMemoryTheHostSeesAreMapped)
{
    bool mapped;
    const auto device = open(kReBar, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_DEVICE, &mapped), std::vector<uint32_t>{3});
    EXPECT_TRUE(mapped);
    // Reading much of it is left to the device, since the host does not cache it.
    BufferPointer buffer = create(device->get(), 8192);
    layer.forget_calls();
    read(buffer.get(), 0, 100);
    EXPECT_EQ(layer.calls().count("vkQueueSubmit"), 0u);
    const std::vector<uint8_t> bytes = random_bytes(8192, 4);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 0, bytes.data(), bytes.size()), TN_OK);
    EXPECT_EQ(layer.calls().count("vkQueueSubmit"), 0u);
    EXPECT_EQ(read(buffer.get(), 0, bytes.size()), bytes);
    EXPECT_EQ(layer.calls().at("vkQueueSubmit"), 1u);
}

TEST_F(MemoryTypes, AFullTypeIsFollowedByTheNextOfTheDevicesOwnOnly)
{
    bool mapped;
    const auto device = open(kReBar, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    layer.fail("vkAllocateMemory", 1, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    allocated.clear();
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_DEVICE, &mapped), (std::vector<uint32_t>{3, 0}));
    EXPECT_FALSE(mapped);
    const auto shared = open(kUma, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    EXPECT_EQ(types_of(*shared, TN_VK_PLACE_DEVICE, &mapped), std::vector<uint32_t>{2});
    EXPECT_TRUE(mapped);
    EXPECT_TRUE(shared->vk()->traits.is_uma);
    EXPECT_FALSE(device->vk()->traits.is_uma);
}

// Firmware has set a little aside for the device, which reads the rest of the machine's memory as fast.
const FakeMemory kSetAside = {
    {{16384 * kMiB, false}, {kMiB, true}},
    {{1, kLocal}, {0, kVisible | kCoherent}, {1, kLocal | kVisible | kCoherent}, {0, kVisible | kCoherent | kCached}, {0, 0}}};

TEST_F(MemoryTypes, WhereMemoryIsSharedAFullHeapIsFollowedByTheRestOfIt)
{
    bool mapped;
    const auto device = open(kSetAside, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_DEVICE, &mapped), std::vector<uint32_t>{2});
    layer.is_full = [](uint32_t type) { return type == 0 || type == 2; };
    EXPECT_EQ(types_of(*device, TN_VK_PLACE_DEVICE, &mapped), (std::vector<uint32_t>{2, 0, 3}));
    EXPECT_TRUE(mapped);
    BufferPointer buffer = create(device->get(), 5000);
    const std::vector<uint8_t> bytes = random_bytes(5000, 3);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 0, bytes.data(), bytes.size()), TN_OK);
    EXPECT_EQ(read(buffer.get(), 0, bytes.size()), bytes);
    layer.is_full = [](uint32_t) { return true; };
    tn_buffer *none;
    EXPECT_EQ(vulkan().buffer_create(device->get(), 3 * kMiB, &none), TN_OUT_OF_MEMORY);
    EXPECT_NE(last_error().find("(VK_ERROR_OUT_OF_DEVICE_MEMORY; the device's memory is 16385 MiB)"), std::string::npos) << last_error();
}

TEST_F(MemoryTypes, AHeapThatIsSmallerThanTheBufferIsNotAsked)
{
    const auto device = open(kSetAside, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    for (const auto &[bytes, type] : {std::pair(kMiB - 256, 2u), std::pair(kMiB + 1, 3u)}) {
        allocated.clear();
        const BufferPointer buffer = create(device->get(), bytes);
        EXPECT_EQ(allocated, std::vector<uint32_t>{type});
    }
    EXPECT_GT(device->get()->buffer_bytes_max, kMiB);
}

TEST_F(MemoryTypes, ADiscreteDeviceNeverHasItsBuffersInTheHostsMemory)
{
    for (const FakeMemory &memory : {kDiscrete, kSetAside}) {
        const auto device = open(memory, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
        EXPECT_LE(device->get()->buffer_bytes_max, 8192 * kMiB);
        layer.is_full = [&](uint32_t type) { return (memory.types[type].flags & kLocal) != 0; };
        tn_buffer *none;
        allocated.clear();
        EXPECT_EQ(vulkan().buffer_create(device->get(), 1000, &none), TN_OUT_OF_MEMORY);
        EXPECT_EQ(tn_error_last()->native_code, VK_ERROR_OUT_OF_DEVICE_MEMORY);
        EXPECT_FALSE(allocated.empty());
        for (uint32_t type : allocated) EXPECT_TRUE(memory.types[type].flags & kLocal) << type;
        layer.is_full = nullptr;
    }
}

// Memory, and what of it is free, of a device of that kind.
void expect_memory(const Host &host, uint64_t bytes, uint64_t free_bytes)
{
    tn_device_desc desc;
    ASSERT_EQ(vulkan().device_describe(&host.host, 0, &desc), TN_OK) << last_error();
    EXPECT_EQ(desc.memory_bytes, bytes);
    EXPECT_EQ(desc.memory_free_bytes, free_bytes);
}

TEST_F(MemoryTypes, MemoryIsOfTheHeapsThatBuffersMayLieIn)
{
    const auto shared = open(kSetAside, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    expect_memory(*host, 16385 * kMiB, 16385 * kMiB);
    const auto uma = open(kUma, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    expect_memory(*host, 16384 * kMiB, 16384 * kMiB);
    const auto discrete = open(kDiscrete, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    expect_memory(*host, 8192 * kMiB, 8192 * kMiB);
}

TEST_F(MemoryTypes, WhatIsFreeIsTheDriversBudgetOfEachHeap)
{
    uint64_t budgets[3], used[3];
    layer.fill_budget = [&](VkPhysicalDeviceMemoryBudgetPropertiesEXT *out) {
        for (int i = 0; i < 3; i++) out->heapBudget[i] = budgets[i], out->heapUsage[i] = used[i];
    };
    const auto set = [&](int heap, uint64_t budget, uint64_t in_use) { budgets[heap] = budget * kMiB, used[heap] = in_use * kMiB; };
    set(0, 12000, 2000), set(1, 1, 0), set(2, 7000, 500);
    const auto discrete = open(kDiscrete, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
    expect_memory(*host, 8192 * kMiB, 6500 * kMiB);
    set(2, 500, 600); // others took it meanwhile
    expect_memory(*host, 8192 * kMiB, 0);
    set(2, 9000, 10); // more than there is
    expect_memory(*host, 8192 * kMiB, 8192 * kMiB);
    const auto shared = open(kSetAside, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    expect_memory(*host, 16385 * kMiB, 10001 * kMiB);
    set(1, 0, 1);
    expect_memory(*host, 16385 * kMiB, 10000 * kMiB);
}

TEST_F(MemoryTypes, MemoryThatIsNotCoherentIsFlushedInWholeAtoms)
{
    const auto device = open({{{1024 * kMiB, true}}, {{0, kLocal | kVisible | kCached}}}, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU);
    std::vector<std::pair<uint64_t, uint64_t>> flushed, invalidated;
    const auto note = [](auto *list) { return [list](const VkMappedMemoryRange &r) { list->push_back({r.offset, r.size}); }; };
    BufferPointer buffer = create(device->get(), 1000); // 1008 bytes of memory
    layer.on_flush = note(&flushed);
    layer.on_invalidate = note(&invalidated);
    const std::vector<uint8_t> bytes = random_bytes(300, 8);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 130, bytes.data(), 200), TN_OK);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 128, bytes.data(), 128), TN_OK);
    ASSERT_EQ(vulkan().buffer_write(buffer.get(), 700, bytes.data(), 300), TN_OK);
    using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
    EXPECT_EQ(flushed, (Ranges{{128, 256}, {128, 128}, {640, VK_WHOLE_SIZE}}));
    invalidated.clear();
    read(buffer.get(), 255, 2);
    EXPECT_EQ(invalidated, (Ranges{{128, 256}}));
}

} // namespace
} // namespace vulkan_test
