// A hash of bytes that is the same on every machine and in every version.
#ifndef TERNION_TOOL_BYTES_HASH_H
#define TERNION_TOOL_BYTES_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// XXH64. `seed`: 0, or the hash of what came before.
uint64_t tn_cli_hash(const void *bytes, size_t n, uint64_t seed);
// XXH64 of a whole file, as xxhsum prints it. False, with errno, where it cannot be read.
bool tn_cli_hash_file(const char *path, uint64_t *out_hash);

// The XXH64 of bytes that come piece by piece, with seed 0: that of all of them in one.
typedef struct tn_cli_hasher tn_cli_hasher;
tn_cli_hasher *tn_cli_hasher_create(void); // NULL without memory
void tn_cli_hasher_destroy(tn_cli_hasher *hasher);
void tn_cli_hasher_add(tn_cli_hasher *hasher, const void *bytes, size_t n);
uint64_t tn_cli_hasher_value(const tn_cli_hasher *hasher);

#endif
