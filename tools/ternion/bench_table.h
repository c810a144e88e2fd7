// The table of ternion bench, on every output that is one.
#ifndef TERNION_TOOL_BENCH_TABLE_H
#define TERNION_TOOL_BENCH_TABLE_H

#include "bench_report.h"

void tn_cli_bench_table_begin(const tn_cli_bench_report *report);
// The other two return false without memory.
bool tn_cli_bench_table_add(tn_cli_bench_report *report, const tn_cli_bench_result *result, const tn_cli_bench_measured *measured);
bool tn_cli_bench_table_end(const tn_cli_bench_report *report);

#endif
