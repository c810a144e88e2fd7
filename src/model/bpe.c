// Byte-pair merging with a heap over linked symbols: O(n log n) in the length of a word, however it is made.
#include "model/bpe.h"

#include "base/alloc.h"

#define NO_RANK        TN_MERGE_NO_RANK
#define PAIR_SLOTS_MIN 16 // a power of two

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

int32_t tn_bpe_find_symbol(const tn_bpe *bpe, const uint8_t *bytes, size_t len)
{
    if (len == 1) return bpe->byte_symbols[bytes[0]];
    return tn_piece_find(&bpe->table, bytes, len, tn_piece_hash(bytes, len));
}

static tn_status resize_pairs(tn_bpe *bpe, size_t n_slots);

tn_status tn_bpe_init(tn_bpe *bpe, const tn_str *tokens, const bool *usable, int32_t n_tokens)
{
    tn_status status;
    memset(bpe, 0, sizeof *bpe);
    bpe->tokens = tokens;
    bpe->n_tokens = n_tokens;
    TN_TRY_GOTO(tn_piece_table_init(&bpe->table, tokens, usable, n_tokens));
    TN_TRY_GOTO(resize_pairs(bpe, PAIR_SLOTS_MIN));
    for (int32_t b = 0; b < 256; b++) bpe->byte_symbols[b] = n_tokens + b;
    for (int32_t id = 0; id < n_tokens; id++) {
        if (usable[id] && tokens[id].len == 1) bpe->byte_symbols[(uint8_t)tokens[id].data[0]] = id;
    }
    return TN_OK;
fail:
    tn_bpe_deinit(bpe);
    return status;
}

void tn_bpe_deinit(tn_bpe *bpe)
{
    tn_piece_table_deinit(&bpe->table);
    tn_free(bpe->pairs);
    memset(bpe, 0, sizeof *bpe);
}

// The slot that holds a pair, or the free one where it belongs.
static struct tn_bpe_pair *pair_slot(const tn_bpe *bpe, int32_t left, int32_t right)
{
    size_t mask = bpe->n_pair_slots - 1;
    size_t slot = tn_piece_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) & mask;
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
    if (s->symbols[at].rank != NO_RANK) tn_merge_heap_push(&s->heap, s->symbols[at].rank, at);
}

static void start_word(const tn_bpe *bpe, tn_bpe_scratch *s, const uint8_t *word, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) s->symbols[i] = (struct tn_bpe_symbol){bpe->byte_symbols[word[i]], i - 1, i + 1, NO_RANK, -1};
    for (uint32_t i = 0; i < len; i++) {
        rank_symbol(bpe, s->symbols, i, len);
        if (s->symbols[i].rank != NO_RANK) tn_merge_heap_add(&s->heap, s->symbols[i].rank, i);
    }
    tn_merge_heap_order(&s->heap);
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
    TN_TRY(tn_grow(&scratch->symbols, &scratch->capacity, len, sizeof *scratch->symbols));
    TN_TRY(tn_merge_heap_start(&scratch->heap, len));
    uint32_t n = (uint32_t)len, rank, left;
    start_word(bpe, scratch, word, n);
    while (tn_merge_heap_pop(&scratch->heap, &rank, &left)) {
        if (scratch->symbols[left].rank == rank) merge_symbol(bpe, scratch, left, n);
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
    tn_merge_heap_deinit(&scratch->heap);
    memset(scratch, 0, sizeof *scratch);
}
