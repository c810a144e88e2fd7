// Philox4x32-10, written from its paper: two 32x32-bit multiplications a round, the key raised by two constants between rounds.
#include "runtime/philox.h"

enum { PHILOX_ROUNDS = 10 };

tn_philox_block tn_philox4x32_10(const uint32_t key[2], const uint32_t counter[4])
{
    // Multipliers and key increments of the paper (the increments: golden ratio and sqrt(3) - 1 as fractions of 2^32).
    const uint64_t multiplier_0 = 0xD2511F53u, multiplier_1 = 0xCD9E8D57u;
    const uint32_t step_0 = 0x9E3779B9u, step_1 = 0xBB67AE85u;

    uint32_t k0 = key[0], k1 = key[1];
    tn_philox_block x = {{counter[0], counter[1], counter[2], counter[3]}};
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = multiplier_0 * x.word[0], p1 = multiplier_1 * x.word[2];
        const tn_philox_block next = {
            {(uint32_t)(p1 >> 32) ^ x.word[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ x.word[3] ^ k1, (uint32_t)p0}};
        x = next;
        k0 += step_0;
        k1 += step_1;
    }
    return x;
}

double tn_philox_uniform(uint64_t seed, uint64_t sequence, uint32_t position)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)sequence, (uint32_t)(sequence >> 32), position, 0};
    return (double)(tn_philox4x32_10(key, counter).word[0] >> 8) * 0x1p-24;
}
