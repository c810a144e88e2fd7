// Hugging Face safetensors: the directory of one file or of the shards that an index names, every offset checked.
#include "format/safetensors.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file_map.h"
#include "format/json.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_JSON_BYTES = 100000000 }; // what the reference implementation allows for a header

#define RETRY "get another copy of the file"

typedef struct st_file {
    char *path; // owned
    tn_file_map map;
    const uint8_t *bytes; // the mapping's, or the caller's
    size_t size;
} st_file;

struct tn_safetensors {
    st_file *files;
    size_t n_files, files_capacity;
    tn_safetensor *tensors; // sorted by name
    uint32_t *owners;       // [n_tensors] index of the tensor's file; sorted alike
    size_t n_tensors, tensors_capacity, owners_capacity;
};

static const struct {
    const char *name;
    uint64_t bytes;
    tn_dtype dtype;
} DTYPES[] = {
    {"F32", 4, TN_DTYPE_F32},       {"F16", 2, TN_DTYPE_F16},    {"BF16", 2, TN_DTYPE_BF16},     {"U8", 1, TN_DTYPE_OTHER},
    {"I8", 1, TN_DTYPE_OTHER},      {"BOOL", 1, TN_DTYPE_OTHER}, {"I16", 2, TN_DTYPE_OTHER},     {"U16", 2, TN_DTYPE_OTHER},
    {"I32", 4, TN_DTYPE_OTHER},     {"U32", 4, TN_DTYPE_OTHER},  {"I64", 8, TN_DTYPE_OTHER},     {"U64", 8, TN_DTYPE_OTHER},
    {"F64", 8, TN_DTYPE_OTHER},     {"C64", 8, TN_DTYPE_OTHER},  {"F8_E4M3", 1, TN_DTYPE_OTHER}, {"F8_E5M2", 1, TN_DTYPE_OTHER},
    {"F8_E8M0", 1, TN_DTYPE_OTHER},
};

// ---- one tensor of a header ----

static tn_status read_dtype(const char *path, tn_str name, const tn_json *entry, tn_safetensor *out, uint64_t *out_element_bytes)
{
    tn_str dtype;
    if (!tn_json_str(tn_json_get(entry, "dtype"), &dtype)) {
        return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' has no dtype; " RETRY, path, TN_STR_ARGS(name));
    }
    for (size_t i = 0; i < sizeof(DTYPES) / sizeof(DTYPES[0]); i++) {
        if (!tn_str_is(dtype, DTYPES[i].name)) continue;
        memcpy(out->dtype_name, dtype.data, dtype.len + 1);
        out->dtype = DTYPES[i].dtype;
        *out_element_bytes = DTYPES[i].bytes;
        return TN_OK;
    }
    return tn_fail(TN_UNSUPPORTED, "'%s': tensor '%.*s' has dtype '%.*s', which is not known here; save the checkpoint as bf16", path,
                   TN_STR_ARGS(name), TN_STR_ARGS(dtype));
}

static tn_status read_shape(const char *path, tn_str name, const tn_json *entry, tn_safetensor *out)
{
    const tn_json *shape = tn_json_get(entry, "shape");
    if (!tn_json_is_array(shape)) return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' has no shape; " RETRY, path, TN_STR_ARGS(name));
    if (tn_json_size(shape) > 4) {
        return tn_fail(TN_UNSUPPORTED, "'%s': tensor '%.*s' has %zu dimensions; at most 4 are read", path, TN_STR_ARGS(name),
                       tn_json_size(shape));
    }
    out->n_dims = (uint32_t)tn_json_size(shape);
    out->n_elements = 1;
    for (uint32_t i = 0; i < out->n_dims; i++) {
        if (!tn_json_u64(tn_json_at(shape, i), &out->shape[i]) || !tn_ckd_mul(out->n_elements, out->shape[i], &out->n_elements)) {
            return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s': dimension %u of its shape is wrong; " RETRY, path, TN_STR_ARGS(name),
                           (unsigned)i);
        }
    }
    return TN_OK;
}

