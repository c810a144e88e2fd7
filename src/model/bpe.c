// Byte-pair merging with a heap over linked symbols: O(n log n) in the length of a word, however it is made.
#include "model/bpe.h"

#include "base/alloc.h"

#define NO_RANK UINT32_MAX

struct tn_bpe_word {
    uint32_t hash; // high half of tn_bpe_hash, compared before the bytes
    int32_t id;    // -1: free slot
};

struct tn_bpe_pair {
    int32_t left, right; // left -1: free slot
    uint32_t rank;
    int32_t joined;
};

// One symbol of the word at hand, at the index of its first byte.
struct tn_bpe_symbol {
    int32_t id;
    uint32_t prev, next; // indices; next = length of the word at the end
    uint32_t rank;       // of the merge with the next symbol; NO_RANK where there is none, or this symbol was merged away
    int32_t joined;      // what that merge makes
};

static inline uint64_t mix(uint64_t h)
{
    h ^= h >> 29;
    h *= 0xBF58476D1CE4E5B9u; // odd, well spread bits (the multiplier of splitmix64)
    return h ^ h >> 32;
}

uint64_t tn_bpe_hash(const uint8_t *bytes, size_t len)
{
    uint64_t h = len * 0x9E3779B97F4A7C15u, block;
    size_t at = 0;
    for (; len - at >= 8; at += 8) {
        memcpy(&block, bytes + at, 8);
        h = mix(h ^ block);
    }
    block = 0;
    for (size_t i = at; i < len; i++) block = block << 8 | bytes[i];
    return mix(h ^ block);
}

static uint32_t high_half(uint64_t hash) { return (uint32_t)(hash >> 32); }

// A power of two, at least twice `n`.
static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    return slots;
}

int32_t tn_bpe_find_token(const tn_bpe *bpe, const uint8_t *bytes, size_t len, uint64_t hash)
{
    size_t mask = bpe->n_word_slots - 1;
    for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
        const struct tn_bpe_word *word = &bpe->words[slot];
        if (word->id < 0) return -1;
        tn_str token = bpe->tokens[word->id];
        if (word->hash == high_half(hash) && token.len == len && memcmp(token.data, bytes, len) == 0) return word->id;
    }
}

int32_t tn_bpe_find_symbol(const tn_bpe *bpe, const uint8_t *bytes, size_t len)
{
    if (len == 1) return bpe->byte_symbols[bytes[0]];
    return tn_bpe_find_token(bpe, bytes, len, tn_bpe_hash(bytes, len));
}

static void put_word(tn_bpe *bpe, int32_t id)
{
    tn_str token = bpe->tokens[id];
    uint64_t hash = tn_bpe_hash((const uint8_t *)token.data, token.len);
    size_t mask = bpe->n_word_slots - 1, slot = hash & mask;
    for (; bpe->words[slot].id >= 0; slot = (slot + 1) & mask) {
        if (bpe->words[slot].hash == high_half(hash) && tn_str_eq(bpe->tokens[bpe->words[slot].id], token)) break;
    }
    bpe->words[slot].hash = high_half(hash);
    bpe->words[slot].id = id;
}

static tn_status resize_pairs(tn_bpe *bpe, size_t n_slots);

tn_status tn_bpe_init(tn_bpe *bpe, const tn_str *tokens, const bool *usable, int32_t n_tokens)
{
    tn_status status;
    memset(bpe, 0, sizeof *bpe);
    bpe->tokens = tokens;
    bpe->n_tokens = n_tokens;
    size_t n_slots = slots_for((size_t)n_tokens);
    TN_TRY_GOTO(tn_alloc(n_slots, sizeof *bpe->words, &bpe->words));
    bpe->n_word_slots = n_slots;
    for (size_t i = 0; i < n_slots; i++) bpe->words[i].id = -1;
    TN_TRY_GOTO(resize_pairs(bpe, slots_for(0)));
    for (int32_t b = 0; b < 256; b++) bpe->byte_symbols[b] = n_tokens + b;
    for (int32_t id = 0; id < n_tokens; id++) {
        if (!usable[id] || tokens[id].len == 0) continue;
        put_word(bpe, id);
        if (tokens[id].len == 1) bpe->byte_symbols[(uint8_t)tokens[id].data[0]] = id;
    }
    return TN_OK;
fail:
    tn_bpe_deinit(bpe);
    return status;
}

