// A header with the key, the shaders' hash and the hash of what follows, then the driver's bytes. Drivers check little of what they are
// handed, so that a damaged or foreign file must end here.
#include "vulkan/vk_pipeline_file.h"

#include "base/alloc.h"
#include "base/file_replace.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "TNVKPIP1";
// Some 30 pipelines come to less than 1 MiB with every driver seen.
static const uint64_t n_bytes_max = UINT64_C(64) << 20;

typedef struct file_header {
    char magic[8];
    uint8_t key[TN_VK_CACHE_KEY_BYTES];
    uint64_t shaders_hash, n_bytes, bytes_hash;
} file_header;

static file_header header_of(const uint8_t *key, const char *shaders, const uint8_t *bytes, size_t n)
{
    file_header header = {.shaders_hash = tn_hash(shaders, strlen(shaders)), .n_bytes = n, .bytes_hash = tn_hash(bytes, n)};
    memcpy(header.magic, magic, sizeof header.magic);
    memcpy(header.key, key, sizeof header.key);
    return header;
}

tn_status tn_vk_pipeline_file_path(const char *folder, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, char **out_path)
{
    const uint64_t parts[2] = {tn_hash(key, TN_VK_CACHE_KEY_BYTES), tn_hash(shaders, strlen(shaders))};
    const size_t capacity = strlen(folder) + 48;
    TN_TRY(tn_alloc(capacity, 1, out_path));
    snprintf(*out_path, capacity, "%s/vulkan-%016" PRIx64 ".pipelines", folder, tn_hash(parts, sizeof parts));
    return TN_OK;
}

// All of [bytes, bytes + n) or a failure.
static tn_status read_all(int fd, const char *path, void *bytes, size_t n)
{
    for (uint8_t *at = bytes; n > 0;) {
        const ssize_t got = read(fd, at, n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be read: %s", path, strerror(errno));
        if (got == 0) return tn_fail(TN_BAD_FILE, "%.400s: ends too early", path);
        at += got;
        n -= (size_t)got;
    }
    return TN_OK;
}

static tn_status check_file(int fd, const char *path, uint64_t *out_n)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be read: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode) || (info.st_uid != geteuid() && info.st_uid != 0) || (info.st_mode & (S_IWGRP | S_IWOTH)))
        return tn_fail(TN_UNSUPPORTED, "%.400s: is not a file that only this user may write: remove it", path);
    const uint64_t n = (uint64_t)info.st_size;
    if (n < sizeof(file_header) || n - sizeof(file_header) > n_bytes_max)
        return tn_fail(TN_BAD_FILE, "%.400s: has %" PRIu64 " bytes, which no such file has", path, n);
    *out_n = n - sizeof(file_header);
    return TN_OK;
}

static tn_status read_checked(int fd, const char *path, const uint8_t *key, const char *shaders, uint8_t **out_bytes, size_t *out_n)
{
    tn_status status;
    uint64_t n = 0;
    uint8_t *bytes;
    file_header header;
    TN_TRY(check_file(fd, path, &n));
    TN_TRY(read_all(fd, path, &header, sizeof header));
    if (header.n_bytes != n) return tn_fail(TN_BAD_FILE, "%.400s: is cut, or something else", path);
    TN_TRY(tn_alloc((size_t)n, 1, &bytes));
    TN_TRY_GOTO(read_all(fd, path, bytes, (size_t)n));
    const file_header want = header_of(key, shaders, bytes, (size_t)n);
    if (memcmp(&header, &want, sizeof want) != 0)
        TN_TRY_GOTO(tn_fail(TN_BAD_FILE, "%.400s: is damaged, or of another driver or version", path));
    *out_bytes = bytes;
    *out_n = (size_t)n;
    return TN_OK;
fail:
    tn_free(bytes);
    return status;
}

tn_status tn_vk_pipeline_file_read(const char *path, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, uint8_t **out_bytes,
                                   size_t *out_n)
{
    *out_bytes = NULL;
    *out_n = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return tn_fail_native(errno == ENOENT ? TN_NOT_FOUND : TN_IO, errno, "%.400s: %s", path, strerror(errno));
    const tn_status status = read_checked(fd, path, key, shaders, out_bytes, out_n);
    close(fd);
    return status;
}

tn_status tn_vk_pipeline_file_write(const char *path, const uint8_t key[TN_VK_CACHE_KEY_BYTES], const char *shaders, const uint8_t *bytes,
                                    size_t n)
{
    const file_header header = header_of(key, shaders, bytes, n);
    const tn_str parts[] = {{(const char *)&header, sizeof header}, {(const char *)bytes, n}};
    return tn_file_replace(path, parts, sizeof parts / sizeof *parts);
}
