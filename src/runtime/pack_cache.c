// Files of packed weights: a header that is compared as a whole, hashes of the body's chunks, the body.
//
// Nothing in the file is believed: header and key are made anew from the model and the device, and compared. What is left to read are the
// chunks' hashes, whose number follows from the key.
#include "runtime/pack_cache.h"

#include "base/alloc.h"
#include "base/folder.h"
#include "base/hash.h"
#include "base/log.h"
#include "runtime/pack_cache_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNK_BYTES = 4 << 20, PAGE_BYTES = 4096, HUGE_PAGE_BYTES = 2 << 20, N_THREADS_MAX = 8 };
#define MAGIC "TNPACKC1"

// The start of a file, all little-endian as the machine is (pack.c asserts it).
typedef struct header {
    char magic[8];
    uint64_t key_bytes, body_offset, body_bytes, chunk_bytes;
    uint64_t hash; // of everything from the header's start to the body but for this field
} header;

static uint64_t n_chunks(const tn_pack_key *key) { return key->body_bytes / CHUNK_BYTES + (key->body_bytes % CHUNK_BYTES != 0); }
static uint64_t hashes_offset(const tn_pack_key *key) { return (sizeof(header) + key->bytes.len + 7) & ~(uint64_t)7; }

// Keys are short and bodies fit in memory, so nothing here overflows.
uint64_t tn_pack_cache_body_offset(const tn_pack_key *key)
{
    // A file that is written in aligned pieces of some megabytes lies in the page cache as huge pages, and is mapped as such.
    const uint64_t alignment = key->body_bytes < HUGE_PAGE_BYTES ? PAGE_BYTES : HUGE_PAGE_BYTES;
    return (hashes_offset(key) + n_chunks(key) * sizeof(uint64_t) + alignment - 1) & ~(alignment - 1);
}

static uint64_t file_bytes(const tn_pack_key *key) { return tn_pack_cache_body_offset(key) + key->body_bytes; }

static size_t chunk_bytes(const tn_pack_key *key, uint64_t index)
{
    const uint64_t left = key->body_bytes - index * CHUNK_BYTES;
    return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

void tn_pack_key_deinit(tn_pack_key *key)
{
    tn_text_deinit(&key->place);
    tn_text_deinit(&key->bytes);
    *key = (tn_pack_key){0};
}

// Everything before the body, with the chunks' hashes as given. Returns owned, tn_pack_cache_body_offset bytes.
static tn_status make_front(const tn_pack_key *key, const uint64_t *hashes, uint8_t **out_front)
{
    const uint64_t bytes = tn_pack_cache_body_offset(key);
    TN_TRY(tn_alloc_zero((size_t)bytes, 1, out_front));
    header h = {.key_bytes = key->bytes.len, .body_offset = bytes, .body_bytes = key->body_bytes, .chunk_bytes = CHUNK_BYTES};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    memcpy(*out_front + sizeof h, key->bytes.data, key->bytes.len);
    memcpy(*out_front + hashes_offset(key), hashes, n_chunks(key) * sizeof *hashes);
    memcpy(*out_front, &h, sizeof h);
    h.hash = tn_hash(*out_front, (size_t)bytes);
    memcpy(*out_front, &h, sizeof h);
    return TN_OK;
}

// ---- verifying ----

typedef struct check_job {
    const tn_pack_key *key;
    const uint8_t *body;
    const uint8_t *hashes;
    uint64_t n;
    _Atomic uint64_t next;
    _Atomic bool differs;
} check_job;

static void *check_chunks(void *user)
{
    check_job *job = user;
    for (;;) {
        const uint64_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->n || atomic_load_explicit(&job->differs, memory_order_relaxed)) return NULL;
        const uint64_t hash = tn_hash(job->body + i * CHUNK_BYTES, chunk_bytes(job->key, i));
        if (memcmp(&hash, job->hashes + i * sizeof hash, sizeof hash) != 0) atomic_store(&job->differs, true);
    }
}

