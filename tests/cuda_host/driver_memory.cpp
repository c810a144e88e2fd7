// Memory of the driver's stand-in: between guards, NaN at first, and copies that must lie inside.
#include "cuda_host/driver_state.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n)   ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

namespace cuda_driver
{

namespace
{

constexpr size_t kGuard = 256, kUnit = 512; // of the device's allocations
constexpr uint8_t kGuardByte = 0x5e, kFill = 0xff;

size_t rounded(size_t n) { return (n + kUnit - 1) / kUnit * kUnit; }

size_t used_bytes(CUcontext context)
{
    size_t n = 0;
    for (const auto &entry : driver().blocks) {
        if (!entry.second.is_host && entry.second.context == context) n += rounded(entry.second.n_bytes);
    }
    return n;
}

bool is_guard(const uint8_t *at, const uint8_t *end)
{
    for (; at < end; at++) {
        if (*at != kGuardByte) return false;
    }
    return true;
}

// 0: the host has no memory for it.
uintptr_t make_block(CUcontext context, size_t n_bytes, bool is_host)
{
    const size_t base_bytes = (kGuard + n_bytes + kGuard + kGuard - 1) / kGuard * kGuard;
    uint8_t *base = static_cast<uint8_t *>(std::aligned_alloc(kGuard, base_bytes));
    if (!base) return 0;
    memset(base, kGuardByte, base_bytes);
    memset(base + kGuard, kFill, n_bytes);
    ASAN_POISON_MEMORY_REGION(base, kGuard);
    ASAN_POISON_MEMORY_REGION(base + kGuard + n_bytes, base_bytes - kGuard - n_bytes);
    const uintptr_t at = (uintptr_t)base + kGuard;
    driver().blocks[at] = Block{context, n_bytes, is_host, base, base_bytes};
    return at;
}

} // namespace

void free_block(uintptr_t at)
{
    const auto found = driver().blocks.find(at);
    const Block block = found->second;
    const uint8_t *base = static_cast<const uint8_t *>(block.base);
    ASAN_UNPOISON_MEMORY_REGION(block.base, block.base_bytes);
    if (!is_guard(base, base + kGuard)) complain("something was written before memory of " + std::to_string(block.n_bytes) + " bytes");
    if (!is_guard(base + kGuard + block.n_bytes, base + block.base_bytes))
        complain("something was written behind memory of " + std::to_string(block.n_bytes) + " bytes");
    driver().blocks.erase(found);
    std::free(block.base);
}

const Block *find_block(uintptr_t at, size_t n_bytes)
{
    auto found = driver().blocks.upper_bound(at);
    if (found == driver().blocks.begin()) return nullptr;
    --found;
    const size_t offset = at - found->first;
    return offset <= found->second.n_bytes && n_bytes <= found->second.n_bytes - offset ? &found->second : nullptr;
}

const Block *touches_block(uintptr_t at, size_t n_bytes)
{
    const auto behind = driver().blocks.lower_bound(at + n_bytes);
    if (behind == driver().blocks.begin()) return nullptr;
    const auto last = std::prev(behind);
    return last->first + last->second.n_bytes > at ? &last->second : nullptr;
}

size_t used_bytes()
{
    const std::lock_guard<std::mutex> lock(driver().mutex);
    size_t n = 0;
    for (const auto &entry : driver().contexts.all()) n += used_bytes(entry.first);
    return n;
}

} // namespace cuda_driver

using namespace cuda_driver;

namespace
{

// Whether the device may copy these bytes at `at`: of its own memory, or of pinned memory.
CUresult check_device_range(const Entered &call, CUdeviceptr at, size_t n_bytes)
{
    const Block *block = find_block((uintptr_t)at, n_bytes);
    if (!block) return call.wrong(CUDA_ERROR_INVALID_VALUE, "bytes of the device that are not inside its memory");
    return block->context == call.context() ? CUDA_SUCCESS : call.wrong(CUDA_ERROR_INVALID_VALUE, "memory of another context");
}

// Whether host memory is pinned; memory of the device, and a range that leaves pinned memory, are neither.
CUresult check_host_range(const Entered &call, const void *at, size_t n_bytes, bool *out_pinned)
{
    const Block *whole = find_block((uintptr_t)at, n_bytes);
    *out_pinned = whole && whole->is_host;
    if (*out_pinned || !touches_block((uintptr_t)at, n_bytes)) return at ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    return call.wrong(CUDA_ERROR_INVALID_VALUE, "bytes of the host that are not inside its memory");
}

CUresult free_at(Entered *call, uintptr_t at, bool is_host)
{
    const CUresult result = call->inside();
    if (at == 0) return result;
    const auto found = driver().blocks.find(at);
    if (found == driver().blocks.end() || found->second.is_host != is_host) return call->stray(CUDA_ERROR_INVALID_VALUE);
    drain_context(found->second.context); // as drivers do
    free_block(at);
    return result;
}

} // namespace

