// Buffers: what is in them, what is refused, and transfers that overlap each other and the device's work.
#include "cuda_host/device_rig.hpp"

#include <cstring>
#include <memory>
#include <random>
#include <thread>

namespace cuda_test
{
namespace
{

constexpr uint64_t kMiB = 1 << 20;

struct BufferDeleter {
    void operator()(tn_buffer *buffer) const { tn_cuda_buffer_destroy(buffer); }
};
using BufferPointer = std::unique_ptr<tn_buffer, BufferDeleter>;

BufferPointer create(tn_device *device, uint64_t bytes)
{
    tn_buffer *buffer = nullptr;
    EXPECT_EQ(tn_cuda_buffer_create(device, bytes, &buffer), TN_OK) << last_error();
    return BufferPointer(buffer);
}

std::vector<uint8_t> read(tn_buffer *buffer, uint64_t offset, uint64_t n)
{
    std::vector<uint8_t> bytes(n, 0xdd);
    EXPECT_EQ(tn_cuda_buffer_read(buffer, offset, bytes.data(), n), TN_OK) << last_error();
    return bytes;
}

std::vector<uint8_t> random_bytes(size_t n, uint32_t seed)
{
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(n);
    for (uint8_t &byte : bytes) byte = static_cast<uint8_t>(random());
    return bytes;
}

// Parameter: bytes of each staging buffer.
class Memory : public DriverTest, public testing::WithParamInterface<uint64_t>
{
  protected:
    Memory()
    {
        host.hooks.staging_bytes = GetParam();
        device = std::make_unique<OpenDevice>(host);
        at_start = cuda_driver::used_bytes();
    }
    ~Memory() override
    {
        EXPECT_EQ(cuda_driver::used_bytes(), at_start);
        device.reset();
    }
    Host host;
    std::unique_ptr<OpenDevice> device;
    size_t at_start = 0;
};

TEST_P(Memory, NewBuffersAreZeroWhateverLayThereBefore)
{
    for (uint64_t size : {uint64_t(1), uint64_t(3), uint64_t(64), uint64_t(4097), kMiB + 5}) {
        const BufferPointer buffer = create(device->get(), size);
        EXPECT_EQ(buffer->size_bytes, size);
        EXPECT_EQ(tn_cuda_buffer_of(buffer.get())->at % 256, 0u);
        EXPECT_EQ(read(buffer.get(), 0, size), std::vector<uint8_t>(size, 0)) << size;
    }
}

// A copy of which no event tells when it is done has the staging buffer until it is: what comes next is put there.
TEST_P(Memory, ATransferThatFailsLeavesNoCopyOnTheWay)
{
    const uint64_t n_part = GetParam(), n = 3 * n_part;
    const BufferPointer first = create(device->get(), n), second = create(device->get(), n);
    const std::vector<uint8_t> bytes = random_bytes(n, 1), others = random_bytes(n, 2);
    cuda_driver::fail("cuEventRecord", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(tn_cuda_buffer_write(first.get(), 0, bytes.data(), n), TN_OUT_OF_MEMORY);
    EXPECT_EQ(cuda_driver::n_pending(), 0u);
    EXPECT_EQ(tn_cuda_buffer_write(second.get(), 0, others.data(), n), TN_OK) << last_error();
    EXPECT_EQ(read(first.get(), 0, n_part), std::vector<uint8_t>(bytes.begin(), bytes.begin() + long(n_part)));
    std::vector<uint8_t> out(n);
    cuda_driver::fail("cuEventRecord", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(tn_cuda_buffer_read(first.get(), 0, out.data(), n), TN_OUT_OF_MEMORY);
    EXPECT_EQ(cuda_driver::n_pending(), 0u);
    EXPECT_EQ(tn_cuda_buffer_write(first.get(), 0, others.data(), n), TN_OK) << last_error();
    EXPECT_EQ(read(first.get(), 0, n), others);
}

TEST_P(Memory, AnyBytesAreWrittenAndReadAndNoOthers)
{
    const uint64_t size = 5 * GetParam() / 2 + 7;
    const BufferPointer buffer = create(device->get(), size);
    std::vector<uint8_t> shadow(size, 0);
    std::mt19937 random(7);
    for (int i = 0; i < 200; i++) {
        const uint64_t longest = i % 20 == 0 ? size : std::min<uint64_t>(size, 300);
        const uint64_t n = random() % (longest + 1), offset = random() % (size - n + 1);
        const std::vector<uint8_t> bytes = random_bytes(n, static_cast<uint32_t>(i));
        ASSERT_EQ(tn_cuda_buffer_write(buffer.get(), offset, bytes.data(), n), TN_OK) << last_error();
        if (n) memcpy(shadow.data() + offset, bytes.data(), n);
        const uint64_t from = offset > 9 ? offset - 9 : 0, to = std::min(size, offset + n + 9);
        ASSERT_EQ(read(buffer.get(), from, to - from), std::vector<uint8_t>(shadow.begin() + long(from), shadow.begin() + long(to)));
    }
    EXPECT_EQ(read(buffer.get(), 0, size), shadow);
}

TEST_P(Memory, WritesOneAfterAnotherKeepWhatEachWasGiven)
{
    const uint64_t n = GetParam() / 2 + 1;
    std::vector<BufferPointer> buffers;
    std::vector<uint8_t> bytes(n);
    for (uint32_t i = 0; i < 9; i++) {
        buffers.push_back(create(device->get(), n));
        bytes = random_bytes(n, i); // the memory that the write before it was given
        ASSERT_EQ(tn_cuda_buffer_write(buffers.back().get(), 0, bytes.data(), n), TN_OK);
    }
    for (uint32_t i = 0; i < 9; i++) EXPECT_EQ(read(buffers[i].get(), 0, n), random_bytes(n, i)) << i;
}

TEST_P(Memory, AWriteWaitsForNothingThatItNeedNot)
{
    const BufferPointer buffer = create(device->get(), 2 * GetParam());
    const std::vector<uint8_t> bytes(2 * GetParam(), 5);
    cuda_driver::forget_calls();
    ASSERT_EQ(tn_cuda_buffer_write(buffer.get(), 0, bytes.data(), bytes.size()), TN_OK);
    EXPECT_EQ(cuda_driver::calls()["cuEventSynchronize"], 0u); // both parts are on their way
    ASSERT_EQ(tn_cuda_buffer_write(buffer.get(), 0, bytes.data(), 1), TN_OK);
    EXPECT_EQ(cuda_driver::calls()["cuEventSynchronize"], 1u);
    EXPECT_EQ(cuda_driver::calls()["cuStreamSynchronize"], 0u);
}

TEST_P(Memory, AReadStartsItsSecondPartBeforeTheFirstIsThere)
{
    const BufferPointer buffer = create(device->get(), 2 * GetParam());
    cuda_driver::forget_calls();
    read(buffer.get(), 0, 2 * GetParam());
    EXPECT_EQ(cuda_driver::calls()["cuEventSynchronize"], 2u);
    EXPECT_EQ(cuda_driver::calls()["cuMemcpyDtoHAsync"], 2u);
    cuda_driver::forget_calls();
    cuda_driver::fail("cuEventSynchronize", 1, CUDA_ERROR_UNKNOWN);
    std::vector<uint8_t> bytes(2 * GetParam());
    EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), 0, bytes.data(), bytes.size()), TN_INTERNAL);
    EXPECT_EQ(cuda_driver::calls()["cuMemcpyDtoHAsync"], 2u);
}

TEST_P(Memory, NothingOfAReadThatFailedIsWrittenLater)
{
    const BufferPointer buffer = create(device->get(), 2 * GetParam());
    std::vector<uint8_t> bytes(2 * GetParam(), 0xee);
    cuda_driver::fail("cuMemcpyDtoHAsync", 2, CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), 0, bytes.data(), bytes.size()), TN_INTERNAL);
    EXPECT_EQ(read(buffer.get(), 0, 2 * GetParam()), std::vector<uint8_t>(2 * GetParam(), 0));
    EXPECT_EQ(bytes, std::vector<uint8_t>(2 * GetParam(), 0xee));
}