// `data` and `data_size`: the file's part after its header.
static tn_status read_entry(const char *path, tn_str name, const tn_json *entry, const uint8_t *data, uint64_t data_size,
                            tn_safetensor *out)
{
    uint64_t element_bytes = 0, begin = 0, end = 0, bytes = 0;
    TN_TRY(read_dtype(path, name, entry, out, &element_bytes));
    TN_TRY(read_shape(path, name, entry, out));
    const tn_json *offsets = tn_json_get(entry, "data_offsets");
    if (!tn_json_is_array(offsets) || tn_json_size(offsets) != 2 || !tn_json_u64(tn_json_at(offsets, 0), &begin) ||
        !tn_json_u64(tn_json_at(offsets, 1), &end)) {
        return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' has no data_offsets; " RETRY, path, TN_STR_ARGS(name));
    }
    if (begin > end || end > data_size) {
        return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' lies at bytes %llu to %llu of %llu; the file is cut short, " RETRY, path,
                       TN_STR_ARGS(name), (unsigned long long)begin, (unsigned long long)end, (unsigned long long)data_size);
    }
    if (!tn_ckd_mul(out->n_elements, element_bytes, &bytes) || bytes != end - begin) {
        return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' has %llu bytes, which is not the size of its shape; " RETRY, path,
                       TN_STR_ARGS(name), (unsigned long long)(end - begin));
    }
    out->data = data + begin;
    out->size_bytes = bytes;
    return TN_OK;
}

// ---- one file ----

static int by_place(const void *a, const void *b)
{
    const tn_safetensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes);
}

// Sorts the tensors of one file by place and looks at neighbours.
static tn_status check_overlap(const char *path, tn_safetensor *tensors, size_t n)
{
    if (n == 0) return TN_OK;
    qsort(tensors, n, sizeof(*tensors), by_place);
    for (size_t i = 1; i < n; i++) {
        if (tensors[i].data < tensors[i - 1].data + tensors[i - 1].size_bytes) {
            return tn_fail(TN_BAD_FILE, "'%s': tensors '%.200s' and '%.200s' overlap; " RETRY, path, tensors[i - 1].name, tensors[i].name);
        }
    }
    return TN_OK;
}

static tn_status add_entries(tn_safetensors *st, uint32_t owner, const tn_json *header, const uint8_t *data, uint64_t data_size)
{
    const char *path = st->files[owner].path;
    const size_t first = st->n_tensors;
    void *at = NULL;
    tn_str name;
    const tn_json *entry = NULL;
    while (tn_json_next(header, &at, &name, &entry)) {
        if (tn_str_is(name, "__metadata__")) continue;
        if (name.len == 0) return tn_fail(TN_BAD_FILE, "'%s': a tensor has an empty name; " RETRY, path);
        tn_safetensor tensor = {0};
        TN_TRY(read_entry(path, name, entry, data, data_size, &tensor));
        TN_TRY(tn_grow(&st->tensors, &st->tensors_capacity, st->n_tensors + 1, sizeof(*st->tensors)));
        char *copy = NULL;
        TN_TRY(tn_strdup(name.data, name.len, &copy));
        tensor.name = copy;
        st->tensors[st->n_tensors++] = tensor;
    }
    TN_TRY(check_overlap(path, st->tensors + first, st->n_tensors - first));
    TN_TRY(tn_grow(&st->owners, &st->owners_capacity, st->n_tensors, sizeof(*st->owners)));
    for (size_t i = first; i < st->n_tensors; i++) st->owners[i] = owner;
    return TN_OK;
}

static tn_status read_file(tn_safetensors *st, uint32_t owner)
{
    const st_file *file = &st->files[owner];
    if (file->size < 8) {
        return tn_fail(TN_BAD_FILE, "'%s': %zu bytes are too few for a safetensors file; " RETRY, file->path, file->size);
    }
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++) n |= (uint64_t)file->bytes[i] << (8 * i);
    if (n > file->size - 8 || n > MAX_JSON_BYTES) {
        return tn_fail(TN_BAD_FILE, "'%s': its header would have %llu bytes of a file of %zu (at most %d); " RETRY, file->path,
                       (unsigned long long)n, file->size, MAX_JSON_BYTES);
    }
    tn_json *header = NULL;
    TN_TRY(tn_json_parse((const char *)file->bytes + 8, n, file->path, &header));
    const tn_status status = add_entries(st, owner, header, file->bytes + 8 + n, file->size - 8 - n);
    tn_json_destroy(header);
    return status;
}

// ---- the directory over all files ----

