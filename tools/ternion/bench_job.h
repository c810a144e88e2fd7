// A run of ternion bench: what its parts share.
#ifndef TERNION_TOOL_BENCH_JOB_H
#define TERNION_TOOL_BENCH_JOB_H

#include "bench_feed.h"
#include "bench_report.h"

// Lengths of one test, without its execution parameters.
typedef struct tn_cli_bench_shape {
    uint32_t n_prompt, n_gen;
} tn_cli_bench_shape;

// One row of llama-batched-bench's table.
typedef struct tn_cli_bench_batched_test {
    uint32_t n_prompt, n_gen, n_depth, n_pl;
} tn_cli_bench_batched_test;

// Zero-initialise.
typedef struct tn_cli_bench_batched {
    bool shared;    // the prompt is computed in sequence 0, and its pages are those of the others
    bool has_depth; // -d is given
    tn_cli_bench_batched_test *tests;
    size_t n_tests;
    uint64_t n_kv_max, n_kv_needed; // positions that tests may have in all sequences; that the largest has
    size_t n_runs;
    uint32_t n_copies;              // of the model, which share the sequences of each test
    tn_cli_bench_feed *more_feeds;  // [n_copies - 1] of copies beside the first
    uint64_t *prompt_ns, *reply_ns; // [n_runs], of the test in hand
} tn_cli_bench_batched;

typedef struct tn_cli_bench_job {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_cli_bench_outputs outputs;
    tn_cli_bench_report report; // not of batched tests
    tn_cli_bench_shape *shapes; // the same
    size_t n_shapes;            // the same
    bool is_batched;
    tn_cli_bench_batched batched; // is_batched: what runs in place of them
    size_t n_tests, n_done;
    bool begun;             // the report is, which then wants its end
    tn_cli_limits limits;   // of the device
    tn_cli_profile profile; // of the test that runs
    tn_cli_bench_feed feed;
    uint32_t n_positions_max, n_pl_max; // of all tests, in one session
    uint64_t kv_bytes;                  // that they need; 0: n_pl_max sequences of n_positions_max
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

// Whether the flags ask for batched tests.
bool tn_cli_bench_batched_asked(const tn_cli_options *options);

// Each of the following returns 0 or the exit status after a message.

// What the placement uses: CPU and GPU names, backends in capitals as llama-bench writes them, and the thread count in use.
int tn_cli_bench_describe_devices(tn_cli_bench_job *job);
// The name of the device that runs the whole model, or "" where several do: limits are of one device.
int tn_cli_bench_only_device(const tn_cli_bench_job *job, char *out_name, size_t capacity);

// Refuses what they do not go together with, and what belongs to them where they are not asked for; before a model is opened.
int tn_cli_bench_batched_check(const tn_cli_bench_job *job);
// The tests, and what they need, once the model is open.
int tn_cli_bench_batched_plan(tn_cli_bench_job *job);
// Runs all tests in the sessions that are open, with what is printed before and after them.
int tn_cli_bench_batched_run(tn_cli_bench_job *job);
void tn_cli_bench_batched_deinit(tn_cli_bench_batched *batched);

// A part of a test: what one copy of the model does with its sequences.
typedef int tn_cli_bench_part(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_feed *feed, uint32_t n_seqs);
// Has all copies do it with their shares of the test's sequences, at the same time. Returns when all have.
int tn_cli_bench_copies_run(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test, tn_cli_bench_part *part);

#endif
