// Finding special tokens by an Aho-Corasick automaton that reads the text from its end: run backwards, the automaton knows at each
// byte the longest token that begins there, so that one pass forwards over those picks the leftmost longest ones. Both
// passes are linear in the text; an automaton that runs forwards would have to read parts again after a long match that failed.
#include "model/tokenizer_special.h"

#include "base/alloc.h"
#include "base/checked.h"

// A state: the end of some token that was read backwards. Node 0 is the root.
struct tn_special_node {
    uint32_t first_child, next_sibling; // 0: none
    uint32_t fail;                      // the state of the longest proper suffix of what was read
    int32_t id;                         // the longest token that begins here; -1: none
    uint32_t id_len;
    uint8_t byte; // that leads here
};

static uint32_t child_of(const tn_special_set *set, uint32_t node, uint8_t byte)
{
    if (node == 0) return set->first[byte];
    uint32_t child = set->nodes[node].first_child;
    while (child != 0 && set->nodes[child].byte != byte) child = set->nodes[child].next_sibling;
    return child;
}

static uint32_t add_child(tn_special_set *set, uint32_t node, uint8_t byte)
{
    uint32_t child = set->n_nodes++;
    set->nodes[child] = (struct tn_special_node){0, set->nodes[node].first_child, 0, -1, 0, byte};
    set->nodes[node].first_child = child;
    if (node == 0) set->first[byte] = child;
    return child;
}

static void add_text(tn_special_set *set, tn_str text, int32_t id)
{
    uint32_t node = 0;
    for (size_t i = text.len; i-- > 0;) {
        uint8_t byte = (uint8_t)text.data[i];
        uint32_t child = child_of(set, node, byte);
        node = child != 0 ? child : add_child(set, node, byte);
    }
    set->nodes[node].id = id;
    set->nodes[node].id_len = (uint32_t)text.len;
}

static uint32_t step(const tn_special_set *set, uint32_t node, uint8_t byte)
{
    for (;;) {
        uint32_t child = child_of(set, node, byte);
        if (child != 0 || node == 0) return child;
        node = set->nodes[node].fail;
    }
}

// Fills `fail` and inherits tokens, nearest states first. `queue` has room for all nodes.
static void link_nodes(tn_special_set *set, uint32_t *queue)
{
    size_t n_queued = 1;
    queue[0] = 0;
    for (size_t i = 0; i < n_queued; i++) {
        uint32_t node = queue[i];
        for (uint32_t child = set->nodes[node].first_child; child != 0; child = set->nodes[child].next_sibling) {
            struct tn_special_node *c = &set->nodes[child];
            c->fail = node == 0 ? 0 : step(set, set->nodes[node].fail, c->byte);
            if (c->id < 0) {
                c->id = set->nodes[c->fail].id;
                c->id_len = set->nodes[c->fail].id_len;
            }
            queue[n_queued++] = child;
        }
    }
}

tn_status tn_special_init(tn_special_set *set, const tn_str *texts, const bool *wanted, int32_t n_texts)
{
    tn_status status;
    uint32_t *queue = NULL;
    uint64_t n_bytes = 0;
    memset(set, 0, sizeof *set);
    for (int32_t i = 0; i < n_texts; i++) {
        if (wanted[i] && !tn_ckd_add(n_bytes, texts[i].len, &n_bytes)) n_bytes = UINT64_MAX;
    }
    if (n_bytes == 0) return TN_OK;
    if (n_bytes >= UINT32_MAX)
        return tn_fail(TN_BAD_FILE, "the special tokens have %llu bytes in all: get another copy of the model",
                       (unsigned long long)n_bytes);
    TN_TRY_GOTO(tn_alloc((size_t)n_bytes + 1, sizeof *set->nodes, &set->nodes));
    TN_TRY_GOTO(tn_alloc((size_t)n_bytes + 1, sizeof *queue, &queue));
    set->nodes[0] = (struct tn_special_node){.id = -1};
    set->n_nodes = 1;
    for (int32_t i = 0; i < n_texts; i++) {
        if (wanted[i] && texts[i].len > 0) add_text(set, texts[i], i);
    }
    link_nodes(set, queue);
    tn_free(queue);
    return TN_OK;
fail:
    tn_free(queue);
    tn_special_deinit(set);
    return status;
}

void tn_special_deinit(tn_special_set *set)
{
    tn_free(set->nodes);
    memset(set, 0, sizeof *set);
}

tn_status tn_special_find(const tn_special_set *set, const uint8_t *text, size_t len, tn_special_matches *out)
{
    if (set->nodes == NULL) return TN_OK;
    size_t n_found = out->n;
    uint32_t node = 0;
    for (size_t at = len; at-- > 0;) {
        node = step(set, node, text[at]);
        const struct tn_special_node *state = &set->nodes[node];
        if (state->id < 0) continue;
        TN_TRY(tn_grow(&out->items, &out->capacity, n_found + 1, sizeof *out->items));
        out->items[n_found++] = (tn_special_match){at, state->id_len, state->id};
    }
    if (n_found == out->n) return TN_OK;
    // Forwards over the candidates, keeping at the list's end those that do not overlap the one kept before.
    size_t kept = n_found, free_from = 0;
    for (size_t i = n_found; i-- > out->n;) {
        if (out->items[i].at < free_from) continue;
        free_from = out->items[i].at + out->items[i].len;
        out->items[--kept] = out->items[i];
    }
    memmove(out->items + out->n, out->items + kept, (n_found - kept) * sizeof *out->items);
    out->n += n_found - kept;
    return TN_OK;
}
