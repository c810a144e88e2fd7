// A hash table with open addressing; a slot holds half of the hash, so that bytes are hardly ever compared in vain.
#include "model/piece_table.h"

#include "base/alloc.h"

struct tn_piece_slot {
    uint32_t hash; // high half of tn_piece_hash
    int32_t id;    // -1: free slot
};

uint64_t tn_piece_hash(const uint8_t *bytes, size_t len)
{
    uint64_t h = len * 0x9E3779B97F4A7C15u, block;
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        memcpy(&block, bytes + at, 8);
        h = tn_piece_mix(h ^ block);
    }
    block = 0;
    for (size_t i = at; i < len; i++) block = block << 8 | bytes[i];
    return tn_piece_mix(h ^ block);
}

static uint32_t high_half(uint64_t hash) { return (uint32_t)(hash >> 32); }

// The slot of these bytes, or the free one where they belong.
static struct tn_piece_slot *find_slot(const tn_piece_table *table, const uint8_t *bytes, size_t len, uint64_t hash)
{
    size_t mask = table->n_slots - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct tn_piece_slot *slot = &table->slots[at];
        if (slot->id < 0) return slot;
        tn_str piece = table->pieces[slot->id];
        if (slot->hash == high_half(hash) && piece.len == len && memcmp(piece.data, bytes, len) == 0) return slot;
    }
}

int32_t tn_piece_find(const tn_piece_table *table, const uint8_t *bytes, size_t len, uint64_t hash)
{
    return find_slot(table, bytes, len, hash)->id;
}

tn_status tn_piece_table_init(tn_piece_table *table, const tn_str *pieces, const bool *wanted, int32_t n_pieces)
{
    size_t n_slots = 16;
    memset(table, 0, sizeof *table);
    while (n_slots < 2 * (size_t)n_pieces) n_slots *= 2;
    TN_TRY(tn_alloc(n_slots, sizeof *table->slots, &table->slots));
    table->pieces = pieces;
    table->n_slots = n_slots;
    for (size_t i = 0; i < n_slots; i++) table->slots[i].id = -1;
    for (int32_t id = 0; id < n_pieces; id++) {
        const uint8_t *bytes = (const uint8_t *)pieces[id].data;
        if (!wanted[id] || pieces[id].len == 0) continue;
        uint64_t hash = tn_piece_hash(bytes, pieces[id].len);
        *find_slot(table, bytes, pieces[id].len, hash) = (struct tn_piece_slot){high_half(hash), id};
    }
    return TN_OK;
}

void tn_piece_table_deinit(tn_piece_table *table)
{
    tn_free(table->slots);
    memset(table, 0, sizeof *table);
}