// The CPUs that this process may use, within reason: hashing is bound by memory.
static uint32_t n_threads_for(uint64_t n)
{
    cpu_set_t set;
    const int n_cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    const uint64_t most = n < N_THREADS_MAX ? n : N_THREADS_MAX;
    return (uint64_t)n_cpus < most ? (uint32_t)n_cpus : (uint32_t)most;
}

static bool body_is_intact(check_job *job)
{
    pthread_t threads[N_THREADS_MAX];
    uint32_t n_started = 0;
    const uint32_t n_wanted = n_threads_for(job->n);
    while (n_started + 1 < n_wanted && pthread_create(&threads[n_started], NULL, check_chunks, job) == 0) n_started++;
    check_chunks(job); // alone where no thread could be had
    for (uint32_t i = 0; i < n_started; i++) pthread_join(threads[i], NULL);
    return !atomic_load(&job->differs);
}

tn_status tn_pack_cache_verify(const uint8_t *data, size_t size, const tn_pack_key *key)
{
    if (size < sizeof(header) + key->bytes.len || memcmp(data, MAGIC, 8) != 0 ||
        memcmp(data + sizeof(header), key->bytes.data, key->bytes.len) != 0)
        return tn_fail(TN_NOT_FOUND, "the packed weights are of another model, version or layout");
    if (size != file_bytes(key))
        return tn_fail(TN_BAD_FILE, "%zu bytes of packed weights where %" PRIu64 " were written: it is damaged", size, file_bytes(key));
    // The hashes are copied out before they are used: the file may change under a mapping.
    uint64_t *hashes;
    uint8_t *front = NULL;
    TN_TRY(tn_alloc((size_t)n_chunks(key), sizeof *hashes, &hashes));
    memcpy(hashes, data + hashes_offset(key), n_chunks(key) * sizeof *hashes);
    tn_status status = make_front(key, hashes, &front);
    if (status == TN_OK && memcmp(front, data, tn_pack_cache_body_offset(key)) != 0)
        status = tn_fail(TN_BAD_FILE, "the header of the packed weights is damaged");
    check_job job = {.key = key, .body = data + tn_pack_cache_body_offset(key), .hashes = (const uint8_t *)hashes, .n = n_chunks(key)};
    if (status == TN_OK && !body_is_intact(&job)) status = tn_fail(TN_BAD_FILE, "the packed weights are damaged: their hash differs");
    tn_free(front);
    tn_free(hashes);
    return status;
}

// ---- opening ----

tn_status tn_pack_cache_open(const char *folder, const tn_pack_key *key, tn_file_map *out_map)
{
    *out_map = (tn_file_map){0};
    char *path;
    tn_status status;
    TN_TRY(tn_pack_folder_path(folder, key->place.data, key->place.len, "", &path));
    TN_TRY_GOTO(tn_pack_folder_check_owner(path));
    TN_TRY_GOTO(tn_file_map_open(path, out_map));
    tn_file_map_want_huge(out_map);
    TN_TRY_GOTO(tn_pack_cache_verify(out_map->data, out_map->size_bytes, key));
    TN_TRY_GOTO(tn_file_map_check(out_map, path));
    tn_pack_folder_touch(path);
    tn_free(path);
    return TN_OK;
fail:
    if (status == TN_BAD_FILE) (void)unlink(path); // warned of once, and never read again
    tn_file_map_close(out_map);
    tn_free(path);
    return status;
}

// ---- writing ----

static tn_status write_all(int fd, uint64_t offset, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t written = pwrite(fd, bytes, n, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0)
            return tn_fail_native(TN_IO, errno, "the packed weights could not be written: %s",
                                  written < 0 ? strerror(errno) : "nothing was taken");
        bytes += written;
        offset += (uint64_t)written;
        n -= (size_t)written;
    }
    return TN_OK;
}

