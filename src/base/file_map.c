// Read-only file mappings that survive the file being cut short by somebody else.
//
// Reading a page of a mapping whose file has meanwhile become shorter raises SIGBUS, which kills the process: a model file that is
// downloaded again or cleaned up while a server runs would take the server down. A signal handler is per process and gets no argument, so
// this file has the only process-wide mutable state of the library: a fixed table of live mappings, made of lock-free atomics because the
// handler may run at any instruction, and the handler that was there before ours. The handler maps a page of zeros over a missing page of
// a mapping of ours and sets that mapping's flag; tn_file_map_check turns the flag into a status. Every other SIGBUS goes to the previous
// handler or to the default action, as if we were not there. The alternative, copying files into memory, would double the memory of every
// model and forbid sharing it between processes.
#include "base/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// More mappings than any process has models: a model is one file, a split one some dozens.
#define TN_FILE_MAP_SLOTS 1024

typedef struct tn_map_slot {
    atomic_bool claimed;      // somebody owns the slot
    atomic_uint generation;   // odd while begin and end are valid; changes whenever they do
    atomic_uintptr_t begin;   // first byte of the mapping
    atomic_uintptr_t end;     // one past its last page
    atomic_bool page_missing; // the handler had to supply a page
} tn_map_slot;

static tn_map_slot tn_map_slots[TN_FILE_MAP_SLOTS];

// Written once before the handler is installed, then only read.
static struct {
    pthread_once_t once;
    int error; // errno of the installation
    uintptr_t page_bytes;
    struct sigaction previous;
} tn_map_handler = {.once = PTHREAD_ONCE_INIT};

// Whether `address` lies in a live mapping of the slot. The generation is read twice: the slot may change hands in between.
static bool slot_holds(tn_map_slot *slot, uintptr_t address)
{
    unsigned generation = atomic_load(&slot->generation);
    if ((generation & 1) == 0) return false;
    uintptr_t begin = atomic_load(&slot->begin), end = atomic_load(&slot->end);
    return atomic_load(&slot->generation) == generation && address >= begin && address < end;
}

static void forward(int signal_number, siginfo_t *info, void *context)
{
    const struct sigaction *previous = &tn_map_handler.previous;
    if ((previous->sa_flags & SA_SIGINFO) != 0) {
        previous->sa_sigaction(signal_number, info, context);
    } else if (previous->sa_handler == SIG_IGN && info->si_code <= 0) {
        return; // sent by a process and ignored, as before us
    } else if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN) {
        // A real fault happens again on return and then meets the default action; one that was sent is sent again.
        struct sigaction fallback = {.sa_handler = SIG_DFL};
        sigaction(signal_number, &fallback, NULL);
        if (info->si_code <= 0) raise(signal_number);
    } else {
        previous->sa_handler(signal_number);
    }
}

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
    int errno_before = errno;
    uintptr_t address = (uintptr_t)info->si_addr;
    // BUS_ADRERR alone means "no such page in the file"; failing memory must not be papered over with zeros.
    for (size_t i = 0; info->si_code == BUS_ADRERR && i < TN_FILE_MAP_SLOTS; ++i) {
        if (!slot_holds(&tn_map_slots[i], address)) continue;
        void *page = (void *)(address & ~(tn_map_handler.page_bytes - 1));
        void *zeros = mmap(page, tn_map_handler.page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (zeros == MAP_FAILED) break;
        atomic_store(&tn_map_slots[i].page_missing, true);
        errno = errno_before;
        return;
    }
    forward(signal_number, info, context);
    errno = errno_before;
}

static void install_handler(void)
{
    tn_map_handler.page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    // The previous handler is asked for first, so that it is known before ours can run.
    if (sigaction(SIGBUS, NULL, &tn_map_handler.previous) != 0 || sigaction(SIGBUS, &action, NULL) != 0) tn_map_handler.error = errno;
}

static tn_status slot_claim(const char *path, int *out_slot)
{
    for (int i = 0; i < TN_FILE_MAP_SLOTS; ++i) {
        bool expected = false;
        if (!atomic_compare_exchange_strong(&tn_map_slots[i].claimed, &expected, true)) continue;
        *out_slot = i;
        return TN_OK;
    }
    return tn_fail(TN_LIMIT, "%.400s: %d files are mapped already, which is the limit: close models that are not in use", path,
                   TN_FILE_MAP_SLOTS);
}

static void slot_publish(int index, const void *data, size_t size)
{
    tn_map_slot *slot = &tn_map_slots[index];
    uintptr_t page_bytes = tn_map_handler.page_bytes;
    atomic_store(&slot->page_missing, false);
    atomic_store(&slot->begin, (uintptr_t)data);
    atomic_store(&slot->end, (uintptr_t)data + ((size + page_bytes - 1) & ~(page_bytes - 1)));
    atomic_fetch_add(&slot->generation, 1);
}

