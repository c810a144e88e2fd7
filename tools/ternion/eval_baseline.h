// Files of a model's logits over a text, against which other models are compared (docs/EVAL.md defines them).
#ifndef TERNION_TOOL_EVAL_BASELINE_H
#define TERNION_TOOL_EVAL_BASELINE_H

#include "cli.h"
#include "output.h"

// What a file says of itself.
typedef struct tn_cli_baseline_info {
    uint32_t n_vocab, context, stride, n_windows, n_rows; // n_rows: of a window
    bool puts_bos;
    uint64_t n_tokens, tokens_hash; // of the text
    uint64_t model_hash, model_bytes, n_params;
    char model_name[64], model_type[32], version[32];
} tn_cli_baseline_info;

// Zero-initialise.
typedef struct tn_cli_baseline_writer {
    tn_cli_output output;
    uint32_t n_vocab;
    uint64_t n_rows;
} tn_cli_baseline_writer;

// Says how large the file will be, refuses where its disk has no room, and begins it under a temporary name. Each returns 0 or the exit
// status after a message.
int tn_cli_baseline_create(tn_cli_baseline_writer *writer, const char *path, const tn_cli_baseline_info *info);
int tn_cli_baseline_add(tn_cli_baseline_writer *writer, const float *row);
int tn_cli_baseline_commit(tn_cli_baseline_writer *writer);
void tn_cli_baseline_discard(tn_cli_baseline_writer *writer);

// Zero-initialise.
typedef struct tn_cli_baseline_reader {
    FILE *file;
    const char *path; // borrowed
    tn_cli_baseline_info info;
    float *row; // [n_vocab] and its hash: the one that was read last
    uint64_t n_read;
} tn_cli_baseline_reader;

// Reads what the file says of itself and checks its length. Each returns 0 or the exit status after a message.
int tn_cli_baseline_open(tn_cli_baseline_reader *reader, const char *path);
// Refuses a file that is not of this text, cut in this way: `wanted`, whose n_windows may be fewer and whose model does not matter.
int tn_cli_baseline_match(const tn_cli_baseline_reader *reader, const tn_cli_baseline_info *wanted);
// The next row, valid until the next call.
int tn_cli_baseline_next(tn_cli_baseline_reader *reader, const float **out_row);
void tn_cli_baseline_close(tn_cli_baseline_reader *reader);

#endif
