// The folder of packed weights. Several processes use it at a time; each step is one that the file system makes atomic.
#include "runtime/pack_cache_folder.h"

#include "base/alloc.h"
#include "base/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX     ".tnpack"
#define TMP_SUFFIX SUFFIX ".tmp"

tn_status tn_pack_folder_path(const char *folder, const char *place, size_t place_len, const char *suffix, char **out_path)
{
    const size_t capacity = strlen(folder) + strlen(suffix) + 32;
    TN_TRY(tn_alloc(capacity, 1, out_path));
    snprintf(*out_path, capacity, "%s/%016" PRIx64 SUFFIX "%s", folder, tn_hash(place, place_len), suffix);
    return TN_OK;
}

tn_status tn_pack_folder_check_owner(const char *path)
{
    struct stat info;
    if (lstat(path, &info) != 0) return tn_fail_native(TN_NOT_FOUND, errno, "%.400s: there is no such file", path);
    if (S_ISREG(info.st_mode) && (info.st_uid == geteuid() || info.st_uid == 0) && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "%.400s: is not a file that only this user may write: remove it", path);
}

tn_status tn_pack_folder_lock(const char *path, int *out_fd)
{
    struct stat ours, there;
    *out_fd = -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be made: %s", path, strerror(errno));
    // Whoever had the lock before may have renamed the file away meanwhile: then what is open here is the finished file, not to be touched.
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &ours) == 0 && S_ISREG(ours.st_mode) && lstat(path, &there) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        *out_fd = fd;
        return TN_OK;
    }
    close(fd);
    return tn_fail(TN_UNAVAILABLE, "%.400s: another process is writing it", path);
}

void tn_pack_folder_touch(const char *path)
{
    // Not vital: where it fails, the file only looks unused for longer.
    const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
    (void)utimensat(AT_FDCWD, path, now, AT_SYMLINK_NOFOLLOW);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), n_end = strlen(end);
    return n > n_end && strcmp(text + n - n_end, end) == 0;
}

// A temporary file that nobody holds is of a writer that died.
static void remove_stale(int folder_fd, const char *name)
{
    struct stat ours, there;
    int fd = openat(folder_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &ours) == 0 && fstatat(folder_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
        (void)unlinkat(folder_fd, name, 0);
    close(fd);
}

// All bytes of the folder's files, and the name of the one that was not used for longest.
static uint64_t survey(DIR *folder, const char *keep, char oldest[NAME_MAX + 1])
{
    uint64_t total = 0;
    struct timespec least = {0};
    oldest[0] = '\0';
    rewinddir(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        struct stat info;
        if (ends_with(entry->d_name, TMP_SUFFIX)) remove_stale(dirfd(folder), entry->d_name);
        if (!ends_with(entry->d_name, SUFFIX) || fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (!S_ISREG(info.st_mode)) continue;
        total += (uint64_t)info.st_size;
        const bool older = oldest[0] == '\0' || info.st_mtim.tv_sec < least.tv_sec ||
                           (info.st_mtim.tv_sec == least.tv_sec && info.st_mtim.tv_nsec < least.tv_nsec);
        if (!older || strcmp(entry->d_name, keep) == 0) continue;
        least = info.st_mtim;
        snprintf(oldest, NAME_MAX + 1, "%s", entry->d_name);
    }
    return total;
}

void tn_pack_folder_trim(const char *folder, const char *keep, uint64_t max_bytes)
{
    char oldest[NAME_MAX + 1];
    const char *slash = strrchr(keep, '/');
    DIR *files = opendir(folder);
    if (!files) return;
    // A process that has mapped a file keeps its bytes when the name goes.
    while (survey(files, slash ? slash + 1 : keep, oldest) > max_bytes && max_bytes != 0 && oldest[0] != '\0') {
        if (unlinkat(dirfd(files), oldest, 0) != 0) break;
    }
    closedir(files);
}
