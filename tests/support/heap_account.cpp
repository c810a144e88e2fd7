// The allocation functions that the linker puts in the place of malloc and its relatives (option --wrap), each with its count.
#include "support/heap_account.hpp"

#include <atomic>
#include <cerrno>
#include <malloc.h>

// Names given by the linker.
extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void __real_free(void *pointer);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void __wrap_free(void *pointer);
}

namespace
{

std::atomic<long> n_blocks{0}, n_bytes{0}, n_peak{0};

// Far above what any case may hold, and below what the machine has: a size that a file made up is refused, as by a full machine.
constexpr size_t request_max = size_t{1} << 30;

void *enter(void *pointer)
{
    if (!pointer) return nullptr;
    n_blocks++;
    const long bytes = n_bytes += static_cast<long>(malloc_usable_size(pointer));
    for (long peak = n_peak; bytes > peak && !n_peak.compare_exchange_weak(peak, bytes);) {}
    return pointer;
}

void leave(void *pointer)
{
    if (!pointer) return;
    n_blocks--;
    n_bytes -= static_cast<long>(malloc_usable_size(pointer));
}

// Counts as held for a moment, so that the peak shows it.
void *refuse(size_t size)
{
    const long wanted = static_cast<long>(size / 2);
    for (long peak = n_peak; wanted > peak && !n_peak.compare_exchange_weak(peak, wanted);) {}
    errno = ENOMEM;
    return nullptr;
}

} // namespace

void *__wrap_malloc(size_t size) { return size > request_max ? refuse(size) : enter(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size)
{
    return size != 0 && n > request_max / size ? refuse(request_max) : enter(__real_calloc(n, size));
}
void *__wrap_realloc(void *pointer, size_t size)
{
    if (size > request_max) return refuse(size);
    const size_t before = pointer ? malloc_usable_size(pointer) : 0;
    void *moved = __real_realloc(pointer, size);
    if (!moved) return nullptr;
    if (pointer) {
        n_blocks--;
        n_bytes -= static_cast<long>(before);
    }
    return enter(moved);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return size > request_max ? refuse(size) : enter(__real_aligned_alloc(alignment, size));
}
int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (size > request_max) {
        refuse(size);
        return ENOMEM;
    }
    const int error = __real_posix_memalign(out, alignment, size);
    if (error == 0) enter(*out);
    return error;
}
void __wrap_free(void *pointer)
{
    leave(pointer);
    __real_free(pointer);
}

namespace tn_test
{

HeapUse heap_use() { return {n_blocks.load(), n_bytes.load(), n_peak.load()}; }
void heap_reset_peak() { n_peak = n_bytes.load(); }

} // namespace tn_test
