// Results of ternion bench in llama-bench's forms: md, csv, json, jsonl, sql.
#ifndef TERNION_TOOL_BENCH_REPORT_H
#define TERNION_TOOL_BENCH_REPORT_H

#include "bench_output.h"
#include "engine.h"
#include "limits.h"
#include "profile.h"
#include "roofline.h"

typedef struct tn_cli_bench_result {
    tn_cli_bench_test test;
    char cpu_info[128], gpu_info[128], backends[64], devices[256], isa[64];
    int64_t n_gpu_layers; // -1: auto, -2: all
    tn_session_costs costs;
    tn_two_stage_info two_stage; // of this test alone, its warm-up too
    json_t *kernels;             // names of those in use; owned by the caller
    tn_cli_profile *profile;     // of all samples; NULL: none is kept
    char test_time[32];          // when it began, UTC
    uint64_t *samples_ns;
    size_t n_samples;
    bool limited; // the device whose limits were measured has it alone
} tn_cli_bench_result;

// Which columns the table shows beside those that are always there.
typedef struct tn_cli_bench_columns {
    bool batch, ubatch, gpu_layers, devices, two_stage, numerics;
    bool reads, memory_limit, int8_limit, roofline; // bytes a second; shares of the device's limits
} tn_cli_bench_columns;

typedef struct tn_cli_bench_statistics {
    double mean, deviation;
} tn_cli_bench_statistics;

// Mean and deviation of the times and of the rates, the median of the times, and the rates themselves, which the caller frees.
typedef struct tn_cli_bench_measured {
    tn_cli_bench_statistics ns, ts;
    double median_ns;
    double *rates;
    tn_cli_work work;
    double memory_limit, int8_limit; // 0: unknown
    tn_cli_shares shares;            // at the median
} tn_cli_bench_measured;

// Zero-initialise, then set the first five.
typedef struct tn_cli_bench_report {
    tn_cli_bench_outputs *outputs;
    const tn_cli_engine *engine;
    const tn_cli_limits *limits;
    const tn_cli_options *options;
    tn_cli_bench_columns columns;
    bool layers;         // profiles with a line for each layer
    FILE *profiles;      // their text, which follows the table; owned
    char *profiles_text; // what it writes to; owned
    size_t profiles_size;
} tn_cli_bench_report;

// Each returns 0 or the exit status after a message.
int tn_cli_bench_report_begin(tn_cli_bench_report *report);
int tn_cli_bench_report_add(tn_cli_bench_report *report, const tn_cli_bench_result *result);
// `complete`: all tests were run; otherwise only what was opened is closed.
int tn_cli_bench_report_end(tn_cli_bench_report *report, bool complete);
void tn_cli_bench_report_deinit(tn_cli_bench_report *report);

// "bitnet-b1.58 2.41 B I2_S".
void tn_cli_bench_model_type(const tn_cli_engine *engine, char *text, size_t capacity);
// Appends the fields that results of every kind begin with: build, machine, model.
void tn_cli_bench_put_build(json_t *fields, const tn_cli_engine *engine, const tn_cli_bench_result *result);
// Sorts the values.
double tn_cli_bench_median(double *values, size_t n);
// The flags of the run as an object of their names and values; true for those without a value.
json_t *tn_cli_bench_given_options(const tn_cli_options *options);

#endif