void tn_bpe_deinit(tn_bpe *bpe)
{
    tn_free(bpe->words);
    tn_free(bpe->pairs);
    memset(bpe, 0, sizeof *bpe);
}

// The slot that holds a pair, or the free one where it belongs.
static struct tn_bpe_pair *pair_slot(const tn_bpe *bpe, int32_t left, int32_t right)
{
    size_t mask = bpe->n_pair_slots - 1;
    size_t slot = mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & mask;
    while (bpe->pairs[slot].left >= 0 && (bpe->pairs[slot].left != left || bpe->pairs[slot].right != right)) slot = (slot + 1) & mask;
    return &bpe->pairs[slot];
}

static tn_status resize_pairs(tn_bpe *bpe, size_t n_slots)
{
    struct tn_bpe_pair *old = bpe->pairs, *pairs;
    size_t n_old = bpe->n_pair_slots;
    TN_TRY(tn_alloc(n_slots, sizeof *pairs, &pairs));
    for (size_t i = 0; i < n_slots; i++) pairs[i].left = -1;
    bpe->pairs = pairs;
    bpe->n_pair_slots = n_slots;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].left >= 0) *pair_slot(bpe, old[i].left, old[i].right) = old[i];
    }
    tn_free(old);
    return TN_OK;
}

tn_status tn_bpe_add_merge(tn_bpe *bpe, int32_t left, int32_t right, uint32_t rank, int32_t joined)
{
    if (2 * (bpe->n_pairs + 1) > bpe->n_pair_slots) TN_TRY(resize_pairs(bpe, 2 * bpe->n_pair_slots));
    struct tn_bpe_pair *pair = pair_slot(bpe, left, right);
    if (pair->left >= 0) return TN_OK;
    *pair = (struct tn_bpe_pair){left, right, rank, joined};
    bpe->n_pairs++;
    return TN_OK;
}

tn_status tn_bpe_add_merges_by_id(tn_bpe *bpe, const bool *usable)
{
    for (int32_t id = 0; id < bpe->n_tokens; id++) {
        const uint8_t *bytes = (const uint8_t *)bpe->tokens[id].data;
        size_t len = bpe->tokens[id].len;
        if (!usable[id]) continue;
        for (size_t cut = 1; cut < len; cut++) {
            int32_t left = tn_bpe_find_symbol(bpe, bytes, cut);
            if (left < 0) continue;
            int32_t right = tn_bpe_find_symbol(bpe, bytes + cut, len - cut);
            if (right >= 0) TN_TRY(tn_bpe_add_merge(bpe, left, right, (uint32_t)id, id));
        }
    }
    return TN_OK;
}

// Heap entries are rank << 32 | index of the left symbol, so that the smallest is the leftmost of the lowest rank. An entry whose
// rank is no longer that of its symbol is stale and is dropped when it comes up.
static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    uint64_t entry = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= entry) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = entry;
}

