// The GGUF object: mapped files, the shards of split models, and the typed getters.
#include "base/alloc.h"
#include "base/checked.h"
#include "base/file_map.h"
#include "base/hash.h"
#include "base/log.h"
#include "format/gguf.h"
#include "format/gguf_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#define SUFFIX_CAPACITY 64 // of "-00001-of-00003.gguf" with any 32-bit numbers

struct tn_gguf {
    tn_gguf_part *parts; // the first has the model's metadata
    size_t n_parts;
    tn_gguf_tensor *tensors; // of all parts; with one part its own array, else `merged`
    const tn_str **tensor_index;
    size_t n_tensors;
    tn_gguf_tensor *merged;
    const tn_str **merged_index;
};

static void discard(void *user, tn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
}

// Parses the mapped file, then copies its metadata and parses the copy: names and values were checked once and are used for as long as the
// model lives, so they must not change when somebody writes to the file. Tensor data stays mapped; it is numbers, whatever they are.
static tn_status part_parse_mapped(tn_gguf_part *part, const tn_log *log)
{
    const tn_log quiet = {.write = discard}; // what there is to say is said by the second pass
    tn_gguf_source source = {part->path, part->map.data, part->map.size_bytes, part->map.data, part->map.size_bytes};
    TN_TRY(tn_gguf_part_parse(part, &source, &quiet));
    size_t meta_bytes = part->meta_bytes;
    tn_gguf_part_clear(part);
    TN_TRY(tn_alloc(meta_bytes, 1, &part->meta_copy));
    memcpy(part->meta_copy, part->map.data, meta_bytes);
    tn_file_map_release(&part->map, 0, meta_bytes);
    source.meta = part->meta_copy;
    source.meta_bytes = meta_bytes;
    return tn_gguf_part_parse(part, &source, log);
}

static tn_status part_open(tn_gguf_part *part, const char *path, const tn_log *log)
{
    TN_TRY(tn_strdup(path, strlen(path), &part->path));
    TN_TRY(tn_file_map_open(path, &part->map));
    part->size_bytes = part->map.size_bytes;
    tn_status status = part_parse_mapped(part, log);
    // A file that is cut short while it is read looks damaged, but is not: that message would send the user the wrong way.
    TN_TRY(tn_file_map_check(&part->map, path));
    return status;
}

static void part_deinit(tn_gguf_part *part)
{
    tn_gguf_part_clear(part);
    tn_free(part->meta_copy);
    tn_file_map_close(&part->map);
    tn_free(part->path);
}

static tn_status gguf_create(size_t n_parts, tn_gguf **out_gguf)
{
    tn_gguf *gguf;
    tn_status status;
    *out_gguf = NULL;
    TN_TRY(tn_alloc_zero(1, sizeof *gguf, &gguf));
    TN_TRY_GOTO(tn_alloc_zero(n_parts, sizeof *gguf->parts, &gguf->parts));
    gguf->n_parts = n_parts;
    *out_gguf = gguf;
    return TN_OK;
fail:
    tn_gguf_destroy(gguf);
    return status;
}

static void use_single_part(tn_gguf *gguf)
{
    gguf->tensors = gguf->parts[0].tensors;
    gguf->tensor_index = gguf->parts[0].tensor_index;
    gguf->n_tensors = gguf->parts[0].n_tensors;
}

tn_status tn_gguf_parse(const uint8_t *bytes, size_t size, const char *path, const tn_log *log, tn_gguf **out_gguf)
{
    tn_gguf *gguf;
    tn_status status;
    *out_gguf = NULL;
    TN_TRY(gguf_create(1, &gguf));
    tn_gguf_part *part = &gguf->parts[0];
    part->size_bytes = size;
    TN_TRY_GOTO(tn_strdup(path, strlen(path), &part->path));
    const tn_gguf_source source = {part->path, bytes, size, bytes, size};
    TN_TRY_GOTO(tn_gguf_part_parse(part, &source, log));
    use_single_part(gguf);
    *out_gguf = gguf;
    return TN_OK;
fail:
    tn_gguf_destroy(gguf);
    return status;
}

static void shard_suffix(uint32_t number, uint32_t count, char out[SUFFIX_CAPACITY])
{
    snprintf(out, SUFFIX_CAPACITY, "-%05u-of-%05u.gguf", (unsigned)number, (unsigned)count);
}

