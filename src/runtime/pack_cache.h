// Packed weights kept in a file, so that the next start maps them instead of packing again. docs/design/0008-packed-cache.md says what is
// in it and why it can be trusted.
#ifndef TN_RUNTIME_PACK_CACHE_H
#define TN_RUNTIME_PACK_CACHE_H

#include "base/file_map.h"
#include "base/str.h"

// What a file must be for its packed weights to be used: bytes that change with the model's content, with how it is read and with the form
// that the device wants. Zero-initialise.
typedef struct tn_pack_key {
    tn_text place; // decides the file's name: the model's path, the device's layout
    tn_text bytes; // must be equal to the bytes in the file
    uint64_t body_bytes;
} tn_pack_key;
void tn_pack_key_deinit(tn_pack_key *key);

// Where the body of a file with this key begins: a multiple of 2 MiB, of 4096 for bodies below that.
uint64_t tn_pack_cache_body_offset(const tn_pack_key *key);
// Whether data [size] is a file with this key whose bytes are those that were written. No other check stands between a file and the device.
// Reads everything, on some threads.  Errors: BAD_FILE (damaged), NOT_FOUND (of another model or version), OUT_OF_MEMORY.
tn_status tn_pack_cache_verify(const uint8_t *data, size_t size, const tn_pack_key *key);

// Maps the file of this key in `folder` and verifies it. The body is at data + tn_pack_cache_body_offset.  Errors: as tn_pack_cache_verify,
// and NOT_FOUND (no file), IO, UNSUPPORTED (it belongs to somebody else).
tn_status tn_pack_cache_open(const char *folder, const tn_pack_key *key, tn_file_map *out_map);

// Hands over bytes [offset, offset + n) of the body.
typedef tn_status tn_pack_read_fn(void *user, uint64_t offset, void *dst, size_t n);
// Writes the file of this key, and makes `folder` where it is missing. Readers see the whole file or none: it is written under another
// name, which one process at a time may hold, and then renamed. Older files of the folder go where all of them are more than max_bytes (0:
// no limit). Errors: UNAVAILABLE (another process is writing it; the disk lacks room), IO, OUT_OF_MEMORY, CANCELLED and what `read` says.
tn_status tn_pack_cache_write(const char *folder, const tn_pack_key *key, uint64_t max_bytes, tn_pack_read_fn *read, void *user,
                              const tn_progress *progress);

#endif
