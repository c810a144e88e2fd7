// A device's limits, measured before the tests of a run.
#ifndef TERNION_TOOL_LIMITS_H
#define TERNION_TOOL_LIMITS_H

#include "cli.h"
#include "json_out.h"

#include <stdio.h>

// Zero-initialise.
typedef struct tn_cli_limits {
    tn_device_limit *list; // owned
    size_t n, capacity;
    char device[32];    // whose they are
    uint32_t n_threads; // that it has
    bool measured;
} tn_cli_limits;

// Measures the device of that name on a host of its own; a CPU with `n_threads` threads, on one of them, two and so on, and on the numbers
// of `threads`. Returns 0 or the exit status after a message.
int tn_cli_limits_measure(tn_cli *cli, uint32_t n_threads, const tn_cli_value *threads, const char *device, tn_cli_limits *limits);
void tn_cli_limits_deinit(tn_cli_limits *limits);

// tn_cli_best_limit of these, where a test may have been given more threads than the device has.
double tn_cli_limits_best(const tn_cli_limits *limits, tn_limit_kind kind, uint32_t n_threads);
// Whether any figure is of that kind.
bool tn_cli_limits_have(const tn_cli_limits *limits, tn_limit_kind kind);

// [{"limit": "memory_read", "level", "n_threads", "best", "median", "theoretical"}]. NULL without memory.
json_t *tn_cli_limits_json(const tn_cli_limits *limits);
// Lines for people, a level each.
void tn_cli_limits_print(const tn_cli_limits *limits, FILE *out);

#endif
