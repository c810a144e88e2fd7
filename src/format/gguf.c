// Parses the bytes of one GGUF container, which may be hostile: every read, count, length and sum is checked before it is used.
#include "format/gguf.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/log.h"
#include "format/file_type.h"
#include "format/gguf_internal.h"

#include <stdlib.h>

// The smallest entries that a file can hold: counts are compared with the bytes left before anything is allocated for them.
#define KV_BYTES_MIN     (8 + 1 + 4 + 1)
#define TENSOR_BYTES_MIN (8 + 1 + 4 + 8 + 4 + 8)
// Far above any model (thousands of tensors, dozens of keys); keeps a small hostile file from costing much more memory than it has bytes.
#define ENTRIES_MAX       (UINT64_C(1) << 18)
#define STRING_BYTES_MAX  (UINT64_C(1) << 30)
#define TENSOR_NAME_MAX   63
#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MIN     8 // as the format demands; tensors of floats are read in place
#define ALIGNMENT_MAX     (64 * 1024)
#define ANOTHER_COPY      "the file is damaged or cut short, get another copy"

typedef struct reader {
    const uint8_t *bytes;
    size_t size, at;
    const char *path;
    const char *item_kind; // "key" or "tensor" while one is being read, for messages
    tn_str item;
} reader;

typedef struct parser {
    reader in;
    const tn_gguf_source *source;
    tn_gguf_part *part;
    const tn_log *log;
    uint64_t alignment, data_start, data_bytes;
} parser;

// Puts the place in front of the message just recorded.
static tn_status fail_where(const reader *in, size_t at)
{
    if (in->item_kind == NULL) return tn_fail_prefix("%s: at byte %zu: ", in->path, at);
    return tn_fail_prefix("%s: at byte %zu, %s \"%.*s\": ", in->path, at, in->item_kind, TN_STR_ARGS(in->item));
}
#define FAIL(in, at, status, ...) ((void)tn_fail((status), __VA_ARGS__), fail_where((in), (at)))

uint64_t tn_gguf_load(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; ++i) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static size_t bytes_left(const reader *in) { return in->size - in->at; }

static tn_status read_uint(reader *in, size_t n, const char *what, uint64_t *out)
{
    if (n > bytes_left(in)) {
        return FAIL(in, in->at, TN_BAD_FILE, "%s needs %zu bytes and %zu are left: " ANOTHER_COPY, what, n, bytes_left(in));
    }
    *out = tn_gguf_load(in->bytes + in->at, n);
    in->at += n;
    return TN_OK;
}

static tn_status read_str(reader *in, const char *what, tn_str *out)
{
    size_t at = in->at;
    uint64_t len = 0;
    TN_TRY(read_uint(in, 8, what, &len));
    if (len > bytes_left(in) || len > STRING_BYTES_MAX) {
        return FAIL(in, at, TN_BAD_FILE, "%s has a length of %llu bytes and %zu are left: " ANOTHER_COPY, what, (unsigned long long)len,
                    bytes_left(in));
    }
    out->data = (const char *)in->bytes + in->at;
    out->len = (size_t)len;
    in->at += (size_t)len;
    return TN_OK;
}

// Bytes of a value of fixed size, 0 for strings and arrays, -1 for a type that does not exist.
static int scalar_bytes(uint64_t type)
{
    switch (type) {
    case TN_GGUF_U8:
    case TN_GGUF_I8:
    case TN_GGUF_BOOL: return 1;
    case TN_GGUF_U16:
    case TN_GGUF_I16: return 2;
    case TN_GGUF_U32:
    case TN_GGUF_I32:
    case TN_GGUF_F32: return 4;
    case TN_GGUF_U64:
    case TN_GGUF_I64:
    case TN_GGUF_F64: return 8;
    case TN_GGUF_STRING:
    case TN_GGUF_ARRAY: return 0;
    default: return -1;
    }
}

static tn_status read_type(reader *in, const char *what, tn_gguf_type *out)
{
    size_t at = in->at;
    uint64_t type = 0;
    TN_TRY(read_uint(in, 4, what, &type));
    if (scalar_bytes(type) < 0) {
        return FAIL(in, at, TN_BAD_FILE, "%s is %lld, and types end at 12: " ANOTHER_COPY, what, (long long)(int32_t)type);
    }
    *out = (tn_gguf_type)type;
    return TN_OK;
}

