// The allocation functions that the linker puts in the place of malloc and its relatives (option --wrap).
#include "support/fail_alloc.hpp"

#include <atomic>
#include <cerrno>
#include <cstddef>

// Names given by the linker.
extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
}

namespace
{

std::atomic<bool> armed{false}, forever{false};
std::atomic<long> nth_to_fail{0}, n_seen{0}, n_failed{0};

bool must_fail()
{
    if (!armed.load()) return false;
    const long nth = n_seen.fetch_add(1) + 1, wanted = nth_to_fail.load();
    const bool fails = wanted != 0 && (nth == wanted || (forever.load() && nth > wanted));
    if (fails) n_failed.fetch_add(1);
    return fails;
}

void *out_of_memory()
{
    errno = ENOMEM;
    return nullptr;
}

} // namespace

void *__wrap_malloc(size_t size) { return must_fail() ? out_of_memory() : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return must_fail() ? out_of_memory() : __real_calloc(n, size); }
void *__wrap_realloc(void *pointer, size_t size) { return must_fail() ? out_of_memory() : __real_realloc(pointer, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) { return must_fail() ? out_of_memory() : __real_aligned_alloc(alignment, size); }
int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    return must_fail() ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

namespace tn_test
{

FailAlloc::FailAlloc(long nth, FailMode mode)
{
    nth_to_fail = nth;
    forever = mode == FailMode::forever;
    n_seen = 0;
    n_failed = 0;
    armed = true;
}

FailAlloc::~FailAlloc() { armed = false; }

long FailAlloc::seen() const { return n_seen.load(); }
long FailAlloc::failed() const { return n_failed.load(); }

} // namespace tn_test
