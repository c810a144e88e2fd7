// What other programs wrote, for a comparison: rows of llama-bench, and logits. Nothing of it was measured here, so their subjects are
// marked "external".
#ifndef TERNION_TOOL_COMPARE_EXTERNAL_H
#define TERNION_TOOL_COMPARE_EXTERNAL_H

#include "json_out.h"

#include <stddef.h>
#include <stdint.h>

typedef enum tn_cli_external_kind {
    TN_EXTERNAL_BENCH,  // FILE.jsonl
    TN_EXTERNAL_LOGITS, // FILE.f32
    TN_EXTERNAL_UNKNOWN,
} tn_cli_external_kind;
// By the end of its name.
tn_cli_external_kind tn_cli_external_kind_of(const char *path);

// Reads the rows that llama-bench -o jsonl (or ternion bench) wrote and appends a subject for each setting in them (build, model, devices,
// threads, batch sizes ...), with a speed for each row. Subjects are named after the file and, of several, by the settings in which they
// differ. A wrong line, or one that two rows make different things of, is an error that names it. Returns 0 or the exit status after a
// message; then nothing was appended.
int tn_cli_external_bench_read(const char *path, json_t *subjects);

// Logits that another program computed for the same tokens: little-endian f32 [n_rows][n_vocab] and nothing else. One thread at a time.
typedef struct tn_cli_external_logits tn_cli_external_logits;
// The file must be made of whole rows, at least one. Returns 0 or the exit status after a message.
int tn_cli_external_logits_open(const char *path, uint32_t n_vocab, tn_cli_external_logits **out_logits);
void tn_cli_external_logits_close(tn_cli_external_logits *logits);           // NULL: nothing happens
uint64_t tn_cli_external_logits_count(const tn_cli_external_logits *logits); // rows
// Reads row `i` (< count): [n_vocab], borrowed until the next call. A value that is not a finite number is an error that names its place.
int tn_cli_external_logits_row(tn_cli_external_logits *logits, uint64_t i, const float **out_row);
// Its subject, to which the caller adds the accuracy; NULL without memory.
json_t *tn_cli_external_logits_subject(const tn_cli_external_logits *logits);

#endif