// Walks the strings once, so that later readers of the array need no checks.
static tn_status read_array_strings(reader *in, uint64_t n)
{
    size_t begin = in->at;
    for (uint64_t i = 0; i < n; ++i) {
        tn_str ignored;
        TN_TRY(read_str(in, "a string of an array", &ignored));
    }
    if (in->at - begin >= UINT64_C(1) << TN_GGUF_CURSOR_BYTE_BITS) {
        return FAIL(in, begin, TN_UNSUPPORTED, "the strings of the array take %zu bytes, more than ternion reads: use a smaller vocabulary",
                    in->at - begin);
    }
    return TN_OK;
}

static tn_status read_array(reader *in, tn_gguf_array *array)
{
    size_t at = in->at;
    TN_TRY(read_type(in, "the type of an array's elements", &array->type));
    if (array->type == TN_GGUF_ARRAY) {
        return FAIL(in, at, TN_BAD_FILE, "an array of arrays is in no model file: get another copy, or convert the model again");
    }
    at = in->at;
    TN_TRY(read_uint(in, 8, "the length of an array", &array->n));
    uint64_t element_bytes = array->type == TN_GGUF_STRING ? 8 : (uint64_t)scalar_bytes(array->type), bytes;
    if (array->n > TN_GGUF_ARRAY_MAX || !tn_ckd_mul(array->n, element_bytes, &bytes) || bytes > bytes_left(in)) {
        return FAIL(in, at, TN_BAD_FILE, "an array has %llu elements of at least %llu bytes and %zu bytes are left: " ANOTHER_COPY,
                    (unsigned long long)array->n, (unsigned long long)element_bytes, bytes_left(in));
    }
    array->data = in->bytes + in->at;
    if (array->type == TN_GGUF_STRING) return read_array_strings(in, array->n);
    in->at += (size_t)bytes;
    return TN_OK;
}

static void store_scalar(tn_gguf_kv *kv, uint64_t raw)
{
    uint32_t raw32 = (uint32_t)raw;
    float f32;
    switch (kv->type) {
    case TN_GGUF_I8: kv->value.i = (int8_t)raw; break;
    case TN_GGUF_I16: kv->value.i = (int16_t)raw; break;
    case TN_GGUF_I32: kv->value.i = (int32_t)raw; break;
    case TN_GGUF_I64: kv->value.i = (int64_t)raw; break;
    case TN_GGUF_F32:
        memcpy(&f32, &raw32, sizeof f32);
        kv->value.f = (double)f32;
        break;
    case TN_GGUF_F64: memcpy(&kv->value.f, &raw, sizeof raw); break;
    case TN_GGUF_BOOL: kv->value.u = raw != 0; break; // writers store any byte
    default: kv->value.u = raw; break;
    }
}

static tn_status read_kv(reader *in, tn_gguf_kv *kv)
{
    size_t at = in->at;
    in->item_kind = NULL;
    TN_TRY(read_str(in, "the name of a key", &kv->key));
    if (kv->key.len == 0) return FAIL(in, at, TN_BAD_FILE, "the name of a key is empty: " ANOTHER_COPY);
    in->item_kind = "key";
    in->item = kv->key;
    TN_TRY(read_type(in, "the type of the value", &kv->type));
    if (kv->type == TN_GGUF_STRING) return read_str(in, "the value", &kv->value.str);
    if (kv->type == TN_GGUF_ARRAY) return read_array(in, &kv->value.array);
    uint64_t raw = 0;
    TN_TRY(read_uint(in, (size_t)scalar_bytes(kv->type), "the value", &raw));
    store_scalar(kv, raw);
    return TN_OK;
}

// By length first: cheap, and any total order will do.
static int compare_names(const void *a, const void *b)
{
    const tn_str *x = *(const tn_str *const *)a, *y = *(const tn_str *const *)b;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->len == 0 ? 0 : memcmp(x->data, y->data, x->len);
}

tn_status tn_gguf_index_build(const void *elements, size_t n, size_t stride, const tn_str ***out_index, const tn_str **out_duplicate)
{
    *out_duplicate = NULL;
    TN_TRY(tn_alloc(n, sizeof **out_index, out_index));
    const tn_str **index = *out_index;
    for (size_t i = 0; i < n; ++i) index[i] = (const tn_str *)(const void *)((const uint8_t *)elements + i * stride);
    qsort(index, n, sizeof *index, compare_names);
    for (size_t i = 1; i < n; ++i) {
        if (!tn_str_eq(*index[i - 1], *index[i])) continue;
        *out_duplicate = index[i - 1] > index[i] ? index[i - 1] : index[i];
        break;
    }
    return TN_OK;
}