// The body first, its hashes and the header last: a file that was cut short has none.
static tn_status write_file(int fd, const tn_pack_key *key, tn_pack_read_fn *read, void *user, const tn_progress *progress)
{
    tn_status status;
    uint64_t *hashes;
    uint8_t *buffer = NULL, *front = NULL;
    const uint64_t body = tn_pack_cache_body_offset(key), n = n_chunks(key);
    TN_TRY(tn_alloc((size_t)n, sizeof *hashes, &hashes));
    TN_TRY_GOTO(tn_alloc(CHUNK_BYTES, 1, &buffer));
    for (uint64_t i = 0; i < n; i++) {
        const size_t bytes = chunk_bytes(key, i);
        TN_TRY_GOTO(read(user, i * CHUNK_BYTES, buffer, bytes));
        hashes[i] = tn_hash(buffer, bytes);
        TN_TRY_GOTO(write_all(fd, body + i * CHUNK_BYTES, buffer, bytes));
        TN_TRY_GOTO(tn_progress_report(progress, "keeping packed weights", i + 1, n));
    }
    TN_TRY_GOTO(make_front(key, hashes, &front));
    status = write_all(fd, 0, front, (size_t)body);
fail:
    tn_free(front);
    tn_free(buffer);
    tn_free(hashes);
    return status;
}

// Room for the file twice, so that a cache is never what fills a disk; and a limit on the size of files, which would end the process by a
// signal.
static tn_status check_room(const char *folder, int fd, uint64_t bytes)
{
    struct statvfs info;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < bytes)
        return tn_fail(TN_UNAVAILABLE, "%.400s: packed weights of %" PRIu64 " MiB are above the limit on the size of files", folder,
                       bytes >> 20);
    if (fstatvfs(fd, &info) != 0) return tn_fail_native(TN_IO, errno, "%.400s: could not ask for free space: %s", folder, strerror(errno));
    if ((uint64_t)info.f_bavail * info.f_frsize / 2 < bytes)
        return tn_fail(TN_UNAVAILABLE, "%.400s: the disk has no room for packed weights of %" PRIu64 " MiB", folder, bytes >> 20);
    return TN_OK;
}

static tn_status write_locked(const char *folder, int fd, const char *temporary, const char *path, const tn_pack_key *key,
                              tn_pack_read_fn *read, void *user, const tn_progress *progress)
{
    TN_TRY(check_room(folder, fd, file_bytes(key)));
    if (ftruncate(fd, 0) != 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be emptied: %s", temporary, strerror(errno));
    TN_TRY(write_file(fd, key, read, user, progress));
    if (rename(temporary, path) != 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be renamed: %s", temporary, strerror(errno));
    return TN_OK;
}

tn_status tn_pack_cache_write(const char *folder, const tn_pack_key *key, uint64_t max_bytes, tn_pack_read_fn *read, void *user,
                              const tn_progress *progress)
{
    tn_status status;
    char *path = NULL, *temporary = NULL;
    int fd = -1;
    if (max_bytes != 0 && file_bytes(key) > max_bytes)
        return tn_fail(TN_UNAVAILABLE, "%.400s: packed weights of %" PRIu64 " MiB are more than the cache may hold", folder,
                       file_bytes(key) >> 20);
    TN_TRY_GOTO(tn_folder_make(folder, "packed weights"));
    TN_TRY_GOTO(tn_pack_folder_path(folder, key->place.data, key->place.len, "", &path));
    TN_TRY_GOTO(tn_pack_folder_path(folder, key->place.data, key->place.len, ".tmp", &temporary));
    TN_TRY_GOTO(tn_pack_folder_lock(temporary, &fd));
    status = write_locked(folder, fd, temporary, path, key, read, user, progress);
    if (status != TN_OK) (void)unlink(temporary); // ours: the lock is still held
    if (status == TN_OK) tn_pack_folder_trim(folder, path, max_bytes);
fail:
    if (fd >= 0) close(fd);
    tn_free(temporary);
    tn_free(path);
    return status;
}