// Paths are printed up to 400 bytes, so that the cause behind them fits into a message.
static tn_status fail_io(const char *path, const char *what)
{
    int code = errno;
    char reason[96];
    const char *text = strerror_r(code, reason, sizeof reason);
    if (code == ENOENT || code == ENOTDIR) return tn_fail_native(TN_NOT_FOUND, code, "%.400s: there is no such file: check the path", path);
    if (code == ENOMEM) return tn_fail_native(TN_OUT_OF_MEMORY, code, "%.400s: could not %s: %s: free memory", path, what, text);
    return tn_fail_native(TN_IO, code, "%.400s: could not %s: %s: check the file and its permissions", path, what, text);
}

static int64_t ns_of(struct timespec t) { return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec; }

static void put_stamp(const struct stat *info, tn_file_map *map)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    map->opened_ns = ns_of(now);
    map->stamp = (tn_file_stamp){.device = info->st_dev,
                                 .inode = info->st_ino,
                                 .size_bytes = (uint64_t)info->st_size,
                                 .mtime_ns = ns_of(info->st_mtim),
                                 .ctime_ns = ns_of(info->st_ctim)};
}

static tn_status map_descriptor(int fd, const char *path, tn_file_map *out_map)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return fail_io(path, "ask for the size");
    if (S_ISDIR(info.st_mode)) return tn_fail_native(TN_IO, EISDIR, "%.400s: is a folder: name a file in it", path);
    if (!S_ISREG(info.st_mode)) return tn_fail(TN_IO, "%.400s: is not a regular file: copy its content into one", path);
    put_stamp(&info, out_map);
    if (info.st_size == 0) return TN_OK;
    if ((uintmax_t)info.st_size > PTRDIFF_MAX) return tn_fail(TN_IO, "%.400s: is too large for this machine's address space", path);
    size_t size = (size_t)info.st_size;
    int slot = 0;
    TN_TRY(slot_claim(path, &slot));
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        tn_status status = fail_io(path, "map it");
        atomic_store(&tn_map_slots[slot].claimed, false);
        return status;
    }
    slot_publish(slot, data, size);
    out_map->data = data;
    out_map->size_bytes = size;
    out_map->slot = slot;
    return TN_OK;
}

tn_status tn_file_map_open(const char *path, tn_file_map *out_map)
{
    *out_map = (tn_file_map){0};
    if (pthread_once(&tn_map_handler.once, install_handler) != 0 || tn_map_handler.error != 0) {
        return tn_fail_native(TN_IO, tn_map_handler.error, "%.400s: the SIGBUS handler could not be installed: see the native code", path);
    }
    // Not blocking: opening a pipe would wait for a writer before it could be refused.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_io(path, "open it");
    tn_status status = map_descriptor(fd, path, out_map);
    close(fd);
    return status;
}

void tn_file_map_close(tn_file_map *map)
{
    if (map->data != NULL) {
        tn_map_slot *slot = &tn_map_slots[map->slot];
        // Out of the table first: the addresses may belong to another mapping as soon as they are free.
        atomic_fetch_add(&slot->generation, 1);
        munmap((void *)(uintptr_t)map->data, map->size_bytes);
        atomic_store(&slot->claimed, false);
    }
    *map = (tn_file_map){0};
}

void tn_file_map_release(const tn_file_map *map, size_t offset, size_t n)
{
    if (offset >= map->size_bytes) return;
    if (n > map->size_bytes - offset) n = map->size_bytes - offset;
    // Whole pages, neighbours' halves too: a page that goes too early comes back. One of zeros that the handler put there stays one.
    const uintptr_t mask = tn_map_handler.page_bytes - 1, at = (uintptr_t)map->data + offset;
    const uintptr_t begin = at & ~mask, end = (at + n + mask) & ~mask;
    // Advice: where it is refused, memory stays in use, and that is all.
    (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void tn_file_map_want_huge(const tn_file_map *map)
{
    // Advice: small pages are right, too.
    if (map->size_bytes != 0) (void)madvise((void *)(uintptr_t)map->data, map->size_bytes, MADV_HUGEPAGE);
}

tn_status tn_file_map_check(const tn_file_map *map, const char *path)
{
    if (map->data == NULL || !atomic_load_explicit(&tn_map_slots[map->slot].page_missing, memory_order_relaxed)) return TN_OK;
    return tn_fail(
        TN_IO,
        "%.400s: the file was cut short while it was in use, and what was read since then is wrong: restore the file and load it again",
        path);
}
