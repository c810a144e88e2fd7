// Writes GGUF v3 files: a temporary file beside the target, metadata, then tensor data as a stream, then sync and rename.
#include "format/gguf_write.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALIGNMENT = 32,
    MAX_NAME = 63,    // bytes of a tensor name, as readers demand
    MAX_TRIES = 1000, // of temporary names, where earlier ones were left behind by killed processes
};

typedef struct planned_tensor {
    char name[MAX_NAME + 1];
    uint64_t size_bytes;
} planned_tensor;

struct tn_gguf_writer {
    char *path, *temp_path, *dir_path; // owned
    int fd;                            // -1 once closed
    bool overwrite, started, temp_exists, failed;
    tn_text keys; // all keys so far, each with its NUL: to refuse duplicates
    tn_text meta; // serialised metadata
    tn_text infos;
    uint64_t n_kv, data_bytes; // data_bytes: where the next announced tensor begins
    planned_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    size_t current;        // tensor that receives data
    uint64_t current_done; // its bytes so far
};

// ---- files ----

static tn_status fail_io(tn_gguf_writer *writer, const char *what)
{
    const int code = errno;
    writer->failed = true;
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
        return tn_fail_native(TN_IO, code, "'%s' cannot be written: %s; free some space or write to another disk", writer->path,
                              strerror(code));
    }
    return tn_fail_native(TN_IO, code, "'%s': %s: %s; check the folder and its permissions", writer->path, what, strerror(code));
}

static tn_status check_target(const char *path, bool overwrite)
{
    struct stat info;
    if (lstat(path, &info) != 0) return TN_OK; // what else may be wrong with the path shows when the file is made
    if (!overwrite)
        return tn_fail_native(TN_INVALID_ARGUMENT, EEXIST, "'%s' exists already; choose another name or ask to overwrite it", path);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return tn_fail(TN_INVALID_ARGUMENT, "'%s' is not a regular file; choose another name", path);
    }
    return TN_OK;
}

static tn_status create_temp(tn_gguf_writer *writer)
{
    tn_text name = {0};
    tn_status status = TN_OK;
    for (unsigned attempt = 0;; attempt++) {
        name.len = 0;
        TN_TRY_GOTO(tn_text_printf(&name, "%s.tmp-%ld-%u", writer->path, (long)getpid(), attempt));
        writer->fd = open(name.data, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (writer->fd >= 0) break;
        if (errno != EEXIST || attempt == MAX_TRIES) {
            status = fail_io(writer, "cannot create a file beside it");
            goto fail;
        }
    }
    writer->temp_exists = true;
    writer->temp_path = name.data; // takes the buffer
    return TN_OK;
fail:
    tn_text_deinit(&name);
    return status;
}

static tn_status write_all(tn_gguf_writer *writer, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n > 0) {
        const ssize_t done = write(writer->fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return fail_io(writer, "cannot write");
        at += done;
        n -= (size_t)done;
    }
    return TN_OK;
}

tn_status tn_gguf_writer_create(const char *path, bool overwrite, tn_gguf_writer **out_writer)
{
    *out_writer = NULL;
    if (path[0] == '\0' || path[strlen(path) - 1] == '/') {
        return tn_fail(TN_INVALID_ARGUMENT, "'%s' names no file; give the output a file name", path);
    }
    TN_TRY(check_target(path, overwrite));
    tn_gguf_writer *writer = NULL;
    tn_status status = tn_alloc_zero(1, sizeof(*writer), &writer);
    if (status != TN_OK) return status;
    writer->fd = -1;
    writer->overwrite = overwrite;
    const char *slash = strrchr(path, '/');
    TN_TRY_GOTO(tn_strdup(path, strlen(path), &writer->path));
    TN_TRY_GOTO(slash ? tn_strdup(path, (size_t)(slash - path) + 1, &writer->dir_path) : tn_strdup(".", 1, &writer->dir_path));
    TN_TRY_GOTO(create_temp(writer));
    *out_writer = writer;
    return TN_OK;
fail:
    tn_gguf_writer_destroy(writer);
    return status;
}

void tn_gguf_writer_destroy(tn_gguf_writer *writer)
{
    if (!writer) return;
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temp_exists) unlink(writer->temp_path);
    tn_text_deinit(&writer->keys);
    tn_text_deinit(&writer->meta);
    tn_text_deinit(&writer->infos);
    tn_free(writer->tensors);
    tn_free(writer->dir_path);
    tn_free(writer->temp_path);
    tn_free(writer->path);
    tn_free(writer);
}

static tn_status check_alive(const tn_gguf_writer *writer)
{
    if (!writer->failed) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "'%s': writing failed before; begin again", writer->path);
}