TEST_P(Memory, ACopyThatCannotBeMarkedIsWaitedFor)
{
    const BufferPointer buffer = create(device->get(), 3);
    cuda_driver::fail("cuEventRecord", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(tn_cuda_buffer_write(buffer.get(), 0, "abc", 3), TN_OUT_OF_MEMORY);
    for (const char *text : {"def", "ghi"}) EXPECT_EQ(tn_cuda_buffer_write(buffer.get(), 0, text, 3), TN_OK);
    EXPECT_EQ(read(buffer.get(), 0, 3), std::vector<uint8_t>({'g', 'h', 'i'}));
}

TEST_P(Memory, BytesOutsideAreRefused)
{
    const BufferPointer buffer = create(device->get(), 10);
    uint8_t byte = 0;
    for (const auto &[offset, n] :
         std::vector<std::pair<uint64_t, uint64_t>>{{0, 11}, {10, 1}, {11, 0}, {UINT64_MAX, 2}, {5, UINT64_MAX}}) {
        EXPECT_EQ(tn_cuda_buffer_write(buffer.get(), offset, &byte, n), TN_INVALID_ARGUMENT);
        EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), offset, &byte, n), TN_INVALID_ARGUMENT);
    }
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT read from a buffer: bytes 5 to 5 + 18446744073709551615 are not inside a buffer of 10");
    EXPECT_EQ(tn_cuda_buffer_write(buffer.get(), 10, nullptr, 0), TN_OK);
    EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), 10, nullptr, 0), TN_OK);
    const OpenDevice other(host);
    EXPECT_EQ(tn_buffer_check(other.get(), buffer.get(), 0, 1, "test"), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_buffer_check(device->get(), nullptr, 0, 0, "test"), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_buffer_check(device->get(), buffer.get(), 9, 1, "test"), TN_OK);
}