const void *tn_gguf_index_find(const tn_str *const *index, size_t n, tn_str name)
{
    const tn_str *key = &name;
    const tn_str *const *found = n == 0 ? NULL : bsearch(&key, index, n, sizeof *index, compare_names);
    return found == NULL ? NULL : *found;
}

static const tn_gguf_kv *find_kv(const tn_gguf_part *part, const char *key)
{
    return tn_gguf_index_find(part->kv_index, part->n_kv, tn_str_of(key));
}

static size_t place_of(const reader *in, tn_str text) { return (size_t)((const uint8_t *)text.data - in->bytes); }

static tn_status fail_magic(const reader *in)
{
    static const char lfs[] = "version https://git-lfs";
    if (in->size == 0) return FAIL(in, 0, TN_BAD_FILE, "the file is empty: get another copy");
    if (in->size >= sizeof lfs - 1 && memcmp(in->bytes, lfs, sizeof lfs - 1) == 0) {
        return FAIL(in, 0, TN_BAD_FILE, "this is a Git LFS pointer and not the model itself: fetch it with git lfs pull");
    }
    if (in->size < 4) return FAIL(in, 0, TN_BAD_FILE, "the file has %zu bytes and no GGUF header: " ANOTHER_COPY, in->size);
    return FAIL(in, 0, TN_BAD_FILE, "the file begins with bytes %02x %02x %02x %02x and not with \"GGUF\": name a GGUF file", in->bytes[0],
                in->bytes[1], in->bytes[2], in->bytes[3]);
}

static tn_status read_version(reader *in)
{
    size_t at = in->at;
    uint64_t version = 0;
    TN_TRY(read_uint(in, 4, "the version", &version));
    if (version == 0) return FAIL(in, at, TN_BAD_FILE, "version 0 does not exist: " ANOTHER_COPY);
    if ((version & 0xFFFF) == 0) {
        return FAIL(in, at, TN_UNSUPPORTED, "the file is big-endian, and ternion reads little-endian ones: convert the model again");
    }
    if (version == 1) return FAIL(in, at, TN_UNSUPPORTED, "version 1 of GGUF is obsolete: convert the model again");
    if (version > 3) {
        return FAIL(in, at, TN_UNSUPPORTED, "version %llu of GGUF is unknown, 2 and 3 are read: use a newer ternion",
                    (unsigned long long)version);
    }
    return TN_OK;
}

static tn_status read_count(reader *in, uint64_t entry_bytes_min, const char *what, uint64_t *out)
{
    size_t at = in->at;
    TN_TRY(read_uint(in, 8, what, out));
    if (*out > bytes_left(in) / entry_bytes_min) {
        return FAIL(in, at, TN_BAD_FILE, "%s is %lld, and %zu bytes are left, too few for so many: " ANOTHER_COPY, what, (long long)*out,
                    bytes_left(in));
    }
    if (*out > ENTRIES_MAX) {
        return FAIL(in, at, TN_UNSUPPORTED, "%s is %llu, and ternion reads at most %llu: use another file of this model", what,
                    (unsigned long long)*out, (unsigned long long)ENTRIES_MAX);
    }
    return TN_OK;
}

static tn_status read_kvs(parser *p, uint64_t n)
{
    tn_gguf_part *part = p->part;
    TN_TRY(tn_alloc_zero((size_t)n, sizeof *part->kvs, &part->kvs));
    part->n_kv = (size_t)n;
    for (size_t i = 0; i < part->n_kv; ++i) TN_TRY(read_kv(&p->in, &part->kvs[i]));
    p->in.item_kind = NULL;
    const tn_str *duplicate;
    TN_TRY(tn_gguf_index_build(part->kvs, part->n_kv, sizeof *part->kvs, &part->kv_index, &duplicate));
    if (duplicate == NULL) return TN_OK;
    return FAIL(&p->in, place_of(&p->in, *duplicate), TN_BAD_FILE,
                "key \"%.*s\" is there twice: get another copy, or convert the model again", TN_STR_ARGS(*duplicate));
}