// ---- metadata ----

static tn_status put_u32(tn_text *text, uint32_t v)
{
    char b[4];
    for (unsigned i = 0; i < 4; i++) b[i] = (char)(v >> (8 * i) & 0xff);
    return tn_text_append(text, b, sizeof(b));
}

static tn_status put_u64(tn_text *text, uint64_t v)
{
    TN_TRY(put_u32(text, (uint32_t)(v & 0xffffffffu)));
    return put_u32(text, (uint32_t)(v >> 32));
}

static tn_status put_f32(tn_text *text, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return put_u32(text, bits);
}

static tn_status put_str(tn_text *text, tn_str v)
{
    TN_TRY(put_u64(text, v.len));
    return v.len > 0 ? tn_text_append(text, v.data, v.len) : TN_OK;
}

// Begins a pair. A failure later on leaves the pair incomplete, so the writer counts as failed until the value is there.
static tn_status begin_kv(tn_gguf_writer *writer, const char *key, tn_gguf_type type)
{
    TN_TRY(check_alive(writer));
    if (writer->started) return tn_fail(TN_INVALID_ARGUMENT, "metadata '%.200s' comes after tensor data; write it before", key);
    if (key[0] == '\0') return tn_fail(TN_INVALID_ARGUMENT, "a metadata key is empty; name it");
    for (size_t at = 0; at < writer->keys.len; at += strlen(writer->keys.data + at) + 1) {
        if (strcmp(writer->keys.data + at, key) == 0)
            return tn_fail(TN_INVALID_ARGUMENT, "metadata '%.200s' is given twice; write it once", key);
    }
    writer->failed = true;
    TN_TRY(tn_text_append(&writer->keys, key, strlen(key) + 1));
    TN_TRY(put_str(&writer->meta, tn_str_of(key)));
    return put_u32(&writer->meta, (uint32_t)type);
}

static tn_status end_kv(tn_gguf_writer *writer)
{
    writer->failed = false;
    writer->n_kv++;
    return TN_OK;
}

static tn_status begin_array(tn_gguf_writer *writer, const char *key, tn_gguf_type type, size_t n)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_ARRAY));
    TN_TRY(put_u32(&writer->meta, (uint32_t)type));
    return put_u64(&writer->meta, n);
}

tn_status tn_gguf_writer_u32(tn_gguf_writer *writer, const char *key, uint32_t value)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_U32));
    TN_TRY(put_u32(&writer->meta, value));
    return end_kv(writer);
}

tn_status tn_gguf_writer_u64(tn_gguf_writer *writer, const char *key, uint64_t value)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_U64));
    TN_TRY(put_u64(&writer->meta, value));
    return end_kv(writer);
}

tn_status tn_gguf_writer_f32(tn_gguf_writer *writer, const char *key, float value)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_F32));
    TN_TRY(put_f32(&writer->meta, value));
    return end_kv(writer);
}

tn_status tn_gguf_writer_bool(tn_gguf_writer *writer, const char *key, bool value)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_BOOL));
    TN_TRY(tn_text_append(&writer->meta, value ? "\1" : "\0", 1));
    return end_kv(writer);
}

tn_status tn_gguf_writer_str(tn_gguf_writer *writer, const char *key, const char *value)
{
    TN_TRY(begin_kv(writer, key, TN_GGUF_STRING));
    TN_TRY(put_str(&writer->meta, tn_str_of(value)));
    return end_kv(writer);
}

tn_status tn_gguf_writer_str_array(tn_gguf_writer *writer, const char *key, const tn_str *values, size_t n)
{
    TN_TRY(begin_array(writer, key, TN_GGUF_STRING, n));
    for (size_t i = 0; i < n; i++) TN_TRY(put_str(&writer->meta, values[i]));
    return end_kv(writer);
}

tn_status tn_gguf_writer_i32_array(tn_gguf_writer *writer, const char *key, const int32_t *values, size_t n)
{
    TN_TRY(begin_array(writer, key, TN_GGUF_I32, n));
    for (size_t i = 0; i < n; i++) TN_TRY(put_u32(&writer->meta, (uint32_t)values[i]));
    return end_kv(writer);
}

tn_status tn_gguf_writer_f32_array(tn_gguf_writer *writer, const char *key, const float *values, size_t n)
{
    TN_TRY(begin_array(writer, key, TN_GGUF_F32, n));
    for (size_t i = 0; i < n; i++) TN_TRY(put_f32(&writer->meta, values[i]));
    return end_kv(writer);
}

// ---- tensors ----

