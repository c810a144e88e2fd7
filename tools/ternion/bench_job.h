// A run of ternion bench: what its parts share.
#ifndef TERNION_TOOL_BENCH_JOB_H
#define TERNION_TOOL_BENCH_JOB_H

#include "bench_feed.h"
#include "bench_report.h"

// Lengths of one test, without its execution parameters.
typedef struct tn_cli_bench_shape {
    uint32_t n_prompt, n_gen;
} tn_cli_bench_shape;

typedef struct tn_cli_bench_job {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_bench_outputs outputs;
    tn_cli_bench_report report;
    tn_cli_bench_shape *shapes;
    size_t n_shapes, n_tests, n_done;
    bool begun;             // the report is, which then wants its end
    tn_cli_limits limits;   // of the machine
    tn_cli_profile profile; // of the test that runs
    tn_cli_bench_feed feed;
    uint32_t n_positions_max, n_pl_max; // of all tests
    tn_cli_bench_result result;         // of the test that runs
} tn_cli_bench_job;

static inline const tn_cli_value *tn_cli_bench_list(const tn_cli_bench_job *job, tn_cli_option_id id)
{
    return &job->cli->options.values[id];
}

// Rests before a test for as long as --delay says, and notes when it began.
void tn_cli_bench_begin_test(tn_cli_bench_job *job);
// Says which test runs, with --progress.
void tn_cli_bench_say(const tn_cli_bench_job *job, const char *what, size_t number);

// What the placement uses: CPU and GPU names, backends in capitals as llama-bench writes them, and the thread count in use. Returns 0
// or the exit status after a message.
int tn_cli_bench_describe_devices(tn_cli_bench_job *job);

#endif