// A tensor with its owner, for one sort of both.
typedef struct named {
    tn_safetensor tensor;
    uint32_t owner;
} named;

static int by_name(const void *a, const void *b) { return strcmp(((const named *)a)->tensor.name, ((const named *)b)->tensor.name); }

static tn_status sort_by_name(tn_safetensors *st)
{
    named *all = NULL;
    TN_TRY(tn_alloc(st->n_tensors, sizeof(*all), &all));
    for (size_t i = 0; i < st->n_tensors; i++) {
        all[i].tensor = st->tensors[i];
        all[i].owner = st->owners[i];
    }
    if (st->n_tensors > 1) qsort(all, st->n_tensors, sizeof(*all), by_name);
    for (size_t i = 0; i < st->n_tensors; i++) {
        st->tensors[i] = all[i].tensor;
        st->owners[i] = all[i].owner;
    }
    tn_free(all);
    for (size_t i = 1; i < st->n_tensors; i++) {
        if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0) {
            return tn_fail(TN_BAD_FILE, "tensor '%.200s' is in both '%s' and '%s'; get another copy of the checkpoint", st->tensors[i].name,
                           st->files[st->owners[i - 1]].path, st->files[st->owners[i]].path);
        }
    }
    return TN_OK;
}

static tn_status add_file(tn_safetensors *st, const char *path, st_file **out_file)
{
    TN_TRY(tn_grow(&st->files, &st->files_capacity, st->n_files + 1, sizeof(*st->files)));
    st_file *file = &st->files[st->n_files];
    memset(file, 0, sizeof(*file));
    TN_TRY(tn_strdup(path, strlen(path), &file->path));
    st->n_files++;
    *out_file = file;
    return TN_OK;
}

static tn_status map_file(tn_safetensors *st, const char *path)
{
    st_file *file = NULL;
    TN_TRY(add_file(st, path, &file));
    TN_TRY(tn_file_map_open(path, &file->map));
    file->bytes = file->map.data;
    file->size = file->map.size_bytes;
    TN_TRY(read_file(st, (uint32_t)(st->n_files - 1)));
    return tn_file_map_check(&st->files[st->n_files - 1].map, path);
}

tn_status tn_safetensors_parse(const uint8_t *bytes, size_t size, const char *path, tn_safetensors **out)
{
    *out = NULL;
    tn_safetensors *st = NULL;
    st_file *file = NULL;
    tn_status status = tn_alloc_zero(1, sizeof(*st), &st);
    if (status != TN_OK) return status;
    TN_TRY_GOTO(add_file(st, path, &file));
    file->bytes = bytes;
    file->size = size;
    TN_TRY_GOTO(read_file(st, 0));
    TN_TRY_GOTO(sort_by_name(st));
    *out = st;
    return TN_OK;
fail:
    tn_safetensors_destroy(st);
    return status;
}

// ---- shards ----

static bool is_plain_file_name(tn_str name)
{
    return name.len > 0 && name.data[0] != '.' && !memchr(name.data, '/', name.len) && !memchr(name.data, '\\', name.len);
}

// Index of the mapped shard of this name; maps it where it is new.
static tn_status shard_index(tn_safetensors *st, const char *dir, const char *index_path, tn_str name, size_t *out_index)
{
    if (!is_plain_file_name(name)) {
        return tn_fail(TN_BAD_FILE, "'%s': shard name '%.*s' leaves the folder; get another copy of the checkpoint", index_path,
                       TN_STR_ARGS(name));
    }
    tn_text path = {0};
    tn_status status = tn_text_printf(&path, "%s/%s", dir, name.data);
    for (size_t i = 0; status == TN_OK && i < st->n_files; i++) {
        if (strcmp(st->files[i].path, path.data) != 0) continue;
        *out_index = i;
        tn_text_deinit(&path);
        return TN_OK;
    }
    *out_index = st->n_files;
    if (status == TN_OK) status = map_file(st, path.data);
    tn_text_deinit(&path);
    return status;
}

