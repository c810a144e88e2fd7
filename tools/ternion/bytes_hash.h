// A hash of bytes that is the same on every machine and in every version.
#ifndef TERNION_TOOL_BYTES_HASH_H
#define TERNION_TOOL_BYTES_HASH_H

#include <stddef.h>
#include <stdint.h>

// XXH64. `seed`: 0, or the hash of what came before.
uint64_t tn_cli_hash(const void *bytes, size_t n, uint64_t seed);

#endif