// The id of a type in files. I2_S has the number of bitnet.cpp's files.
static tn_status file_type_id(tn_dtype dtype, uint32_t *out_id)
{
    static const uint16_t ids[TN_DTYPE_OTHER] = {
        [TN_DTYPE_F32] = 0,      [TN_DTYPE_F16] = 1,         [TN_DTYPE_BF16] = 30,  [TN_DTYPE_Q8_0] = 8,   [TN_DTYPE_Q6_K] = 14,
        [TN_DTYPE_Q5_K] = 13,    [TN_DTYPE_Q4_K] = 12,       [TN_DTYPE_Q5_1] = 7,   [TN_DTYPE_Q5_0] = 6,   [TN_DTYPE_Q4_1] = 3,
        [TN_DTYPE_Q4_0] = 2,     [TN_DTYPE_I2_S] = 36,       [TN_DTYPE_TQ1_0] = 34, [TN_DTYPE_TQ2_0] = 35, [TN_DTYPE_IQ1_BN] = 134,
        [TN_DTYPE_IQ2_BN] = 135, [TN_DTYPE_IQ2_BN_R4] = 335, [TN_DTYPE_TL1] = 38,   [TN_DTYPE_TL2] = 39,
    };
    if (dtype == TN_DTYPE_NONE || (unsigned)dtype >= TN_DTYPE_OTHER)
        return tn_fail(TN_UNSUPPORTED, "tensors of type %s are not written", tn_dtype_get(dtype)->name);
    *out_id = ids[dtype];
    return TN_OK;
}

static tn_status check_tensor(const tn_gguf_writer *writer, const char *name, uint32_t n_dims, const uint64_t *ne, uint64_t *out_n)
{
    TN_TRY(check_alive(writer));
    if (writer->started)
        return tn_fail(TN_INVALID_ARGUMENT, "tensor '%.200s' is announced after data began; announce all tensors before", name);
    const size_t len = strlen(name);
    if (len == 0 || len > MAX_NAME) {
        return tn_fail(TN_INVALID_ARGUMENT, "tensor name '%.200s' has %zu bytes; 1 to %d are allowed", name, len, MAX_NAME);
    }
    for (size_t i = 0; i < writer->n_tensors; i++) {
        if (strcmp(writer->tensors[i].name, name) == 0) return tn_fail(TN_INVALID_ARGUMENT, "tensor '%s' is announced twice", name);
    }
    uint64_t n = 1;
    if (n_dims < 1 || n_dims > 4)
        return tn_fail(TN_INVALID_ARGUMENT, "tensor '%s' has %u dimensions; 1 to 4 are allowed", name, (unsigned)n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        if (ne[i] == 0 || !tn_ckd_mul(n, ne[i], &n) || n > INT64_MAX) {
            return tn_fail(TN_INVALID_ARGUMENT, "tensor '%s': dimension %u (%llu) is out of range", name, (unsigned)i,
                           (unsigned long long)ne[i]);
        }
    }
    *out_n = n;
    return TN_OK;
}

tn_status tn_gguf_writer_tensor(tn_gguf_writer *writer, const char *name, tn_dtype dtype, uint32_t n_dims, const uint64_t *ne)
{
    uint64_t n = 0, padded = 0, next = 0;
    uint32_t id = 0;
    planned_tensor tensor = {0};
    TN_TRY(check_tensor(writer, name, n_dims, ne, &n));
    TN_TRY(file_type_id(dtype, &id));
    if (tn_dtype_size(dtype, ne[0], n, &tensor.size_bytes) != TN_OK) return tn_fail_prefix("tensor '%s': ", name);
    if (!tn_ckd_round_up(tensor.size_bytes, ALIGNMENT, &padded) || !tn_ckd_add(writer->data_bytes, padded, &next)) {
        return tn_fail(TN_INVALID_ARGUMENT, "tensor '%s' makes the file larger than any file can be", name);
    }
    memcpy(tensor.name, name, strlen(name));
    TN_TRY(tn_grow(&writer->tensors, &writer->tensors_capacity, writer->n_tensors + 1, sizeof(*writer->tensors)));
    writer->failed = true; // until the entry is whole
    TN_TRY(put_str(&writer->infos, tn_str_of(name)));
    TN_TRY(put_u32(&writer->infos, n_dims));
    for (uint32_t i = 0; i < n_dims; i++) TN_TRY(put_u64(&writer->infos, ne[i]));
    TN_TRY(put_u32(&writer->infos, id));
    TN_TRY(put_u64(&writer->infos, writer->data_bytes));
    writer->failed = false;
    writer->tensors[writer->n_tensors++] = tensor;
    writer->data_bytes = next;
    return TN_OK;
}

