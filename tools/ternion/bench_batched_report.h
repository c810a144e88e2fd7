// Results of batched tests: the table and the fields of llama-batched-bench, in every form of ternion bench.
#ifndef TERNION_TOOL_BENCH_BATCHED_REPORT_H
#define TERNION_TOOL_BENCH_BATCHED_REPORT_H

#include "bench_job.h"

// Each returns 0 or the exit status after a message.

// Before the tests of a session: its parameters, and the head of a table.
int tn_cli_bench_batched_report_begin(tn_cli_bench_job *job);
// The medians of the test's runs.
int tn_cli_bench_batched_report_add(tn_cli_bench_job *job, const tn_cli_bench_batched_test *test);
// After all tests; not `complete`: only what was opened is closed.
int tn_cli_bench_batched_report_end(tn_cli_bench_job *job, bool complete);

#endif