static void heap_push(tn_bpe_scratch *s, uint64_t entry)
{
    size_t at = s->n_heap++;
    while (at > 0 && s->heap[(at - 1) / 2] > entry) {
        s->heap[at] = s->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    s->heap[at] = entry;
}

static uint64_t heap_pop(tn_bpe_scratch *s)
{
    uint64_t top = s->heap[0];
    s->heap[0] = s->heap[--s->n_heap];
    if (s->n_heap > 0) sift_down(s->heap, s->n_heap, 0);
    s->n_heap_pops++;
    return top;
}

// Looks up the merge of symbol `at` with the next one.
static void rank_symbol(const tn_bpe *bpe, struct tn_bpe_symbol *symbols, uint32_t at, uint32_t len)
{
    struct tn_bpe_symbol *symbol = &symbols[at];
    symbol->rank = NO_RANK;
    if (symbol->next == len) return;
    const struct tn_bpe_pair *pair = pair_slot(bpe, symbol->id, symbols[symbol->next].id);
    if (pair->left < 0) return;
    symbol->rank = pair->rank;
    symbol->joined = pair->joined;
}

static void rank_and_push(const tn_bpe *bpe, tn_bpe_scratch *s, uint32_t at, uint32_t len)
{
    rank_symbol(bpe, s->symbols, at, len);
    if (s->symbols[at].rank != NO_RANK) heap_push(s, (uint64_t)s->symbols[at].rank << 32 | at);
}

static void start_word(const tn_bpe *bpe, tn_bpe_scratch *s, const uint8_t *word, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) s->symbols[i] = (struct tn_bpe_symbol){bpe->byte_symbols[word[i]], i - 1, i + 1, NO_RANK, -1};
    s->n_heap = 0;
    for (uint32_t i = 0; i < len; i++) {
        rank_symbol(bpe, s->symbols, i, len);
        if (s->symbols[i].rank != NO_RANK) s->heap[s->n_heap++] = (uint64_t)s->symbols[i].rank << 32 | i;
    }
    for (size_t i = s->n_heap / 2; i-- > 0;) sift_down(s->heap, s->n_heap, i);
}

// Joins symbol `at` with its right neighbour.
static void merge_symbol(const tn_bpe *bpe, tn_bpe_scratch *s, uint32_t at, uint32_t len)
{
    struct tn_bpe_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];
    left->id = left->joined;
    left->next = right->next;
    right->rank = NO_RANK;
    if (left->next < len) s->symbols[left->next].prev = at;
    rank_and_push(bpe, s, at, len);
    if (at > 0) rank_and_push(bpe, s, left->prev, len);
}

tn_status tn_bpe_encode_word(const tn_bpe *bpe, tn_bpe_scratch *scratch, const uint8_t *word, size_t len, tn_id_list *out)
{
    if (len > INT32_MAX) return tn_fail(TN_INVALID_ARGUMENT, "a word of %zu bytes is too long to be encoded: cut the text", len);
    TN_TRY(tn_grow(&scratch->symbols, &scratch->symbols_capacity, len, sizeof *scratch->symbols));
    // At most len - 1 entries at first; each of at most len - 1 merges takes one out and puts two in.
    TN_TRY(tn_grow(&scratch->heap, &scratch->heap_capacity, 2 * len, sizeof *scratch->heap));
    uint32_t n = (uint32_t)len;
    start_word(bpe, scratch, word, n);
    while (scratch->n_heap > 0) {
        uint64_t entry = heap_pop(scratch);
        uint32_t at = (uint32_t)entry;
        if (scratch->symbols[at].rank == (uint32_t)(entry >> 32)) merge_symbol(bpe, scratch, at, n);
    }
    for (uint32_t at = 0; at < n; at = scratch->symbols[at].next) {
        int32_t id = scratch->symbols[at].id;
        if (id < bpe->n_tokens) TN_TRY(tn_id_list_append(out, &id, 1));
    }
    return TN_OK;
}

void tn_bpe_scratch_deinit(tn_bpe_scratch *scratch)
{
    tn_free(scratch->symbols);
    tn_free(scratch->heap);
    memset(scratch, 0, sizeof *scratch);
}

tn_status tn_id_list_append(tn_id_list *list, const int32_t *ids, size_t n)
{
    TN_TRY(tn_grow(&list->ids, &list->capacity, list->n + n, sizeof *ids));
    memcpy(list->ids + list->n, ids, n * sizeof *ids);
    list->n += n;
    return TN_OK;
}