TEST_P(Memory, EmptyBuffersArePossible)
{
    const BufferPointer buffer = create(device->get(), 0);
    uint8_t byte = 0;
    EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), 0, &byte, 1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_cuda_buffer_read(buffer.get(), 0, &byte, 0), TN_OK);
    tn_cuda_buffer_destroy(nullptr);
}

TEST_P(Memory, MappingMakesAReadOnlyCopy)
{
    alignas(64) uint8_t bytes[300];
    const std::vector<uint8_t> want = random_bytes(sizeof bytes, 5);
    memcpy(bytes, want.data(), sizeof bytes);
    tn_buffer *buffer = nullptr;
    EXPECT_EQ(tn_cuda_buffer_map(device->get(), nullptr, 1, &buffer), TN_INVALID_ARGUMENT);
    EXPECT_EQ(tn_cuda_buffer_map(device->get(), bytes + 1, 1, &buffer), TN_INVALID_ARGUMENT);
    EXPECT_EQ(buffer, nullptr);
    ASSERT_EQ(tn_cuda_buffer_map(device->get(), bytes, sizeof bytes, &buffer), TN_OK);
    const BufferPointer owner(buffer);
    memset(bytes, 0, sizeof bytes);
    EXPECT_EQ(read(buffer, 0, sizeof bytes), want);
    EXPECT_EQ(tn_cuda_buffer_write(buffer, 0, bytes, 1), TN_INVALID_ARGUMENT);
    EXPECT_EQ(last_error(), "INVALID_ARGUMENT write to a buffer: its memory is read-only");
}

