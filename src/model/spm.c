// Merging by scores with a heap over linked symbols, and the places where a text falls into words that cannot merge.
#include "model/spm.h"

#include "base/alloc.h"
#include "model/unicode.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int tn_spm_byte_of_name(tn_str name)
{
    if (name.len != 6 || memcmp(name.data, "<0x", 3) != 0 || name.data[5] != '>') return -1;
    int high = hex_digit(name.data[3]), low = hex_digit(name.data[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// One symbol of the word at hand, at the index of its first byte. What a merge did is kept, so that it can be undone.
struct tn_spm_symbol {
    int32_t id;          // its piece; -1: a character that is none
    uint32_t prev, next; // indices; next = length of the word at the end
    uint32_t rank;       // of the merge with the next symbol; TN_MERGE_NO_RANK where there is none, or this symbol was merged away
    int32_t joined;      // what that merge makes
    uint32_t split;      // the last merge joined this symbol with the one at `split`; 0: still a character
    int32_t left_id;     // of a symbol that was merged away: what stood to its left then,
    uint32_t left_split; // and how that had been joined
};

// Floats as integers that order backwards: the highest score has the lowest rank. A number never gives TN_MERGE_NO_RANK.
static uint32_t rank_of(float score)
{
    float sum = score + 0.0f; // -0 is 0
    uint32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}

static void add_joins(tn_spm *spm, tn_str piece)
{
    for (size_t i = 1; i < piece.len; i++) {
        uint8_t a = (uint8_t)piece.data[i - 1], b = (uint8_t)piece.data[i];
        spm->joins[a][b / 32] |= 1u << b % 32;
    }
}

static inline bool joins(const tn_spm *spm, uint8_t a, uint8_t b) { return spm->joins[a][b / 32] >> b % 32 & 1; }

tn_status tn_spm_init(tn_spm *spm, const tn_spm_params *params)
{
    tn_status status;
    memset(spm, 0, sizeof *spm);
    TN_TRY_GOTO(tn_piece_table_init(&spm->table, params->pieces, params->mergeable, params->n_tokens));
    TN_TRY_GOTO(tn_alloc((size_t)params->n_tokens, sizeof *spm->ranks, &spm->ranks));
    spm->unused = params->unused;
    spm->unknown = params->unknown;
    spm->add_prefix = params->add_prefix;
    spm->trim = params->trim;
    memcpy(spm->bytes, params->bytes, sizeof spm->bytes);
    for (int b = 0; b < 256; b++) spm->characters[b] = -1;
    for (int32_t id = 0; id < params->n_tokens; id++) {
        tn_str piece = params->pieces[id];
        spm->ranks[id] = rank_of(params->scores[id]);
        if (!params->mergeable[id]) continue;
        add_joins(spm, piece);
        if (piece.len > spm->len_max) spm->len_max = piece.len;
        if (piece.len == 1) spm->characters[(uint8_t)piece.data[0]] = id;
    }
    return TN_OK;
fail:
    tn_spm_deinit(spm);
    return status;
}

void tn_spm_deinit(tn_spm *spm)
{
    tn_piece_table_deinit(&spm->table);
    tn_free(spm->ranks);
    memset(spm, 0, sizeof *spm);
}

// Copies text without spaces at its begin and with one for several. Returns the bytes written.
static size_t copy_trimmed(const uint8_t *text, size_t len, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != ' ' || (n > 0 && out[n - 1] != ' ')) out[n++] = text[i];
    }
    return n;
}

// Makes spaces of U+2581, in place. Returns the bytes that are left.
static size_t replace_marks(uint8_t *text, size_t len)
{
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        const uint8_t *mark = memchr(text + at, 0xE2, len - at);
        size_t plain = mark ? (size_t)(mark - (text + at)) : len - at;
        if (n != at) memmove(text + n, text + at, plain);
        at += plain;
        n += plain;
        if (!mark) break;
        bool is_space = len - at >= 3 && text[at + 1] == 0x96 && text[at + 2] == 0x81;
        text[n++] = is_space ? ' ' : 0xE2;
        at += is_space ? 3 : 1;
    }
    return n;
}

// As SentencePiece has it, U+2581 counts as a space at the end of a trimmed text, but not at its begin or within.
size_t tn_spm_normalize(const tn_spm *spm, const uint8_t *text, size_t len, uint8_t *out)
{
    uint8_t *begin = out + spm->add_prefix;
    size_t n = len;
    if (spm->trim)
        n = copy_trimmed(text, len, begin);
    else
        memcpy(begin, text, len);
    n = replace_marks(begin, n);
    while (spm->trim && n > 0 && begin[n - 1] == ' ') n--;
    if (n == 0 || !spm->add_prefix) return n;
    out[0] = ' ';
    return n + 1;
}

// A word ends only before a byte that begins a symbol: one that is not of a character's second to fourth.
size_t tn_spm_word_len(const tn_spm *spm, const uint8_t *text, size_t len)
{
    size_t at = 1;
    while (at < len && ((text[at] & 0xC0) == 0x80 || joins(spm, text[at - 1], text[at]))) at++;
    return at;
}