extern "C" {

CUresult cuMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    Entered call("cuMemGetInfo");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const size_t total = driver().options.memory_bytes, used = used_bytes(call.context());
    *total_bytes = total;
    *free_bytes = used < total ? total - used : 0;
    return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr *at, size_t bytes)
{
    Entered call("cuMemAlloc");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (bytes == 0) return call.wrong(CUDA_ERROR_INVALID_VALUE, "no bytes");
    const size_t total = driver().options.memory_bytes, used = used_bytes(call.context());
    if (bytes > total || rounded(bytes) > total - std::min(used, total)) return CUDA_ERROR_OUT_OF_MEMORY;
    const uintptr_t made = make_block(call.context(), bytes, false);
    if (made == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    *at = made;
    return CUDA_SUCCESS;
}

CUresult cuMemFree(CUdeviceptr at)
{
    Entered call("cuMemFree");
    return free_at(&call, (uintptr_t)at, false);
}

CUresult cuMemHostAlloc(void **at, size_t bytes, unsigned int flags)
{
    Entered call("cuMemHostAlloc");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    if (bytes == 0 || flags > 7) return call.wrong(CUDA_ERROR_INVALID_VALUE, "no bytes, or flags that there are not");
    const uintptr_t made = make_block(call.context(), bytes, true);
    if (made == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    *at = reinterpret_cast<void *>(made);
    return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void *at)
{
    Entered call("cuMemFreeHost");
    return free_at(&call, (uintptr_t)at, true);
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr *device, void *host, unsigned int flags)
{
    Entered call("cuMemHostGetDevicePointer");
    const CUresult result = call.inside();
    if (result != CUDA_SUCCESS) return result;
    const Block *block = find_block((uintptr_t)host, 1);
    if (!block || !block->is_host || flags != 0) return call.stray(CUDA_ERROR_INVALID_VALUE);
    *device = (uintptr_t)host;
    return CUDA_SUCCESS;
}

// From memory that is not pinned the bytes are taken at once, from pinned memory when the copy's turn comes.
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    Entered call("cuMemcpyHtoDAsync");
    bool is_pinned;
    CUresult result = call.inside();
    if (result == CUDA_SUCCESS && !driver().streams.find(stream)) return call.stray();
    if (result == CUDA_SUCCESS) result = check_device_range(call, to, bytes);
    if (result == CUDA_SUCCESS) result = check_host_range(call, from, bytes, &is_pinned);
    if (result != CUDA_SUCCESS) return result;
    void *target = reinterpret_cast<void *>((uintptr_t)to);
    if (is_pinned) {
        give(stream, [target, from, bytes] { return memcpy(target, from, bytes), CUDA_SUCCESS; });
    } else {
        const uint8_t *begin = static_cast<const uint8_t *>(from);
        auto kept = std::make_shared<std::vector<uint8_t>>(begin, begin + bytes);
        give(stream, [target, kept] { return memcpy(target, kept->data(), kept->size()), CUDA_SUCCESS; });
    }
    return CUDA_SUCCESS;
}

// To memory that is not pinned the bytes are there when it returns.
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    Entered call("cuMemcpyDtoHAsync");
    bool is_pinned;
    CUresult result = call.inside();
    if (result == CUDA_SUCCESS && !driver().streams.find(stream)) return call.stray();
    if (result == CUDA_SUCCESS) result = check_device_range(call, from, bytes);
    if (result == CUDA_SUCCESS) result = check_host_range(call, to, bytes, &is_pinned);
    if (result != CUDA_SUCCESS) return result;
    const void *source = reinterpret_cast<const void *>((uintptr_t)from);
    give(stream, [to, source, bytes] { return memcpy(to, source, bytes), CUDA_SUCCESS; });
    StreamState *state = driver().streams.find(stream);
    if (!is_pinned) drain(state, state->n_given);
    return driver().contexts.find(call.context())->error;
}

CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t bytes, CUstream stream)
{
    Entered call("cuMemsetD8Async");
    CUresult result = call.inside();
    if (result == CUDA_SUCCESS && !driver().streams.find(stream)) return call.stray();
    if (result == CUDA_SUCCESS) result = check_device_range(call, at, bytes);
    if (result != CUDA_SUCCESS) return result;
    void *target = reinterpret_cast<void *>((uintptr_t)at);
    give(stream, [target, value, bytes] { return memset(target, value, bytes), CUDA_SUCCESS; });
    return CUDA_SUCCESS;
}

} // extern "C"
