// A step as data: one block of 32-bit words that holds all that changes from submit to submit, so that a device takes it in one copy. There
// is no pointer in it; where each array lies follows from the bounds that a program is compiled for.
#ifndef TN_BACKEND_STEP_H
#define TN_BACKEND_STEP_H

#include "base/status.h"

#include <stdbool.h>

// Bounds of every step, fixed when programs are compiled.
typedef struct tn_step_limits {
    uint32_t n_tokens, n_logits, n_seqs;
    uint32_t n_seq_pages; // pages of a sequence
    uint32_t n_kv_pages;  // of the KV buffer
} tn_step_limits;

// How a block begins. The arrays follow, at the words that the layout names.
typedef struct tn_step {
    uint32_t n_tokens, n_logits, n_seqs;
    uint32_t n_copies;  // at most limits.n_seqs
    uint32_t has_top;   // 0: all rows of logits are wanted whole, and n_top is not read
    uint32_t n_top_ids; // at most the rows of the head; of no meaning without n_top
} tn_step;

// Arrays begin at multiples of this many words: a cache line.
#define TN_STEP_ALIGN_WORDS 16u

// First word of each array in the block, in this order; an array has room for its limit, and a step uses the front of each.
typedef struct tn_step_layout {
    uint32_t copies;      // [n_copies][2]
    uint32_t logit_rows;  // [n_logits]
    uint32_t n_top;       // [n_logits]
    uint32_t tokens;      // [n_tokens]
    uint32_t positions;   // [n_tokens]
    uint32_t seqs;        // [n_tokens]
    uint32_t page_table;  // [n_seqs][n_seq_pages], last: the rows of a step with few sequences end the part of the block that it uses
    uint32_t n_seq_pages; // words of a row of the page table
    uint32_t n_words;     // of the whole block
} tn_step_layout;

// The same limits give the same layout everywhere. Blocks are less than 4 GiB, so that offsets in bytes have 32 bits too.
// Errors: INVALID_ARGUMENT (it would be larger).
tn_status tn_step_layout_of(const tn_step_limits *limits, tn_step_layout *out_layout);

// A step as its readers want it: where its arrays are, found once. Borrows the block.
typedef struct tn_step_view {
    uint32_t n_tokens, n_logits, n_seqs, n_copies, n_top_ids;
    // Pages of the KV buffer (from, to) that are copied, in all layers of the program, before anything else in the step. No page is the
    // `to` of two copies, or `from` and `to`. The page table may name either.
    const uint32_t *copies;
    const uint32_t *logit_rows; // ascending indexes of tokens
    // How many of the best logits of a row are wanted, best as the ranking has it (logit descending, id ascending), among ids below
    // n_top_ids. A device may then store -INFINITY, which no logit is, for ids that are not among them; whatever else it stores is exact.
    const uint32_t *n_top;     // 0: the whole row; NULL: all rows whole
    const int32_t *tokens;     // in the vocabulary
    const uint32_t *positions; // below n_seq_pages * 128 and the RoPE table's rows
    // Row of page_table. The positions of a sequence's tokens ascend without gaps, so that what lies further back than the step has tokens
    // is of earlier steps; no other sequence's tokens see what they store.
    const uint32_t *seqs;
    // Page of the KV buffer for positions [128 i, 128 i + 128). Beyond the last token's page a row is not read.
    const uint32_t *page_table;
} tn_step_view;

static inline const uint32_t *tn_step_words(const tn_step *step, uint32_t at) { return (const uint32_t *)(const void *)step + at; }

static inline tn_step_view tn_step_view_of(const tn_step *step, const tn_step_layout *layout)
{
    tn_step_view view;
    view.n_tokens = step->n_tokens;
    view.n_logits = step->n_logits;
    view.n_seqs = step->n_seqs;
    view.n_copies = step->n_copies;
    view.n_top_ids = step->n_top_ids;
    view.copies = tn_step_words(step, layout->copies);
    view.logit_rows = tn_step_words(step, layout->logit_rows);
    view.n_top = step->has_top ? tn_step_words(step, layout->n_top) : NULL;
    view.tokens = (const int32_t *)tn_step_words(step, layout->tokens);
    view.positions = tn_step_words(step, layout->positions);
    view.seqs = tn_step_words(step, layout->seqs);
    view.page_table = tn_step_words(step, layout->page_table);
    return view;
}

// The arrays for whoever fills the block.
static inline uint32_t *tn_step_copies(tn_step *step, const tn_step_layout *layout) { return (uint32_t *)(void *)step + layout->copies; }
static inline uint32_t *tn_step_logit_rows(tn_step *step, const tn_step_layout *layout)
{
    return (uint32_t *)(void *)step + layout->logit_rows;
}
static inline uint32_t *tn_step_n_top(tn_step *step, const tn_step_layout *layout) { return (uint32_t *)(void *)step + layout->n_top; }
static inline int32_t *tn_step_tokens(tn_step *step, const tn_step_layout *layout) { return (int32_t *)(void *)step + layout->tokens; }
static inline uint32_t *tn_step_positions(tn_step *step, const tn_step_layout *layout)
{
    return (uint32_t *)(void *)step + layout->positions;
}
static inline uint32_t *tn_step_seqs(tn_step *step, const tn_step_layout *layout) { return (uint32_t *)(void *)step + layout->seqs; }
// Row of a sequence.
static inline uint32_t *tn_step_pages(tn_step *step, const tn_step_layout *layout, uint32_t seq)
{
    return (uint32_t *)(void *)step + layout->page_table + (size_t)seq * layout->n_seq_pages;
}
// Words from the block's start that the step uses: what a device must take of it.
static inline uint32_t tn_step_n_words(const tn_step *step, const tn_step_layout *layout)
{
    return layout->page_table + step->n_seqs * layout->n_seq_pages;
}

#endif
