// Where the logits of a subject differ from those of the reference: in exact mode that is an error, and its place is searched for.
#ifndef TERNION_TOOL_COMPARE_DIFFERENCE_H
#define TERNION_TOOL_COMPARE_DIFFERENCE_H

#include "compare.h"

// Tokens in which a row of logits differs.
typedef struct tn_cli_compare_place {
    const int32_t *tokens; // [n_tokens] from the beginning of a sequence
    uint32_t n_tokens;
    uint64_t first_token; // index of tokens[0] in the text
    uint32_t n_feed;      // tokens a call
    uint32_t position;    // of the row
    const char *found_in; // what is said where the search finds nothing; NULL: that it found nothing
} tn_cli_compare_place;

// Names the first op whose bits differ: the row's status, reason and `first_difference`.
int tn_cli_compare_find_difference(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject,
                                   const tn_cli_compare_place *place, json_t *accuracy);

// A row of logits of a reply.
typedef struct tn_cli_compare_reply_row {
    bool differs, alone; // alone: the first prompt's, decoded without the others
    uint32_t prompt, token;
} tn_cli_compare_reply_row;

// Puts `greedy`, and into `identical` that rows differ. Returns the first row that does.
tn_cli_compare_reply_row tn_cli_compare_put_replies(const tn_cli_compare *job, const tn_cli_compare_replies *replies, json_t *accuracy);
// As tn_cli_compare_find_difference, where the row is that of a reply.
int tn_cli_compare_find_in_reply(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject,
                                 const tn_cli_compare_reply_row *row, json_t *accuracy);

#endif
