// Reads and writes files of costs: text with a checksum, replaced by renaming.
#include "runtime/cost_file.h"

#include "base/alloc.h"
#include "base/file_replace.h"
#include "base/folder.h"
#include "base/hash.h"
#include "runtime/pack_cache_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 << 10 }; // a table has some 6 KiB

static tn_status path_of(const char *folder, const char *key, char **out_path)
{
    const size_t capacity = strlen(folder) + 32;
    TN_TRY(tn_alloc(capacity, 1, out_path));
    snprintf(*out_path, capacity, "%s/costs-%016" PRIx64 ".txt", folder, tn_hash(key, strlen(key)));
    return TN_OK;
}

static tn_status read_file(const char *path, char *bytes, size_t *out_n)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    *out_n = 0;
    if (fd < 0) return tn_fail_native(errno == ENOENT ? TN_NOT_FOUND : TN_IO, errno, "%.400s: %s", path, strerror(errno));
    ssize_t got = 1;
    while (got != 0 && *out_n < FILE_BYTES_MAX) {
        got = read(fd, bytes + *out_n, FILE_BYTES_MAX - *out_n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) break;
        *out_n += (size_t)got;
    }
    const int code = errno;
    close(fd);
    return got < 0 ? tn_fail_native(TN_IO, code, "%.400s: could not be read: %s", path, strerror(code)) : TN_OK;
}

static tn_status read_table(const char *path, const char *key, tn_cost_table *out_table)
{
    char *bytes;
    size_t n;
    TN_TRY(tn_pack_folder_check_owner(path));
    TN_TRY(tn_alloc(FILE_BYTES_MAX, 1, &bytes));
    tn_status status = read_file(path, bytes, &n);
    if (status == TN_OK) status = tn_cost_read((tn_str){bytes, n}, key, out_table);
    tn_free(bytes);
    return status;
}

tn_status tn_cost_file_read(const char *folder, const char *key, tn_cost_table *out_table)
{
    char *path;
    tn_cost_table_init(out_table);
    TN_TRY(path_of(folder, key, &path));
    const tn_status status = read_table(path, key, out_table);
    tn_free(path);
    return status;
}

tn_status tn_cost_file_write(const char *folder, const char *key, const tn_cost_table *table)
{
    char *path = NULL;
    tn_text text = {0};
    tn_status status = tn_cost_write(table, key, &text);
    if (status == TN_OK) status = tn_folder_make(folder, "measured costs");
    if (status == TN_OK) status = path_of(folder, key, &path);
    if (status == TN_OK) status = tn_file_replace(path, &(tn_str){text.data, text.len}, 1);
    tn_free(path);
    tn_text_deinit(&text);
    return status;
}
