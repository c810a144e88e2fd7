// Measured costs of devices, as a table and as JSON.
#include "devices_calibrate.h"

#include "json_out.h"
#include "report.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

// ---- table ----

static double tokens_per_s(const tn_device_calibration *c, const tn_calibration_figure *figure, uint32_t step)
{
    return figure->step_ns[step] > 0 ? c->step_tokens[step] * 1e9 / figure->step_ns[step] : 0;
}

// The largest error of the figure's sizes; false where none is known.
static bool largest_error(const tn_device_calibration *c, const tn_calibration_figure *figure, double *error)
{
    *error = -1;
    for (uint32_t k = 0; k < c->n_steps; k++) *error = figure->error[k] > *error ? figure->error[k] : *error;
    return *error >= 0;
}

static void print_figure(const tn_device_calibration *c, const tn_calibration_figure *figure)
{
    char count[24], error_text[16] = "-";
    double error;
    printf("         %-16s", figure->name);
    for (uint32_t k = 0; k < c->n_steps; k++) {
        const double rate = tokens_per_s(c, figure, k);
        if (rate > 0) tn_cli_format_count(rate, count, sizeof count);
        printf(" %9s", rate > 0 ? count : "-"); // it takes no time that could be measured
    }
    if (largest_error(c, figure, &error)) snprintf(error_text, sizeof error_text, "%.0f %%", 100 * error);
    printf(" %9s\n", error_text);
}

static void print_link(const char *name, double ns, double bytes_per_s)
{
    printf("%s %.1f us + %.1f GB/s", name, ns * 1e-3, bytes_per_s * 1e-9);
}

static void print_together(const tn_device_calibration *c)
{
    if (c->n_together < 2) return;
    printf("         beside the other CPU device%s the model takes", c->n_together > 2 ? "s" : "");
    for (uint32_t k = 0; k < c->n_steps; k++) printf("%s %.2f", k ? "," : "", c->together[k]);
    printf(" times as long\n");
}

static void print_calibration(const tn_device_info *info, const tn_device_calibration *c)
{
    printf("%-8s %s\n         tokens a second through parts of BitNet b1.58 2B4T, each token of a sequence of its own at position 512\n",
           info->name, info->description);
    printf("         %-16s", "tokens a step");
    for (uint32_t k = 0; k < c->n_steps; k++) printf(" %9u", c->step_tokens[k]);
    printf(" %9s\n", "error");
    for (uint32_t i = 0; i < c->n_figures; i++) print_figure(c, &c->figures[i]);
    printf("         ");
    if (c->memory_bytes_per_s > 0) printf("memory %.1f GB/s, ", c->memory_bytes_per_s * 1e-9);
    print_link("to the device", c->to_device_ns, c->to_device_bytes_per_s);
    print_link(", to the host", c->to_host_ns, c->to_host_bytes_per_s);
    putchar('\n');
    print_together(c);
}

// ---- JSON ----

static json_t *figure_json(const tn_device_calibration *c, const tn_calibration_figure *figure)
{
    json_t *ns = json_array(), *errors = json_array();
    for (uint32_t k = 0; k < c->n_steps; k++) {
        json_array_append_new(ns, tn_cli_json_real(figure->step_ns[k]));
        json_array_append_new(errors, figure->error[k] >= 0 ? tn_cli_json_real(figure->error[k]) : json_null());
    }
    return json_pack("{s:s, s:o, s:o}", "name", figure->name, "step_ns", ns, "error", errors);
}

static json_t *together_json(const tn_device_calibration *c)
{
    if (c->n_together < 2) return json_null();
    json_t *factors = json_array();
    for (uint32_t k = 0; k < c->n_steps; k++) json_array_append_new(factors, tn_cli_json_real(c->together[k]));
    return json_pack("{s:I, s:o}", "n_devices", (json_int_t)c->n_together, "factors", factors);
}

static json_t *link_json(double latency_ns, double bytes_per_s)
{
    return json_pack("{s:o, s:o}", "latency_ns", tn_cli_json_real(latency_ns), "bytes_per_s", tn_cli_json_real(bytes_per_s));
}

static json_t *calibration_json(const tn_device_info *info, const tn_device_calibration *c)
{
    json_t *figures = json_array(), *tokens = json_array();
    for (uint32_t k = 0; k < c->n_steps; k++) json_array_append_new(tokens, json_integer(c->step_tokens[k]));
    for (uint32_t i = 0; i < c->n_figures; i++) json_array_append_new(figures, figure_json(c, &c->figures[i]));
    json_t *to_device = link_json(c->to_device_ns, c->to_device_bytes_per_s);
    json_t *to_host = link_json(c->to_host_ns, c->to_host_bytes_per_s);
    return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "name", info->name, "measured_at", (json_int_t)c->measured_at_s,
                     "step_tokens", tokens, "figures", figures, "memory_bytes_per_s", tn_cli_json_real(c->memory_bytes_per_s), "to_device",
                     to_device, "to_host", to_host, "together", together_json(c));
}

// ---- devices ----

static int calibrate(tn_cli *cli, tn_host *host, uint32_t index, json_t *devices)
{
    tn_device_info info;
    tn_device_calibration_params params = TN_DEVICE_CALIBRATION_PARAMS_INIT;
    tn_device_calibration calibration = TN_DEVICE_CALIBRATION_INIT;
    params.anew = true;
    params.time_ms = (uint32_t)tn_cli_int(&cli->options, TN_OPT_CALIBRATE_MS);
    params.progress = tn_cli_progress_hook(&cli->progress);
    tn_status status = tn_host_calibrate(host, index, &params, &calibration);
    tn_cli_progress_end(&cli->progress);
    if (status == TN_OK) status = tn_host_device_info(host, index, &info);
    if (status != TN_OK) return tn_cli_fail_status("ternion devices");
    if (devices)
        json_array_append_new(devices, calibration_json(&info, &calibration));
    else
        print_calibration(&info, &calibration);
    return 0;
}

// The devices of a comma list.
static int calibrate_named(tn_cli *cli, tn_host *host, const char *names, json_t *devices)
{
    char name[256];
    int rc = 0;
    for (const char *at = names; rc == 0 && at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        uint32_t index;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        rc =
            tn_host_find_device(host, name, &index) == TN_OK ? calibrate(cli, host, index, devices) : tn_cli_fail_status("ternion devices");
    }
    return rc;
}

static int calibrate_all(tn_cli *cli, tn_host *host, json_t *devices)
{
    tn_device_info info;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < tn_host_device_count(host); i++) {
        if (tn_host_device_info(host, i, &info) != TN_OK) return tn_cli_fail_status(NULL);
        if (info.is_software || info.unusable[0]) // as for a model, unless they are named
            tn_cli_note("%s is left out: %s", info.name,
                        info.unusable[0] ? info.unusable : "it is emulated; name it with --device to measure it");
        else
            rc = calibrate(cli, host, i, devices);
    }
    return rc;
}

int tn_cli_devices_calibrate(tn_cli *cli, tn_host *host, bool is_kept)
{
    const char *names = tn_cli_text(&cli->options, TN_OPT_CALIBRATE_DEVICE);
    if (!is_kept) tn_cli_warn("what is measured is shown, but not kept, since no folder is used for it (--pack-cache)");
    json_t *devices = cli->json ? json_array() : NULL;
    const int rc = names ? calibrate_named(cli, host, names, devices) : calibrate_all(cli, host, devices);
    if (rc == 0 && devices) return tn_cli_json_print(json_pack("{s:o}", "devices", devices));
    json_decref(devices);
    return rc;
}
