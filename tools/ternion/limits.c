// Measuring limits, looking them up, writing them down.
#include "limits.h"

#include "engine.h"
#include "interrupt.h"
#include "report.h"
#include "roofline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {[TN_LIMIT_MEMORY_READ] = "memory_read", [TN_LIMIT_INT8_DOT] = "int8_dot"};

static bool keep(void *user, const tn_device_limit *limit)
{
    tn_cli_limits *limits = user;
    if (limits->n == limits->capacity) {
        const size_t capacity = limits->capacity ? 2 * limits->capacity : 16;
        tn_device_limit *list = realloc(limits->list, capacity * sizeof *list);
        if (!list) return false;
        limits->list = list;
        limits->capacity = capacity;
    }
    limits->list[limits->n++] = *limit;
    return !tn_cli_interrupted();
}

// All numbers of threads that the library chooses, then those of the tests that it left out.
static tn_status measure(tn_host *host, const tn_cli_value *threads, tn_cli_limits *limits)
{
    tn_device_limits_params params = TN_DEVICE_LIMITS_PARAMS_INIT;
    tn_device_info info;
    uint32_t device;
    params.told = keep;
    params.user = limits;
    tn_status status = tn_host_find_device(host, limits->device, &device);
    if (status == TN_OK) status = tn_host_device_limits(host, device, &params);
    if (status == TN_OK) status = tn_host_device_info(host, device, &info);
    if (status == TN_OK) limits->n_threads = info.n_threads;
    for (size_t i = 0; i < threads->n && status == TN_OK; i++) {
        const uint32_t n = (uint32_t)threads->numbers[i];
        if (n == 0 || n > limits->n_threads || tn_cli_limits_best(limits, TN_LIMIT_MEMORY_READ, n) > 0) continue;
        params.n_threads = n;
        status = tn_host_device_limits(host, device, &params);
    }
    return status;
}

int tn_cli_limits_measure(tn_cli *cli, uint32_t n_threads, const tn_cli_value *threads, const char *device, tn_cli_limits *limits)
{
    tn_cli_engine engine = {0};
    int rc = tn_cli_engine_open_host(cli, &engine, n_threads);
    if (rc) return rc;
    snprintf(limits->device, sizeof limits->device, "%s", device);
    const tn_status status = measure(engine.host, threads, limits);
    tn_cli_progress_end(&cli->progress);
    if (status != TN_OK)
        rc = status == TN_CANCELLED && !tn_cli_interrupted() ? tn_cli_out_of_memory() : tn_cli_fail_status("ternion bench --no-limits");
    tn_cli_engine_stop(&engine);
    limits->measured = rc == 0;
    return rc;
}

void tn_cli_limits_deinit(tn_cli_limits *limits) { free(limits->list); }

double tn_cli_limits_best(const tn_cli_limits *limits, tn_limit_kind kind, uint32_t n_threads)
{
    return tn_cli_best_limit(limits->list, limits->n, kind, n_threads < limits->n_threads ? n_threads : limits->n_threads);
}

bool tn_cli_limits_have(const tn_cli_limits *limits, tn_limit_kind kind)
{
    for (size_t i = 0; i < limits->n; i++) {
        if (limits->list[i].kind == kind) return true;
    }
    return false;
}

json_t *tn_cli_limits_json(const tn_cli_limits *limits)
{
    json_t *list = json_array();
    for (size_t i = 0; i < limits->n; i++) {
        const tn_device_limit *l = &limits->list[i];
        json_t *o = json_object();
        json_object_set_new(o, "limit", json_string(kind_names[l->kind]));
        json_object_set_new(o, "level", json_string(l->name));
        json_object_set_new(o, "n_threads", json_integer(l->n_threads));
        json_object_set_new(o, "best", json_real(l->best));
        json_object_set_new(o, "median", json_real(l->median));
        json_object_set_new(o, "theoretical", l->theoretical > 0 ? json_real(l->theoretical) : json_null());
        json_array_append_new(list, o);
    }
    return list;
}

static bool same_line(const tn_device_limit *a, const tn_device_limit *b) { return a->kind == b->kind && strcmp(a->name, b->name) == 0; }

// One kind and level: its figures by threads, and what they should be.
static void print_line(const tn_cli_limits *limits, size_t first, FILE *out)
{
    const tn_device_limit *head = &limits->list[first];
    const bool memory = head->kind == TN_LIMIT_MEMORY_READ;
    const char *unit = memory ? "GB/s" : "Gop/s", *separator = "";
    const double *theory = NULL;
    fprintf(out, "%-11s %-10s ", memory ? "memory read" : "int8 dot", head->name);
    for (size_t i = first; i < limits->n; i++) {
        const tn_device_limit *l = &limits->list[i];
        if (!same_line(l, head)) continue;
        fprintf(out, "%s", separator);
        if (l->n_threads) fprintf(out, "%u thread%s ", l->n_threads, l->n_threads == 1 ? "" : "s");
        fprintf(out, "%.1f (median %.1f)", l->best * 1e-9, l->median * 1e-9);
        separator = ", ";
        theory = &l->theoretical;
    }
    if (*theory > 0) {
        fprintf(out, " %s; by data sheet %.1f%s\n", unit, *theory * 1e-9, memory || !head->n_threads ? "" : " with all");
    } else {
        fprintf(out, " %s; by data sheet unknown\n", unit);
    }
}

void tn_cli_limits_print(const tn_cli_limits *limits, FILE *out)
{
    for (size_t i = 0; i < limits->n; i++) {
        size_t earlier = 0;
        while (earlier < i && !same_line(&limits->list[earlier], &limits->list[i])) earlier++;
        if (earlier == i) print_line(limits, i, out);
    }
}
