// Makes chosen allocations of a whole process fail, as its environment says: TN_FAIL_NTH=n fails the nth (from 1), TN_FAIL_FOREVER=1
// also all after it, and the file TN_FAIL_MARK is made when one was made to fail. Two uses: a shared object for LD_PRELOAD, which
// stands before the C library for every part of the process (glibc has other names for its own); and with TN_FAIL_WRAP, linked
// into a program with the linker's --wrap, for builds whose sanitizer must have malloc for itself.
// hwloc is left out: it does not look whether it got its memory, and there is nothing that its callers could do.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef TN_FAIL_WRAP
#define REPLACED(name) __wrap_##name
#define GENUINE(name)  __real_##name
void *__real_aligned_alloc(size_t alignment, size_t size);
static void *genuine_aligned(size_t alignment, size_t size) { return __real_aligned_alloc(alignment, size); }
#else
#define REPLACED(name) name
#define GENUINE(name)  __libc_##name
void *__libc_memalign(size_t alignment, size_t size);
static void *genuine_aligned(size_t alignment, size_t size) { return __libc_memalign(alignment, size); }
#endif

void *GENUINE(malloc)(size_t size);
void *GENUINE(calloc)(size_t n, size_t size);
void *GENUINE(realloc)(void *pointer, size_t size);
void *REPLACED(malloc)(size_t size);
void *REPLACED(calloc)(size_t n, size_t size);
void *REPLACED(realloc)(void *pointer, size_t size);
void *REPLACED(aligned_alloc)(size_t alignment, size_t size);
int REPLACED(posix_memalign)(void **out, size_t alignment, size_t size);

static atomic_long n_seen;

static bool is_hwloc(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) != 0 && info.dli_fname && strstr(info.dli_fname, "libhwloc");
}

// Nothing in here allocates. Before the environment is there, nothing fails.
static bool must_fail(const void *caller)
{
    const char *nth = getenv("TN_FAIL_NTH");
    if (!nth || is_hwloc(caller)) return false;
    const long now = atomic_fetch_add(&n_seen, 1) + 1, wanted = atol(nth);
    if (now != wanted && !(now > wanted && getenv("TN_FAIL_FOREVER"))) return false;
    const char *mark = getenv("TN_FAIL_MARK");
    if (mark && now == wanted) {
        int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) close(fd);
    }
    errno = ENOMEM;
    return true;
}

void *REPLACED(malloc)(size_t size) { return must_fail(__builtin_return_address(0)) ? NULL : GENUINE(malloc)(size); }
void *REPLACED(calloc)(size_t n, size_t size) { return must_fail(__builtin_return_address(0)) ? NULL : GENUINE(calloc)(n, size); }
void *REPLACED(realloc)(void *pointer, size_t size)
{
    return must_fail(__builtin_return_address(0)) ? NULL : GENUINE(realloc)(pointer, size);
}
void *REPLACED(aligned_alloc)(size_t alignment, size_t size)
{
    return must_fail(__builtin_return_address(0)) ? NULL : genuine_aligned(alignment, size);
}

int REPLACED(posix_memalign)(void **out, size_t alignment, size_t size)
{
    if (must_fail(__builtin_return_address(0))) return ENOMEM;
    void *pointer = genuine_aligned(alignment, (size + alignment - 1) / alignment * alignment);
    if (!pointer) return ENOMEM;
    *out = pointer;
    return 0;
}
