// Where ternion bench writes its results: -o to standard output, and -oe to standard error beside it.
#ifndef TERNION_TOOL_BENCH_OUTPUT_H
#define TERNION_TOOL_BENCH_OUTPUT_H

#include "json_out.h"
#include "options.h"

#include <stdio.h>
#include <string.h>

typedef struct tn_cli_bench_output {
    const char *format; // "md", "csv", "json", "jsonl", "sql"
    FILE *file;         // standard output or standard error
    size_t n_rows;      // so far; not of md
} tn_cli_bench_output;

// Zero-initialise.
typedef struct tn_cli_bench_outputs {
    tn_cli_bench_output list[2];
    size_t n;
    const char *table; // that the statements of sql fill
} tn_cli_bench_outputs;

// Each of those that return int returns 0 or the exit status after a message.

// What -o and -oe say.
int tn_cli_bench_outputs_choose(tn_cli_bench_outputs *outputs, const tn_cli_options *options);
// Whether one of them has this format.
bool tn_cli_bench_outputs_have(const tn_cli_bench_outputs *outputs, const char *format);

static inline bool tn_cli_bench_output_is(const tn_cli_bench_output *output, const char *format)
{
    return strcmp(output->format, format) == 0;
}

// Those of md are left alone: tables have columns of their own.
int tn_cli_bench_outputs_begin(tn_cli_bench_outputs *outputs);
// A result: an object whose first `n_flat` fields are numbers, texts and nulls; csv and sql take these only. A field that may be null
// is a real number otherwise.
int tn_cli_bench_outputs_add(tn_cli_bench_outputs *outputs, json_t *fields, size_t n_flat);
// Closes what was opened.
int tn_cli_bench_outputs_end(tn_cli_bench_outputs *outputs);
// Sends everything off, md too.
int tn_cli_bench_outputs_flush(tn_cli_bench_outputs *outputs);

#endif
