// A hash table from the bytes of tokens to their ids.
#ifndef TN_MODEL_PIECE_TABLE_H
#define TN_MODEL_PIECE_TABLE_H

#include "base/str.h"

// Immutable after init; any thread.
typedef struct tn_piece_table {
    const tn_str *pieces; // by id; borrowed
    struct tn_piece_slot *slots;
    size_t n_slots; // a power of two
} tn_piece_table;

// Enters each piece i with wanted[i] that is not empty; of equal ones the last wins. Borrows `pieces` until deinit.
// Errors: OUT_OF_MEMORY, and the table is then empty.
tn_status tn_piece_table_init(tn_piece_table *table, const tn_str *pieces, const bool *wanted, int32_t n_pieces);
void tn_piece_table_deinit(tn_piece_table *table);
// The id of some bytes whose tn_piece_hash is `hash`, or -1.
int32_t tn_piece_find(const tn_piece_table *table, const uint8_t *bytes, size_t len, uint64_t hash);
uint64_t tn_piece_hash(const uint8_t *bytes, size_t len);

// Spreads bits of a number over all of its bits.
static inline uint64_t tn_piece_mix(uint64_t h)
{
    h ^= h >> 29;
    h *= 0xBF58476D1CE4E5B9u; // odd, well spread bits (the multiplier of splitmix64)
    return h ^ h >> 32;
}

#endif