static tn_status read_alignment(parser *p)
{
    const tn_gguf_kv *kv = find_kv(p->part, "general.alignment");
    p->alignment = ALIGNMENT_DEFAULT;
    if (kv == NULL) return TN_OK;
    size_t at = place_of(&p->in, kv->key);
    if (kv->type != TN_GGUF_U32) {
        return FAIL(&p->in, at, TN_BAD_FILE, "general.alignment is of type %s and must be u32: convert the model again",
                    tn_gguf_type_name(kv->type));
    }
    uint64_t alignment = kv->value.u;
    if (alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0) {
        return FAIL(&p->in, at, TN_BAD_FILE, "general.alignment is %llu and must be a power of two from %d to %d: convert the model again",
                    (unsigned long long)alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
    }
    p->alignment = alignment;
    return TN_OK;
}

static tn_status read_shape(reader *in, tn_gguf_tensor *tensor)
{
    size_t at = in->at;
    uint64_t n_dims = 0;
    TN_TRY(read_uint(in, 4, "the number of dimensions", &n_dims));
    if (n_dims == 0 || n_dims > 4) {
        return FAIL(in, at, TN_BAD_FILE, "it has %llu dimensions, and 1 to 4 are possible: " ANOTHER_COPY, (unsigned long long)n_dims);
    }
    tensor->n_dims = (uint32_t)n_dims;
    tensor->n_elements = 1;
    for (size_t i = 0; i < 4; ++i) tensor->ne[i] = 1;
    for (size_t i = 0; i < n_dims; ++i) {
        at = in->at;
        TN_TRY(read_uint(in, 8, "a dimension", &tensor->ne[i]));
        uint64_t ne = tensor->ne[i];
        if (ne == 0 || ne > INT64_MAX) {
            return FAIL(in, at, TN_BAD_FILE, "dimension %zu is %lld and must be at least 1: " ANOTHER_COPY, i, (long long)ne);
        }
        if (!tn_ckd_mul(tensor->n_elements, ne, &tensor->n_elements) || tensor->n_elements > INT64_MAX) {
            return FAIL(in, at, TN_BAD_FILE, "its dimensions multiply to more than 2^63 elements: " ANOTHER_COPY);
        }
    }
    return TN_OK;
}

// The offset stays relative to the data section until place_tensors.
static tn_status read_tensor(reader *in, tn_gguf_tensor *tensor)
{
    size_t at = in->at;
    in->item_kind = NULL;
    TN_TRY(read_str(in, "the name of a tensor", &tensor->name));
    if (tensor->name.len == 0 || tensor->name.len > TENSOR_NAME_MAX) {
        return FAIL(in, at, TN_BAD_FILE, "the name of a tensor has %zu bytes, and 1 to %d are possible: " ANOTHER_COPY, tensor->name.len,
                    TENSOR_NAME_MAX);
    }
    in->item_kind = "tensor";
    in->item = tensor->name;
    TN_TRY(read_shape(in, tensor));
    at = in->at;
    uint64_t id = 0;
    TN_TRY(read_uint(in, 4, "the type", &id));
    tensor->file_type = (uint32_t)id;
    if (id > INT32_MAX) return FAIL(in, at, TN_BAD_FILE, "type id %lld is negative: " ANOTHER_COPY, (long long)(int32_t)id);
    if (tn_file_type_find(tensor->file_type, TN_DIALECT_ALL) == NULL) {
        return FAIL(in, at, TN_UNSUPPORTED, "type id %llu is unknown: use a newer ternion or a file with other types",
                    (unsigned long long)id);
    }
    return read_uint(in, 8, "the offset", &tensor->offset_bytes);
}

static tn_status read_tensors(parser *p, uint64_t n)
{
    tn_gguf_part *part = p->part;
    TN_TRY(tn_alloc_zero((size_t)n, sizeof *part->tensors, &part->tensors));
    part->n_tensors = (size_t)n;
    for (size_t i = 0; i < part->n_tensors; ++i) TN_TRY(read_tensor(&p->in, &part->tensors[i]));
    p->in.item_kind = NULL;
    const tn_str *duplicate;
    TN_TRY(tn_gguf_index_build(part->tensors, part->n_tensors, sizeof *part->tensors, &part->tensor_index, &duplicate));
    if (duplicate == NULL) return TN_OK;
    return FAIL(&p->in, place_of(&p->in, *duplicate), TN_BAD_FILE,
                "tensor \"%.*s\" is there twice: get another copy, or convert the model again", TN_STR_ARGS(*duplicate));
}

// Messages about a tensor as a whole point at its name.
static size_t enter_tensor(reader *in, const tn_gguf_tensor *tensor)
{
    in->item_kind = "tensor";
    in->item = tensor->name;
    return place_of(in, tensor->name);
}

static tn_status find_data_section(parser *p)
{
    reader *in = &p->in;
    in->item_kind = NULL;
    p->part->meta_bytes = in->at;
    if (p->part->n_tensors == 0) return TN_OK; // such a file may end before the padding
    if (!tn_ckd_round_up(in->at, p->alignment, &p->data_start) || p->data_start > p->source->size_bytes) {
        return FAIL(in, in->at, TN_BAD_FILE, "the file ends before the data of its tensors: " ANOTHER_COPY);
    }
    p->data_bytes = p->source->size_bytes - p->data_start;
    for (size_t i = 0; i < p->part->n_tensors; ++i) {
        const tn_gguf_tensor *tensor = &p->part->tensors[i];
        size_t at = enter_tensor(in, tensor);
        if (tensor->offset_bytes % p->alignment != 0) {
            return FAIL(in, at, TN_BAD_FILE, "offset %llu is not a multiple of the alignment %llu: " ANOTHER_COPY,
                        (unsigned long long)tensor->offset_bytes, (unsigned long long)p->alignment);
        }
        if (tensor->offset_bytes > p->data_bytes) {
            return FAIL(in, at, TN_BAD_FILE, "offset %llu is past the %llu bytes of data in the file: " ANOTHER_COPY,
                        (unsigned long long)tensor->offset_bytes, (unsigned long long)p->data_bytes);
        }
    }
    return TN_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const tn_gguf_tensor *x = *(const tn_gguf_tensor *const *)a, *y = *(const tn_gguf_tensor *const *)b;
    if (x->offset_bytes != y->offset_bytes) return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

// The first tensor that does not fit a dialect.
typedef struct misfit {
    const tn_gguf_tensor *tensor;
    const char *type_name;
    uint64_t expected, actual; // bytes up to the next tensor; expected 0: the shape is not possible in the type
} misfit;

// Whether the tensors, in the order of their data, lie without gaps if their ids mean what they mean in `dialect`. `slack`: bytes that may
// follow each tensor's padding (a writer of the BitNet fork appends scales that are in no tensor info).
static bool dialect_fits(const parser *p, const tn_gguf_tensor *const *order, unsigned dialect, uint64_t slack, misfit *out)
{
    size_t n = p->part->n_tensors;
    *out = (misfit){.tensor = order[0]};
    if (order[0]->offset_bytes != 0) return false;
    for (size_t i = 0; i < n; ++i) {
        const tn_gguf_tensor *tensor = order[i];
        const tn_file_type *type = tn_file_type_find(tensor->file_type, dialect);
        *out = (misfit){.tensor = tensor};
        if (type == NULL) return false;
        out->type_name = type->name;
        uint64_t size, padded;
        if (!tn_file_type_size(type, tensor->ne[0], tensor->n_elements, &size)) return false;
        if (size == 0) continue; // of unknown size
        if (!tn_ckd_round_up(size, p->alignment, &padded)) return false;
        bool last = i + 1 == n;
        uint64_t gap = (last ? p->data_bytes : order[i + 1]->offset_bytes) - tensor->offset_bytes;
        out->expected = last ? size : padded;
        out->actual = gap;
        if (gap < out->expected) return false;
        uint64_t more = gap < padded ? 0 : gap - padded; // the last tensor's padding may be missing
        if (last ? more > slack : more != 0 && more != slack) return false;
    }
    return true;
}

// The meaning to believe where sizes do not decide.
static unsigned dialect_hint(const tn_gguf_part *part)
{
    const tn_gguf_kv *arch = find_kv(part, "general.architecture");
    if (arch != NULL && arch->type == TN_GGUF_STRING &&
        (tn_str_is(arch->value.str, "bitnet") || tn_str_is(arch->value.str, "bitnet-b1.58") || tn_str_is(arch->value.str, "bitnet-25"))) {
        return TN_DIALECT_BITNET;
    }
    for (size_t i = 0; i < part->n_tensors; ++i) {
        if (part->tensors[i].file_type == 36 || part->tensors[i].file_type == 38) return TN_DIALECT_BITNET;
    }
    for (size_t i = 0; i < part->n_kv; ++i) {
        if (part->kvs[i].key.len > 6 && memcmp(part->kvs[i].key.data, "prism.", 6) == 0) return TN_DIALECT_PRISM;
    }
    return TN_DIALECT_UPSTREAM;
}

static unsigned fitting_dialects(const parser *p, const tn_gguf_tensor *const *order)
{
    misfit ignored;
    unsigned fitting = 0;
    for (unsigned dialect = 1; dialect < TN_DIALECT_ALL; dialect <<= 1) {
        if (dialect_fits(p, order, dialect, 0, &ignored)) fitting |= dialect;
    }
    if (fitting == 0 && dialect_fits(p, order, TN_DIALECT_BITNET, p->alignment, &ignored)) fitting = TN_DIALECT_BITNET;
    return fitting;
}

static tn_status fail_no_dialect(parser *p, const tn_gguf_tensor *const *order, unsigned hint)
{
    misfit why;
    dialect_fits(p, order, hint, 0, &why);
    size_t at = enter_tensor(&p->in, why.tensor);
    unsigned id = why.tensor->file_type;
    if (why.type_name == NULL) {
        return FAIL(&p->in, at, TN_BAD_FILE,
                    "type id %u means different things to different writers, and no meaning fits this file: "
                    "convert the model again",
                    id);
    }
    if (why.expected == 0) {
        return FAIL(&p->in, at, TN_BAD_FILE, "rows of %llu elements cannot be of type %s (id %u), and no other meaning fits: " ANOTHER_COPY,
                    (unsigned long long)why.tensor->ne[0], why.type_name, id);
    }
    return FAIL(
        &p->in, at, TN_BAD_FILE,
        "as %s (id %u) it takes %llu bytes and the file leaves %llu, and no other meaning of the file's type ids fits: " ANOTHER_COPY,
        why.type_name, id, (unsigned long long)why.expected, (unsigned long long)why.actual);
}

// Finds in which dialect the file's type ids are to be read.
static tn_status choose_dialect(parser *p, const tn_gguf_tensor *const *order, unsigned *out_dialect)
{
    const tn_gguf_part *part = p->part;
    bool ambiguous = false;
    for (size_t i = 0; i < part->n_tensors; ++i) ambiguous = ambiguous || tn_file_type_is_ambiguous(part->tensors[i].file_type);
    *out_dialect = TN_DIALECT_ALL;
    if (!ambiguous) return TN_OK;
    unsigned hint = dialect_hint(part), fitting = fitting_dialects(p, order);
    if (fitting == 0) return fail_no_dialect(p, order, hint);
    unsigned chosen = (fitting & hint) != 0 ? hint : fitting & (~fitting + 1); // else the first listed
    for (size_t i = 0; i < part->n_tensors; ++i) {
        const tn_file_type *type = tn_file_type_find(part->tensors[i].file_type, chosen);
        if ((fitting & ~type->dialects) == 0) continue;
        tn_log_write(p->log, TN_LOG_WARN, "%s: type id %u has several meanings that fit this file; it is read as %s", p->source->path,
                     part->tensors[i].file_type, type->name);
        break;
    }
    *out_dialect = chosen;
    return TN_OK;
}

// Gives a tensor its type, size and place, and checks that the file has its bytes.
static tn_status place_tensor(parser *p, tn_gguf_tensor *tensor, unsigned dialect)
{
    reader *in = &p->in;
    size_t at = enter_tensor(in, tensor);
    const tn_file_type *type = tn_file_type_find(tensor->file_type, dialect);
    unsigned long long ne0 = tensor->ne[0];
    if (!tn_file_type_size(type, tensor->ne[0], tensor->n_elements, &tensor->size_bytes)) {
        return FAIL(in, at, TN_BAD_FILE, "%llu elements in rows of %llu do not fill blocks of type %s, or overflow: " ANOTHER_COPY,
                    (unsigned long long)tensor->n_elements, ne0, type->name);
    }
    if (type->size_rule == TN_SIZE_TAIL && ne0 % type->block_elements != 0) {
        return FAIL(in, at, TN_UNSUPPORTED,
                    "rows of %llu weights are not whole blocks of %u, and writers of %s disagree on what such rows look like: use a file "
                    "of this model in another type",
                    ne0, type->block_elements, type->name);
    }
    if (tensor->size_bytes > p->data_bytes - tensor->offset_bytes) {
        return FAIL(in, at, TN_BAD_FILE, "its %llu bytes at offset %llu end after the %llu bytes of data in the file: " ANOTHER_COPY,
                    (unsigned long long)tensor->size_bytes, (unsigned long long)tensor->offset_bytes, (unsigned long long)p->data_bytes);
    }
    tensor->dtype = type->dtype;
    tensor->type_name = type->name;
    return TN_OK;
}

static tn_status check_overlap(parser *p, const tn_gguf_tensor *const *order)
{
    for (size_t i = 1; i < p->part->n_tensors; ++i) {
        const tn_gguf_tensor *before = order[i - 1], *tensor = order[i];
        uint64_t taken = before->size_bytes == 0 ? 1 : before->size_bytes; // of unknown size: at least its place is its own
        if (tensor->offset_bytes - before->offset_bytes >= taken) continue;
        size_t at = enter_tensor(&p->in, tensor);
        return FAIL(&p->in, at, TN_BAD_FILE, "its data overlaps that of tensor \"%.*s\": " ANOTHER_COPY, TN_STR_ARGS(before->name));
    }
    return TN_OK;
}

static tn_status place_tensors(parser *p)
{
    tn_gguf_part *part = p->part;
    const tn_gguf_tensor **order = NULL;
    tn_status status = TN_OK;
    unsigned dialect;
    if (part->n_tensors == 0) return TN_OK;
    TN_TRY(tn_alloc(part->n_tensors, sizeof *order, &order));
    for (size_t i = 0; i < part->n_tensors; ++i) order[i] = &part->tensors[i];
    qsort(order, part->n_tensors, sizeof *order, compare_offsets);
    TN_TRY_GOTO(choose_dialect(p, order, &dialect));
    for (size_t i = 0; i < part->n_tensors; ++i) TN_TRY_GOTO(place_tensor(p, &part->tensors[i], dialect));
    TN_TRY_GOTO(check_overlap(p, order));
    for (size_t i = 0; i < part->n_tensors; ++i) {
        tn_gguf_tensor *tensor = &part->tensors[i];
        tensor->offset_bytes += p->data_start; // both within the file
        tensor->data = p->source->data + tensor->offset_bytes;
    }
fail:
    tn_free(order);
    return status;
}

static tn_status parse_all(parser *p)
{
    reader *in = &p->in;
    uint64_t n_tensors = 0, n_kv = 0;
    if (in->size < 4 || memcmp(in->bytes, "GGUF", 4) != 0) return fail_magic(in);
    in->at = 4;
    TN_TRY(read_version(in));
    TN_TRY(read_count(in, TENSOR_BYTES_MIN, "the number of tensors", &n_tensors));
    TN_TRY(read_count(in, KV_BYTES_MIN, "the number of keys", &n_kv));
    TN_TRY(read_kvs(p, n_kv));
    TN_TRY(read_alignment(p));
    if (n_tensors > bytes_left(in) / TENSOR_BYTES_MIN) {
        return FAIL(in, 8, TN_BAD_FILE, "the number of tensors is %llu, and %zu bytes are left, too few for so many: " ANOTHER_COPY,
                    (unsigned long long)n_tensors, bytes_left(in));
    }
    TN_TRY(read_tensors(p, n_tensors));
    TN_TRY(find_data_section(p));
    return place_tensors(p);
}

tn_status tn_gguf_part_parse(tn_gguf_part *part, const tn_gguf_source *source, const tn_log *log)
{
    parser p = {
        .in = {.bytes = source->meta, .size = source->meta_bytes, .path = source->path}, .source = source, .part = part, .log = log};
    tn_status status = parse_all(&p);
    if (status != TN_OK) tn_gguf_part_clear(part);
    return status;
}

void tn_gguf_part_clear(tn_gguf_part *part)
{
    tn_free(part->kvs);
    tn_free(part->tensors);
    tn_free(part->kv_index);
    tn_free(part->tensor_index);
    part->kvs = NULL;
    part->tensors = NULL;
    part->kv_index = NULL;
    part->tensor_index = NULL;
    part->n_kv = part->n_tensors = 0;
}
