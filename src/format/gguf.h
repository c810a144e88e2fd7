// GGUF containers: parse untrusted bytes into a directory of metadata and tensors.
#ifndef TN_FORMAT_GGUF_H
#define TN_FORMAT_GGUF_H

#include "base/str.h"
#include "format/dtype.h"

typedef enum tn_gguf_type {
    TN_GGUF_U8 = 0,
    TN_GGUF_I8,
    TN_GGUF_U16,
    TN_GGUF_I16,
    TN_GGUF_U32,
    TN_GGUF_I32,
    TN_GGUF_F32,
    TN_GGUF_BOOL,
    TN_GGUF_STRING,
    TN_GGUF_ARRAY,
    TN_GGUF_U64,
    TN_GGUF_I64,
    TN_GGUF_F64,
} tn_gguf_type;

typedef struct tn_gguf_array {
    tn_gguf_type type; // of the elements; never ARRAY
    uint64_t n;
    const uint8_t *data; // little-endian, unaligned; strings: u64 length + bytes each, all checked
} tn_gguf_array;

typedef struct tn_gguf_kv {
    tn_str key;
    tn_gguf_type type;
    union {
        uint64_t u; // unsigned types and bool (0 or 1)
        int64_t i;  // signed types
        double f;   // F32 and F64
        tn_str str;
        tn_gguf_array array;
    } value;
} tn_gguf_kv;

typedef struct tn_gguf_tensor {
    tn_str name;     // at most 63 bytes
    uint32_t n_dims; // 1..4
    uint64_t ne[4];  // innermost first, at least 1
    uint64_t n_elements;
    uint32_t file_type; // id as in the file
    tn_dtype dtype;     // resolved from ids that mean several things; OTHER where this version does not read it
    const char *type_name;
    uint64_t offset_bytes, size_bytes; // offset from the start of its file; size 0 for OTHER types of unknown size
    const uint8_t *data;               // borrowed from the file's bytes
} tn_gguf_tensor;

// Immutable; any thread.
typedef struct tn_gguf tn_gguf;

// Parses `size` bytes of one container. Borrows `bytes` until destroyed. `path` names the file in messages. Returns owned.
// Errors: BAD_FILE (what, at which byte, what to do), UNSUPPORTED (version, endianness), OUT_OF_MEMORY.
tn_status tn_gguf_parse(const uint8_t *bytes, size_t size, const char *path, const tn_log *log, tn_gguf **out_gguf);
// Maps and parses a file, and its further shards where it is the first of a split model. Owns the mappings.
// Errors: as tn_gguf_parse, and NOT_FOUND, IO.
tn_status tn_gguf_open(const char *path, const tn_log *log, tn_gguf **out_gguf);
void tn_gguf_destroy(tn_gguf *gguf);
// IO where a mapped file was cut short meanwhile (what was read since then may be zeros).
tn_status tn_gguf_check_intact(const tn_gguf *gguf);

// Bytes [offset, offset + n) of the tensor's data are not needed for now (tn_file_map_release); nothing where the bytes are not a mapped
// file's.   Threads: any.
void tn_gguf_release(const tn_gguf *gguf, const tn_gguf_tensor *tensor, uint64_t offset, uint64_t n);

const char *tn_gguf_path(const tn_gguf *gguf);
uint64_t tn_gguf_file_bytes(const tn_gguf *gguf); // over all shards
// Appends to `out` bytes that change with the files' content: each file's stamp, its metadata's hash and a hash of samples of its data.
// `*out_settled` is false where a file was changed so shortly before it was opened that a further change may not show in its stamp.
// Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (parsed from memory: no file), IO (cut short).
tn_status tn_gguf_identity(const tn_gguf *gguf, tn_text *out, bool *out_settled);
size_t tn_gguf_n_kv(const tn_gguf *gguf);
const tn_gguf_kv *tn_gguf_kv_at(const tn_gguf *gguf, size_t index);
const tn_gguf_kv *tn_gguf_find(const tn_gguf *gguf, const char *key); // NULL where absent
size_t tn_gguf_n_tensors(const tn_gguf *gguf);
const tn_gguf_tensor *tn_gguf_tensor_at(const tn_gguf *gguf, size_t index);
const tn_gguf_tensor *tn_gguf_find_tensor(const tn_gguf *gguf, const char *name); // NULL where absent

// Typed getters. Absent key: NOT_FOUND, recorded with a message that names the key. Wrong type or out of range: BAD_FILE.
// Any integer width is accepted where the value fits.
tn_status tn_gguf_get_u32(const tn_gguf *gguf, const char *key, uint32_t *out);
tn_status tn_gguf_get_i32(const tn_gguf *gguf, const char *key, int32_t *out);
tn_status tn_gguf_get_f32(const tn_gguf *gguf, const char *key, float *out); // finite
tn_status tn_gguf_get_bool(const tn_gguf *gguf, const char *key, bool *out);
tn_status tn_gguf_get_str(const tn_gguf *gguf, const char *key, tn_str *out);
tn_status tn_gguf_get_array(const tn_gguf *gguf, const char *key, tn_gguf_type type, tn_gguf_array *out);
// Steps through an array of strings: start with *at = 0; false at the end.
bool tn_gguf_array_next(const tn_gguf_array *array, uint64_t *at, tn_str *out);
const char *tn_gguf_type_name(tn_gguf_type type); // "u32"

#endif