// A key that every shard must have: its absence is a fault of the file, not a question answered with "no".
static tn_status split_value(const tn_gguf *gguf, const char *key, uint32_t *out)
{
    tn_status status = tn_gguf_get_u32(gguf, key, out);
    if (status != TN_NOT_FOUND) return status;
    return tn_fail(TN_BAD_FILE, "%.400s: key \"%s\" is missing, and each part of a split model has it: get another copy",
                   tn_gguf_path(gguf), key);
}

// Whether `path` ends as the name of shard `number`; then `*out_prefix_len` is the length of what is before.
static bool has_shard_name(const char *path, uint32_t number, uint32_t count, size_t *out_prefix_len)
{
    char suffix[SUFFIX_CAPACITY];
    shard_suffix(number, count, suffix);
    size_t len = strlen(path), len_suffix = strlen(suffix);
    if (len <= len_suffix || strcmp(path + len - len_suffix, suffix) != 0) return false;
    *out_prefix_len = len - len_suffix;
    return true;
}

// Names of shards are made from the prefix of the name that the user gave, never from text in the file.
static tn_status check_first_shard(const tn_gguf *gguf, uint32_t count, size_t *out_prefix_len)
{
    const char *path = tn_gguf_path(gguf);
    char suffix[SUFFIX_CAPACITY];
    uint32_t no = 0;
    TN_TRY(split_value(gguf, "split.no", &no));
    shard_suffix(1, count, suffix);
    if (no != 0) {
        size_t len = 0;
        bool named = no < UINT32_MAX && has_shard_name(path, no + 1, count, &len);
        return tn_fail(TN_INVALID_ARGUMENT, "%.400s: this is part %llu of %u of a split model: open %.*s%s instead", path,
                       (unsigned long long)no + 1, (unsigned)count, named ? (int)len : 0, path, named ? suffix : "the file of part 1");
    }
    if (has_shard_name(path, 1, count, out_prefix_len)) return TN_OK;
    return tn_fail(TN_BAD_FILE, "%.400s: this is part 1 of a model split into %u, and its name must end in %s: rename all parts so", path,
                   (unsigned)count, suffix);
}

static tn_status open_shard(tn_gguf *gguf, uint32_t index, size_t prefix_len, const tn_log *log)
{
    char suffix[SUFFIX_CAPACITY];
    char *path = NULL;
    uint32_t count = (uint32_t)gguf->n_parts, no = 0, count_here = 0;
    tn_status status;
    shard_suffix(index + 1, count, suffix);
    TN_TRY(tn_alloc(prefix_len + strlen(suffix) + 1, 1, &path));
    memcpy(path, gguf->parts[0].path, prefix_len);
    memcpy(path + prefix_len, suffix, strlen(suffix) + 1);
    TN_TRY_GOTO(part_open(&gguf->parts[index], path, log));
    // A view of this shard alone, for the getters.
    const tn_gguf view = {.parts = &gguf->parts[index], .n_parts = 1};
    TN_TRY_GOTO(split_value(&view, "split.no", &no));
    TN_TRY_GOTO(split_value(&view, "split.count", &count_here));
    if (no != index || count_here != count) {
        status = tn_fail(TN_BAD_FILE, "%.400s: the file says it is part %llu of %u: the parts are mixed up, get them again", path,
                         (unsigned long long)no + 1, (unsigned)count_here);
    }
fail:
    tn_free(path);
    if (status != TN_OK) (void)tn_fail_prefix("part %u of %u: ", (unsigned)index + 1, (unsigned)count);
    return status;
}

