// Writes a GGUF v3 file: all metadata first, then tensors one after another, so that memory stays small.
#ifndef TN_FORMAT_GGUF_WRITE_H
#define TN_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"

// One thread at a time.
typedef struct tn_gguf_writer tn_gguf_writer;

// Will write `path` under a temporary name beside it. An unfinished writer leaves nothing behind when destroyed. Returns owned.
// Errors: IO, INVALID_ARGUMENT (path exists and !overwrite), OUT_OF_MEMORY.
tn_status tn_gguf_writer_create(const char *path, bool overwrite, tn_gguf_writer **out_writer);
void tn_gguf_writer_destroy(tn_gguf_writer *writer);
// Metadata; before the first tensor's data. Copied.
tn_status tn_gguf_writer_u32(tn_gguf_writer *writer, const char *key, uint32_t value);
tn_status tn_gguf_writer_u64(tn_gguf_writer *writer, const char *key, uint64_t value);
tn_status tn_gguf_writer_f32(tn_gguf_writer *writer, const char *key, float value);
tn_status tn_gguf_writer_bool(tn_gguf_writer *writer, const char *key, bool value);
tn_status tn_gguf_writer_str(tn_gguf_writer *writer, const char *key, const char *value);
tn_status tn_gguf_writer_str_array(tn_gguf_writer *writer, const char *key, const tn_str *values, size_t n);
tn_status tn_gguf_writer_i32_array(tn_gguf_writer *writer, const char *key, const int32_t *values, size_t n);
tn_status tn_gguf_writer_f32_array(tn_gguf_writer *writer, const char *key, const float *values, size_t n);
// Announces a tensor; all of them before the first data.
tn_status tn_gguf_writer_tensor(tn_gguf_writer *writer, const char *name, tn_dtype dtype, uint32_t n_dims, const uint64_t *ne);
// Appends bytes of tensor data, in the order announced; padding between tensors is added by itself.
tn_status tn_gguf_writer_data(tn_gguf_writer *writer, const void *bytes, size_t n);
// Checks that all announced data came, syncs and renames. After it only destroy.
tn_status tn_gguf_writer_finish(tn_gguf_writer *writer);

#endif
