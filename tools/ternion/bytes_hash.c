// XXH64 of the xxHash library.
#include "bytes_hash.h"

#include <xxhash.h>

uint64_t tn_cli_hash(const void *bytes, size_t n, uint64_t seed) { return XXH64(bytes, n, seed); }