static tn_status merge_parts(tn_gguf *gguf)
{
    uint64_t n = 0;
    uint32_t announced = 0;
    const tn_str *duplicate;
    for (size_t i = 0; i < gguf->n_parts; ++i) n += gguf->parts[i].n_tensors; // each is small
    TN_TRY(split_value(gguf, "split.tensors.count", &announced));
    if (announced != n) {
        return tn_fail(TN_BAD_FILE,
                       "%.400s: split.tensors.count is %u and the parts have %llu tensors: the parts are mixed up, get them again",
                       tn_gguf_path(gguf), (unsigned)announced, (unsigned long long)n);
    }
    TN_TRY(tn_alloc((size_t)n, sizeof *gguf->merged, &gguf->merged));
    for (size_t i = 0, at = 0; i < gguf->n_parts; at += gguf->parts[i++].n_tensors) {
        if (gguf->parts[i].n_tensors == 0) continue;
        memcpy(gguf->merged + at, gguf->parts[i].tensors, gguf->parts[i].n_tensors * sizeof *gguf->merged);
    }
    TN_TRY(tn_gguf_index_build(gguf->merged, (size_t)n, sizeof *gguf->merged, &gguf->merged_index, &duplicate));
    if (duplicate != NULL) {
        return tn_fail(TN_BAD_FILE, "%.400s: tensor \"%.*s\" is in two parts: the parts are mixed up, get them again", tn_gguf_path(gguf),
                       TN_STR_ARGS(*duplicate));
    }
    gguf->tensors = gguf->merged;
    gguf->tensor_index = gguf->merged_index;
    gguf->n_tensors = (size_t)n;
    return TN_OK;
}

static tn_status open_split(tn_gguf *gguf, uint32_t count, const tn_log *log)
{
    size_t prefix_len = 0;
    TN_TRY(check_first_shard(gguf, count, &prefix_len));
    tn_gguf_part *parts;
    TN_TRY(tn_alloc_zero(count, sizeof *parts, &parts));
    parts[0] = gguf->parts[0];
    tn_free(gguf->parts);
    gguf->parts = parts;
    gguf->n_parts = count;
    for (uint32_t i = 1; i < count; ++i) TN_TRY(open_shard(gguf, i, prefix_len, log));
    return merge_parts(gguf);
}

tn_status tn_gguf_open(const char *path, const tn_log *log, tn_gguf **out_gguf)
{
    tn_gguf *gguf;
    tn_status status;
    uint32_t count = 0;
    *out_gguf = NULL;
    TN_TRY(gguf_create(1, &gguf));
    TN_TRY_GOTO(part_open(&gguf->parts[0], path, log));
    if (tn_gguf_find(gguf, "split.count") != NULL) TN_TRY_GOTO(tn_gguf_get_u32(gguf, "split.count", &count));
    if (count > UINT16_MAX) { // the key is a u16; also what %05u can name
        status =
            tn_fail(TN_BAD_FILE, "%.400s: split.count is %u, and a model has at most 65535 parts: get another copy", path, (unsigned)count);
        goto fail;
    }
    if (count > 1) {
        TN_TRY_GOTO(open_split(gguf, count, log));
    } else {
        use_single_part(gguf);
    }
    *out_gguf = gguf;
    return TN_OK;
fail:
    tn_gguf_destroy(gguf);
    return status;
}

void tn_gguf_destroy(tn_gguf *gguf)
{
    if (gguf == NULL) return;
    for (size_t i = 0; i < gguf->n_parts; ++i) part_deinit(&gguf->parts[i]);
    tn_free(gguf->parts);
    tn_free(gguf->merged);
    tn_free(gguf->merged_index);
    tn_free(gguf);
}

tn_status tn_gguf_check_intact(const tn_gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_parts; ++i) TN_TRY(tn_file_map_check(&gguf->parts[i].map, gguf->parts[i].path));
    return TN_OK;
}

void tn_gguf_release(const tn_gguf *gguf, const tn_gguf_tensor *tensor, uint64_t offset, uint64_t n)
{
    for (size_t i = 0; i < gguf->n_parts; ++i) {
        const tn_file_map *map = &gguf->parts[i].map;
        const uintptr_t begin = (uintptr_t)map->data, at = (uintptr_t)tensor->data;
        if (begin == 0 || at < begin || at - begin >= map->size_bytes || offset > tensor->size_bytes) continue;
        if (n > tensor->size_bytes - offset) n = tensor->size_bytes - offset;
        tn_file_map_release(map, at - begin + (size_t)offset, (size_t)n);
        return;
    }
}

const char *tn_gguf_path(const tn_gguf *gguf) { return gguf->parts[0].path; }

uint64_t tn_gguf_file_bytes(const tn_gguf *gguf)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < gguf->n_parts; ++i) bytes += gguf->parts[i].size_bytes; // all are mapped: the sum fits
    return bytes;
}

