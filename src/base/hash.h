// A fast hash of bytes, 64 bits: for noticing that bytes are not those that were meant, not against somebody who wants to deceive.
#ifndef TN_BASE_HASH_H
#define TN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

// XXH3, 64 bits, no seed: the same value on every machine.   Threads: any.
uint64_t tn_hash(const void *bytes, size_t n);

#endif
