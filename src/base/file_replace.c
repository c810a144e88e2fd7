// Writes beside the file, then renames.
#include "base/file_replace.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static tn_status write_all(int fd, const char *path, tn_str bytes)
{
    while (bytes.len > 0) {
        const ssize_t put = write(fd, bytes.data, bytes.len);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return tn_fail_native(TN_IO, errno, "%.400s: could not be written: %s", path, strerror(errno));
        bytes.data += put;
        bytes.len -= (size_t)put;
    }
    return TN_OK;
}

static tn_status write_file(int fd, const char *temporary, const char *path, const tn_str *parts, size_t n_parts)
{
    tn_status status = TN_OK;
    for (size_t i = 0; i < n_parts && status == TN_OK; i++) status = write_all(fd, temporary, parts[i]);
    if (close(fd) != 0 && status == TN_OK)
        status = tn_fail_native(TN_IO, errno, "%.400s: could not be written: %s", temporary, strerror(errno));
    if (status == TN_OK && rename(temporary, path) != 0)
        status = tn_fail_native(TN_IO, errno, "%.400s: could not be renamed: %s", temporary, strerror(errno));
    if (status != TN_OK) (void)unlink(temporary);
    return status;
}

tn_status tn_file_replace(const char *path, const tn_str *parts, size_t n_parts)
{
    char *temporary;
    const size_t capacity = strlen(path) + 8;
    TN_TRY(tn_alloc(capacity, 1, &temporary));
    snprintf(temporary, capacity, "%s.XXXXXX", path);
    const int fd = mkostemp(temporary, O_CLOEXEC);
    const tn_status status = fd < 0 ? tn_fail_native(TN_IO, errno, "%.400s: could not be made: %s", temporary, strerror(errno))
                                    : write_file(fd, temporary, path, parts, n_parts);
    tn_free(temporary);
    return status;
}