// Pages spread evenly over the file, the last one among them: enough to notice a file whose stamp was kept by a tool that copies those too.
static uint64_t sample_hash(const tn_gguf_part *part)
{
    enum { N_SAMPLES = 32, SAMPLE_BYTES = 4096 };
    const tn_file_map *map = &part->map;
    uint64_t hashes[N_SAMPLES];
    const size_t bytes = map->size_bytes < SAMPLE_BYTES ? map->size_bytes : SAMPLE_BYTES, span = map->size_bytes - bytes;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const size_t at = span / (N_SAMPLES - 1) * i + (i == N_SAMPLES - 1 ? span % (N_SAMPLES - 1) : 0);
        hashes[i] = tn_hash(map->data + at, bytes);
        tn_file_map_release(map, at, bytes);
    }
    return tn_hash(hashes, sizeof hashes);
}

tn_status tn_gguf_identity(const tn_gguf *gguf, tn_text *out, bool *out_settled)
{
    // Twice the coarsest time stamps of file systems in use.
    const int64_t settled_ns = INT64_C(2000000000);
    *out_settled = true;
    for (size_t i = 0; i < gguf->n_parts; ++i) {
        const tn_gguf_part *part = &gguf->parts[i];
        if (part->map.data == NULL) return tn_fail(TN_INVALID_ARGUMENT, "%.400s: was not read from a file: open it", part->path);
        if (part->map.opened_ns - part->map.stamp.ctime_ns < settled_ns) *out_settled = false;
        const uint64_t hashes[] = {tn_hash(part->meta_copy, part->meta_bytes), sample_hash(part)};
        TN_TRY(tn_text_append(out, (const char *)&part->map.stamp, sizeof part->map.stamp));
        TN_TRY(tn_text_append(out, (const char *)hashes, sizeof hashes));
    }
    return tn_gguf_check_intact(gguf);
}

size_t tn_gguf_n_kv(const tn_gguf *gguf) { return gguf->parts[0].n_kv; }

const tn_gguf_kv *tn_gguf_kv_at(const tn_gguf *gguf, size_t index)
{
    return index < gguf->parts[0].n_kv ? &gguf->parts[0].kvs[index] : NULL;
}

const tn_gguf_kv *tn_gguf_find(const tn_gguf *gguf, const char *key)
{
    return tn_gguf_index_find(gguf->parts[0].kv_index, gguf->parts[0].n_kv, tn_str_of(key));
}

size_t tn_gguf_n_tensors(const tn_gguf *gguf) { return gguf->n_tensors; }

const tn_gguf_tensor *tn_gguf_tensor_at(const tn_gguf *gguf, size_t index)
{
    return index < gguf->n_tensors ? &gguf->tensors[index] : NULL;
}

const tn_gguf_tensor *tn_gguf_find_tensor(const tn_gguf *gguf, const char *name)
{
    return tn_gguf_index_find(gguf->tensor_index, gguf->n_tensors, tn_str_of(name));
}