static tn_status write_padding(tn_gguf_writer *writer, uint64_t bytes)
{
    static const char zeros[ALIGNMENT];
    return write_all(writer, zeros, (size_t)((ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT));
}

static tn_status start_data(tn_gguf_writer *writer)
{
    tn_text head = {0};
    tn_status status = TN_OK;
    writer->started = true;
    TN_TRY_GOTO(tn_text_append(&head, "GGUF", 4));
    TN_TRY_GOTO(put_u32(&head, 3));
    TN_TRY_GOTO(put_u64(&head, writer->n_tensors));
    TN_TRY_GOTO(put_u64(&head, writer->n_kv));
    TN_TRY_GOTO(write_all(writer, head.data, head.len));
    TN_TRY_GOTO(write_all(writer, writer->meta.data, writer->meta.len));
    TN_TRY_GOTO(write_all(writer, writer->infos.data, writer->infos.len));
    TN_TRY_GOTO(write_padding(writer, (uint64_t)head.len + writer->meta.len + writer->infos.len));
fail:
    if (status != TN_OK) writer->failed = true;
    tn_text_deinit(&head);
    return status;
}

tn_status tn_gguf_writer_data(tn_gguf_writer *writer, const void *bytes, size_t n)
{
    TN_TRY(check_alive(writer));
    if (!writer->started) TN_TRY(start_data(writer));
    const char *at = bytes;
    while (n > 0) {
        if (writer->current == writer->n_tensors) {
            writer->failed = true;
            return tn_fail(TN_INVALID_ARGUMENT, "'%s': %zu bytes of data come after the last tensor", writer->path, n);
        }
        const planned_tensor *tensor = &writer->tensors[writer->current];
        const uint64_t left = tensor->size_bytes - writer->current_done;
        const size_t part = n < left ? n : (size_t)left;
        TN_TRY(write_all(writer, at, part));
        at += part;
        n -= part;
        writer->current_done += part;
        if (writer->current_done == tensor->size_bytes) {
            TN_TRY(write_padding(writer, tensor->size_bytes));
            writer->current++;
            writer->current_done = 0;
        }
    }
    return TN_OK;
}

// ---- finishing ----

// Gives the finished file its name. Without overwrite an existing target stays, even one that appeared meanwhile.
static tn_status publish(tn_gguf_writer *writer)
{
    const unsigned keep = 1; // RENAME_NOREPLACE, which not every libc names
    int rc =
        writer->overwrite ? rename(writer->temp_path, writer->path) : renameat2(AT_FDCWD, writer->temp_path, AT_FDCWD, writer->path, keep);
    if (rc != 0 && !writer->overwrite && (errno == EINVAL || errno == ENOSYS)) {
        rc = link(writer->temp_path, writer->path); // file systems without that flag: a link never replaces
        if (rc == 0) unlink(writer->temp_path);
    }
    if (rc != 0 && errno == EEXIST) {
        return tn_fail_native(TN_INVALID_ARGUMENT, EEXIST,
                              "'%s' appeared while it was being made; choose another name or ask to overwrite it", writer->path);
    }
    if (rc != 0) return fail_io(writer, "cannot rename the finished file");
    writer->temp_exists = false;
    return TN_OK;
}

static tn_status sync_folder(tn_gguf_writer *writer)
{
    const int fd = open(writer->dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno == EACCES ? TN_OK : fail_io(writer, "cannot open its folder"); // a folder may be writable and not readable
    const int rc = fsync(fd);
    const int code = errno;
    close(fd);
    errno = code;
    if (rc != 0 && code != EINVAL && code != ENOTSUP) return fail_io(writer, "the folder could not be synced after the file was complete");
    return TN_OK;
}

tn_status tn_gguf_writer_finish(tn_gguf_writer *writer)
{
    TN_TRY(check_alive(writer));
    if (!writer->started) TN_TRY(start_data(writer));
    if (writer->current != writer->n_tensors) {
        const planned_tensor *tensor = &writer->tensors[writer->current];
        return tn_fail(TN_INVALID_ARGUMENT, "'%s': tensor '%s' has %llu of its %llu bytes; write the rest first", writer->path,
                       tensor->name, (unsigned long long)writer->current_done, (unsigned long long)tensor->size_bytes);
    }
    if (fsync(writer->fd) != 0) return fail_io(writer, "cannot sync");
    const int fd = writer->fd;
    writer->fd = -1;
    if (close(fd) != 0) return fail_io(writer, "cannot close");
    TN_TRY(publish(writer));
    return sync_folder(writer);
}