static int32_t find_piece(const tn_spm *spm, const uint8_t *bytes, size_t len)
{
    if (len == 1) return spm->characters[bytes[0]];
    return len > spm->len_max ? -1 : tn_piece_find(&spm->table, bytes, len, tn_piece_hash(bytes, len));
}

// Looks up the merge of symbol `at` with the next one.
static void rank_symbol(const tn_spm *spm, struct tn_spm_symbol *symbols, const uint8_t *word, uint32_t at, uint32_t len)
{
    struct tn_spm_symbol *symbol = &symbols[at];
    symbol->rank = TN_MERGE_NO_RANK;
    if (symbol->next == len || !joins(spm, word[symbol->next - 1], word[symbol->next])) return;
    int32_t joined = find_piece(spm, word + at, symbols[symbol->next].next - at);
    if (joined < 0) return;
    symbol->rank = spm->ranks[joined];
    symbol->joined = joined;
}

static void rank_and_push(const tn_spm *spm, tn_spm_scratch *s, const uint8_t *word, uint32_t at, uint32_t len)
{
    rank_symbol(spm, s->symbols, word, at, len);
    if (s->symbols[at].rank != TN_MERGE_NO_RANK) tn_merge_heap_push(&s->heap, s->symbols[at].rank, at);
}

static void start_word(const tn_spm *spm, tn_spm_scratch *s, const uint8_t *word, uint32_t len)
{
    struct tn_spm_symbol *symbols = s->symbols;
    uint32_t prev = 0;
    for (uint32_t at = 0; at < len; at = symbols[at].next) {
        uint32_t code_point;
        uint32_t bytes = (uint32_t)tn_utf8_decode(word + at, len - at, &code_point);
        symbols[at] = (struct tn_spm_symbol){find_piece(spm, word + at, bytes), prev, at + bytes, TN_MERGE_NO_RANK, -1, 0, -1, 0};
        prev = at;
    }
    for (uint32_t at = 0; at < len; at = symbols[at].next) {
        rank_symbol(spm, symbols, word, at, len);
        if (symbols[at].rank != TN_MERGE_NO_RANK) tn_merge_heap_add(&s->heap, symbols[at].rank, at);
    }
    tn_merge_heap_order(&s->heap);
}

// Joins symbol `at` with its right neighbour.
static void merge_symbol(const tn_spm *spm, tn_spm_scratch *s, const uint8_t *word, uint32_t at, uint32_t len)
{
    struct tn_spm_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];
    right->left_id = left->id;
    right->left_split = left->split;
    right->rank = TN_MERGE_NO_RANK;
    left->split = left->next;
    left->id = left->joined;
    left->next = right->next;
    if (left->next < len) s->symbols[left->next].prev = at;
    rank_and_push(spm, s, word, at, len);
    if (at > 0) rank_and_push(spm, s, word, left->prev, len);
}

// Undoes merges until the symbol at `at` is a piece that may come out, or a character.
static void take_apart(const tn_spm *spm, struct tn_spm_symbol *symbols, uint32_t at)
{
    struct tn_spm_symbol *left = &symbols[at];
    while (left->split != 0 && spm->unused[left->id]) {
        struct tn_spm_symbol *right = &symbols[left->split];
        right->next = left->next;
        left->next = left->split;
        left->id = right->left_id;
        left->split = right->left_split;
    }
}

static tn_status append_symbol(const tn_spm *spm, int32_t id, const uint8_t *bytes, size_t len, tn_id_list *out)
{
    int32_t ids[4]; // a character's bytes
    if (id >= 0 && !spm->unused[id]) return tn_id_list_append(out, &id, 1);
    bool complete = true;
    for (size_t i = 0; i < len; i++) {
        ids[i] = spm->bytes[bytes[i]];
        complete = complete && ids[i] >= 0;
    }
    if (complete) return tn_id_list_append(out, ids, len);
    return spm->unknown >= 0 ? tn_id_list_append(out, &spm->unknown, 1) : TN_OK;
}

tn_status tn_spm_encode_word(const tn_spm *spm, tn_spm_scratch *scratch, const uint8_t *word, size_t len, tn_id_list *out)
{
    if (len > INT32_MAX) return tn_fail(TN_INVALID_ARGUMENT, "a word of %zu bytes is too long to be encoded: cut the text", len);
    TN_TRY(tn_grow(&scratch->symbols, &scratch->capacity, len, sizeof *scratch->symbols));
    TN_TRY(tn_merge_heap_start(&scratch->heap, len));
    struct tn_spm_symbol *symbols = scratch->symbols;
    uint32_t n = (uint32_t)len, rank, left;
    start_word(spm, scratch, word, n);
    while (tn_merge_heap_pop(&scratch->heap, &rank, &left)) {
        if (symbols[left].rank == rank) merge_symbol(spm, scratch, word, left, n);
    }
    for (uint32_t at = 0; at < n; at = symbols[at].next) {
        take_apart(spm, symbols, at);
        TN_TRY(append_symbol(spm, symbols[at].id, word + at, symbols[at].next - at, out));
    }
    return TN_OK;
}

void tn_spm_scratch_deinit(tn_spm_scratch *scratch)
{
    tn_free(scratch->symbols);
    tn_merge_heap_deinit(&scratch->heap);
    memset(scratch, 0, sizeof *scratch);
}