TEST_P(Memory, WhatDoesNotFitIsRefusedBeforeItIsAskedForAndWithTheFigures)
{
    cuda_driver::options().memory_bytes = 8 * kMiB;
    const BufferPointer some = create(device->get(), 3 * kMiB);
    tn_buffer *buffer = nullptr;
    cuda_driver::forget_calls();
    EXPECT_EQ(tn_cuda_buffer_create(device->get(), 5 * kMiB + 1, &buffer), TN_OUT_OF_MEMORY);
    EXPECT_EQ(last_error(), "OUT_OF_MEMORY cuda:host: a buffer of 6 MiB cannot be had, 5 of the device's 8 MiB are free "
                            "(CUDA_ERROR_OUT_OF_MEMORY): ask for a shorter context, fewer sequences or fewer layers on it (-ngl)");
    EXPECT_STREQ(tn_error_last()->device, "cuda:host");
    EXPECT_EQ(tn_error_last()->native_code, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(cuda_driver::calls()["cuMemAlloc"], 0u);
    EXPECT_EQ(tn_cuda_buffer_create(device->get(), UINT64_MAX, &buffer), TN_OUT_OF_MEMORY);
    EXPECT_NE(last_error().find("a buffer of 17592186044416 MiB cannot be had"), std::string::npos) << last_error();
    EXPECT_EQ(buffer, nullptr);
    const BufferPointer fits = create(device->get(), 5 * kMiB);
}

TEST_P(Memory, MemoryThatIsFreeAndCannotBeHadAllTheSameIsRefusedLikewise)
{
    tn_buffer *buffer = nullptr;
    cuda_driver::fail("cuMemAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(tn_cuda_buffer_create(device->get(), 100, &buffer), TN_OUT_OF_MEMORY);
    EXPECT_EQ(last_error().find("OUT_OF_MEMORY cuda:host: a buffer of 1 MiB cannot be had, 4096 of the device's 4096 MiB are free"), 0u)
        << last_error();
    cuda_driver::fail("cuMemsetD8Async", 1, CUDA_ERROR_UNKNOWN);
    EXPECT_EQ(tn_cuda_buffer_create(device->get(), 100, &buffer), TN_INTERNAL);
    EXPECT_EQ(buffer, nullptr);
}

TEST_P(Memory, PinnedMemoryIsZeroAndSeenByBothSides)
{
    void *bytes;
    CUdeviceptr at;
    ASSERT_EQ(tn_cuda_enter(device->cuda()), TN_OK);
    ASSERT_EQ(tn_cuda_alloc_host(device->cuda(), 1000, &bytes, &at), TN_OK);
    const uint8_t *begin = static_cast<const uint8_t *>(bytes);
    EXPECT_TRUE(std::all_of(begin, begin + 1000, [](uint8_t byte) { return byte == 0; }));
    EXPECT_NE(at, 0u);
    tn_cuda_free_host(device->cuda(), bytes);
    tn_cuda_free_host(device->cuda(), nullptr);
    tn_cuda_free(device->cuda(), 0);
    cuda_driver::fail("cuMemHostGetDevicePointer", 1, CUDA_ERROR_NOT_SUPPORTED);
    EXPECT_EQ(tn_cuda_alloc_host(device->cuda(), 1000, &bytes, &at), TN_UNAVAILABLE);
    EXPECT_EQ(tn_cuda_alloc_host(device->cuda(), UINT64_MAX, &bytes, &at), TN_OUT_OF_MEMORY);
    cuda_driver::fail("cuMemHostAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT_EQ(tn_cuda_alloc_host(device->cuda(), kMiB + 1, &bytes, &at), TN_OUT_OF_MEMORY);
    EXPECT_EQ(last_error(), "OUT_OF_MEMORY cuda:host: cuMemHostAlloc has no 2 MiB of the host's memory for the device to read and write "
                            "(CUDA_ERROR_OUT_OF_MEMORY): free some");
    EXPECT_EQ(bytes, nullptr);
    EXPECT_EQ(tn_cuda_leave(device->cuda(), TN_OK), TN_OK);
}

TEST_P(Memory, UploadsComeFromAnyThread)
{
    const BufferPointer buffer = create(device->get(), 3);
    ASSERT_EQ(tn_cuda_enter(device->cuda()), TN_OK);
    std::thread([&] {
        EXPECT_EQ(tn_cuda_upload(device->cuda(), tn_cuda_buffer_of(buffer.get())->at, "abc", 3), TN_OK) << last_error();
    }).join();
    EXPECT_EQ(tn_cuda_staging_finish(device->cuda()), TN_OK);
    EXPECT_EQ(tn_cuda_leave(device->cuda(), TN_OK), TN_OK);
    EXPECT_EQ(read(buffer.get(), 0, 3), std::vector<uint8_t>({'a', 'b', 'c'}));
}

INSTANTIATE_TEST_SUITE_P(Staging, Memory, testing::Values(256, 4096, 1 << 20));

} // namespace
} // namespace cuda_test