// Every tensor that the index lists is in the shard that it names.
static tn_status check_index(const tn_safetensors *st, const char *dir, const char *index_path, const tn_json *weight_map)
{
    void *at = NULL;
    tn_str name, shard;
    const tn_json *value = NULL;
    const size_t prefix = strlen(dir) + 1;
    while (tn_json_next(weight_map, &at, &name, &value)) {
        const tn_safetensor *tensor = tn_safetensors_find(st, name.data);
        const char *owner = tensor ? st->files[st->owners[tensor - st->tensors]].path + prefix : NULL;
        if (!tn_json_str(value, &shard) || !owner || !tn_str_is(shard, owner)) {
            return tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' is not in the shard that the index names; get another copy of the checkpoint",
                           index_path, TN_STR_ARGS(name));
        }
    }
    return TN_OK;
}

static tn_status open_shards(tn_safetensors *st, const char *dir, const char *index_path)
{
    tn_json *root = NULL;
    TN_TRY(tn_json_open(index_path, MAX_JSON_BYTES, &root));
    tn_status status = TN_OK;
    const tn_json *weight_map = tn_json_get(root, "weight_map"), *value = NULL;
    void *at = NULL;
    tn_str name, shard;
    if (!tn_json_is_object(weight_map) || tn_json_size(weight_map) == 0) {
        status = tn_fail(TN_BAD_FILE, "'%s' has no weight_map; get another copy of the file", index_path);
        goto fail;
    }
    while (tn_json_next(weight_map, &at, &name, &value)) {
        size_t index = 0;
        if (!tn_json_str(value, &shard)) {
            status = tn_fail(TN_BAD_FILE, "'%s': tensor '%.*s' has no shard; get another copy of the file", index_path, TN_STR_ARGS(name));
            goto fail;
        }
        TN_TRY_GOTO(shard_index(st, dir, index_path, shard, &index));
    }
    TN_TRY_GOTO(sort_by_name(st));
    TN_TRY_GOTO(check_index(st, dir, index_path, weight_map));
fail:
    tn_json_destroy(root);
    return status;
}

static tn_status open_folder(tn_safetensors *st, const char *dir, const char *single, const char *index)
{
    struct stat info;
    if (stat(single, &info) == 0) {
        TN_TRY(map_file(st, single));
        return sort_by_name(st);
    }
    if (stat(index, &info) == 0) return open_shards(st, dir, index);
    return tn_fail_native(
        TN_NOT_FOUND, errno,
        "'%s' has neither model.safetensors nor model.safetensors.index.json; name a Hugging Face folder with its weights", dir);
}

tn_status tn_safetensors_open(const char *dir, tn_safetensors **out)
{
    *out = NULL;
    tn_safetensors *st = NULL;
    tn_text single = {0}, index = {0};
    tn_status status = tn_alloc_zero(1, sizeof(*st), &st);
    if (status != TN_OK) return status;
    TN_TRY_GOTO(tn_text_printf(&single, "%s/model.safetensors", dir));
    TN_TRY_GOTO(tn_text_printf(&index, "%s/model.safetensors.index.json", dir));
    TN_TRY_GOTO(open_folder(st, dir, single.data, index.data));
    *out = st;
    st = NULL;
fail:
    tn_text_deinit(&single);
    tn_text_deinit(&index);
    tn_safetensors_destroy(st);
    return status;
}

void tn_safetensors_destroy(tn_safetensors *st)
{
    if (!st) return;
    for (size_t i = 0; i < st->n_tensors; i++) tn_free((void *)(uintptr_t)st->tensors[i].name);
    for (size_t i = 0; i < st->n_files; i++) {
        tn_file_map_close(&st->files[i].map);
        tn_free(st->files[i].path);
    }
    tn_free(st->tensors);
    tn_free(st->owners);
    tn_free(st->files);
    tn_free(st);
}

size_t tn_safetensors_count(const tn_safetensors *st) { return st->n_tensors; }

const tn_safetensor *tn_safetensors_at(const tn_safetensors *st, size_t index)
{
    return index < st->n_tensors ? &st->tensors[index] : NULL;
}

static int match_name(const void *key, const void *element) { return strcmp(key, ((const tn_safetensor *)element)->name); }

const tn_safetensor *tn_safetensors_find(const tn_safetensors *st, const char *name)
{
    if (st->n_tensors == 0) return NULL;
    return bsearch(name, st->tensors, st->n_tensors, sizeof(*st->tensors), match_name);
}

tn_status tn_safetensors_check_intact(const tn_safetensors *st)
{
    for (size_t i = 0; i < st->n_files; i++) TN_TRY(tn_file_map_check(&st->files[i].map, st->files[i].path));
    return TN_OK;
}