const char *tn_gguf_type_name(tn_gguf_type type)
{
    static const char *const names[] = {"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
    return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

static tn_status need_kv(const tn_gguf *gguf, const char *key, const tn_gguf_kv **out_kv)
{
    *out_kv = tn_gguf_find(gguf, key);
    if (*out_kv != NULL) return TN_OK;
    return tn_fail(TN_NOT_FOUND, "%.400s: key \"%s\" is missing: the model needs it, convert the model again", tn_gguf_path(gguf), key);
}

static tn_status fail_type(const tn_gguf *gguf, const tn_gguf_kv *kv, const char *wanted)
{
    return tn_fail(TN_BAD_FILE, "%.400s: key \"%.*s\" is of type %s and must be %s: convert the model again", tn_gguf_path(gguf),
                   TN_STR_ARGS(kv->key), tn_gguf_type_name(kv->type), wanted);
}

// Any integer type whose value lies in [min, max].
static tn_status get_integer(const tn_gguf *gguf, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const tn_gguf_kv *kv;
    TN_TRY(need_kv(gguf, key, &kv));
    switch (kv->type) {
    case TN_GGUF_U8:
    case TN_GGUF_U16:
    case TN_GGUF_U32:
    case TN_GGUF_U64:
        if (kv->value.u <= (uint64_t)max) {
            *out = (int64_t)kv->value.u;
            return TN_OK;
        }
        return tn_fail(TN_BAD_FILE, "%.400s: key \"%s\" is %llu, and at most %lld is possible: convert the model again", tn_gguf_path(gguf),
                       key, (unsigned long long)kv->value.u, (long long)max);
    case TN_GGUF_I8:
    case TN_GGUF_I16:
    case TN_GGUF_I32:
    case TN_GGUF_I64:
        if (kv->value.i >= min && kv->value.i <= max) {
            *out = kv->value.i;
            return TN_OK;
        }
        return tn_fail(TN_BAD_FILE, "%.400s: key \"%s\" is %lld, and %lld to %lld is possible: convert the model again", tn_gguf_path(gguf),
                       key, (long long)kv->value.i, (long long)min, (long long)max);
    default: return fail_type(gguf, kv, "an integer");
    }
}

tn_status tn_gguf_get_u32(const tn_gguf *gguf, const char *key, uint32_t *out)
{
    int64_t value = 0;
    *out = 0;
    TN_TRY(get_integer(gguf, key, 0, UINT32_MAX, &value));
    *out = (uint32_t)value;
    return TN_OK;
}

tn_status tn_gguf_get_i32(const tn_gguf *gguf, const char *key, int32_t *out)
{
    int64_t value = 0;
    *out = 0;
    TN_TRY(get_integer(gguf, key, INT32_MIN, INT32_MAX, &value));
    *out = (int32_t)value;
    return TN_OK;
}

tn_status tn_gguf_get_f32(const tn_gguf *gguf, const char *key, float *out)
{
    const tn_gguf_kv *kv;
    *out = 0.0f;
    TN_TRY(need_kv(gguf, key, &kv));
    if (kv->type != TN_GGUF_F32 && kv->type != TN_GGUF_F64) return fail_type(gguf, kv, "f32 or f64");
    double value = kv->value.f;
    if (!isfinite(value) || fabs(value) > (double)FLT_MAX) {
        return tn_fail(TN_BAD_FILE, "%.400s: key \"%s\" is %g, which is not a finite f32: convert the model again", tn_gguf_path(gguf), key,
                       value);
    }
    *out = (float)value;
    return TN_OK;
}

tn_status tn_gguf_get_bool(const tn_gguf *gguf, const char *key, bool *out)
{
    const tn_gguf_kv *kv;
    *out = false;
    TN_TRY(need_kv(gguf, key, &kv));
    if (kv->type != TN_GGUF_BOOL) return fail_type(gguf, kv, "bool");
    *out = kv->value.u != 0;
    return TN_OK;
}

tn_status tn_gguf_get_str(const tn_gguf *gguf, const char *key, tn_str *out)
{
    const tn_gguf_kv *kv;
    *out = (tn_str){NULL, 0};
    TN_TRY(need_kv(gguf, key, &kv));
    if (kv->type != TN_GGUF_STRING) return fail_type(gguf, kv, "string");
    *out = kv->value.str;
    return TN_OK;
}

tn_status tn_gguf_get_array(const tn_gguf *gguf, const char *key, tn_gguf_type type, tn_gguf_array *out)
{
    const tn_gguf_kv *kv;
    *out = (tn_gguf_array){.type = type};
    TN_TRY(need_kv(gguf, key, &kv));
    if (kv->type != TN_GGUF_ARRAY) return fail_type(gguf, kv, "array");
    if (kv->value.array.type != type) {
        return tn_fail(TN_BAD_FILE, "%.400s: key \"%s\" is an array of %s and must be one of %s: convert the model again",
                       tn_gguf_path(gguf), key, tn_gguf_type_name(kv->value.array.type), tn_gguf_type_name(type));
    }
    *out = kv->value.array;
    return TN_OK;
}

// The cursor has the index of the next string in its high bits and the byte where that string begins in its low ones.
bool tn_gguf_array_next(const tn_gguf_array *array, uint64_t *at, tn_str *out)
{
    uint64_t index = *at >> TN_GGUF_CURSOR_BYTE_BITS, byte = *at & ((UINT64_C(1) << TN_GGUF_CURSOR_BYTE_BITS) - 1);
    if (array->type != TN_GGUF_STRING || index >= array->n) return false;
    out->len = (size_t)tn_gguf_load(array->data + byte, 8);
    out->data = (const char *)array->data + byte + 8;
    *at = (index + 1) << TN_GGUF_CURSOR_BYTE_BITS | (byte + 8 + out->len);
    return true;
}
