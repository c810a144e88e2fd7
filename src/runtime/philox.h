// Philox4x32-10: random bits as a pure function of a key and a counter.
#ifndef TN_RUNTIME_PHILOX_H
#define TN_RUNTIME_PHILOX_H

#include <stdint.h>

typedef struct tn_philox_block {
    uint32_t word[4];
} tn_philox_block;

// Ten rounds of Philox 4x32. Nothing is remembered between calls.   Threads: any.
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
tn_philox_block tn_philox4x32_10(const uint32_t key[2], const uint32_t counter[4]);

// The uniform number in [0, 1) of a sampler: the 24 high bits of the first word, times 2^-24.
// key = {seed's low half, seed's high half}; counter = {sequence's low half, sequence's high half, position, 0}.
double tn_philox_uniform(uint64_t seed, uint64_t sequence, uint32_t position);

#endif
