// Opening what is compared, and what is known of it before anything is measured.
#include "compare.h"
#include "interrupt.h"
#include "place_flags.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

#define POWERCAP "/sys/class/powercap"
#define NVML     "libnvidia-ml.so.1"

void tn_cli_compare_fail(tn_cli_compare_subject *subject, const char *reason)
{
    subject->failed = true;
    json_object_set_new(subject->json, "status", json_string("failed"));
    json_object_set_new(subject->json, "reason", tn_cli_json_text(reason, strlen(reason)));
}

int tn_cli_compare_failed(tn_cli_compare_subject *subject, int rc)
{
    if (rc == TN_CLI_INTERRUPTED || tn_cli_interrupted()) return TN_CLI_INTERRUPTED;
    if (rc == TN_CLI_WRONG_USAGE) return rc;
    tn_cli_compare_fail(subject, tn_error_last()->message);
    return 0;
}

// Calls with the subject's flags in the place of the verb's.
static tn_cli_options swap_flags(tn_cli *cli, const tn_cli_options *options)
{
    const tn_cli_options before = cli->options;
    cli->options = *options;
    return before;
}

// ---- what the row says of devices ----

// The text of a placement as data: "cpu0: embedding, layers 0-2 | cpu1: layer 3, head".
static json_t *placement_json(const char *text)
{
    json_t *list = json_array();
    for (const char *part = text; part && *part; part = strchr(part, '|') ? strchr(part, '|') + 2 : NULL) {
        const size_t n = strcspn(part, "|"), name = strcspn(part, ":");
        char what[512];
        unsigned first = 0, last = 0;
        if (name >= n) break;
        snprintf(what, sizeof what, "%.*s", (int)(n - name), part + name);
        const char *layers = strstr(what, "layer");
        const bool many = layers && sscanf(layers, "layers %u-%u", &first, &last) == 2;
        const bool one = layers && !many && sscanf(layers, "layer %u", &first) == 1;
        if (one) last = first;
        json_array_append_new(list, json_pack("{s:o, s:b, s:o, s:o, s:b}", "device", tn_cli_json_text(part, name), "embedding",
                                              strstr(what, "embedding") != NULL, "first_layer",
                                              many || one ? json_integer(first) : json_null(), "last_layer",
                                              many || one ? json_integer(last) : json_null(), "head", strstr(what, "head") != NULL));
    }
    return list;
}

static void append(char *text, size_t capacity, const char *part)
{
    const size_t used = strlen(text);
    if (part[0] && !strstr(text, part)) snprintf(text + used, capacity - used, "%s%s", used ? ", " : "", part);
}

static json_t *text_or_null(const char *text) { return text[0] ? tn_cli_json_text(text, strlen(text)) : json_null(); }

// Every device of the placement, and whether it is one alone.
static int describe(tn_cli_compare_subject *subject)
{
    char where[1024], name[128] = "", description[256] = "", driver[192] = "", isa[64] = "", kernels[64] = "";
    uint32_t n_threads = 0, n = 0;
    tn_device_info info;
    tn_placement_print(subject->engine.placement, where, sizeof where);
    json_t *placement = placement_json(where), *segment;
    size_t i;
    json_array_foreach(placement, i, segment)
    {
        const char *device = json_string_value(json_object_get(segment, "device"));
        uint32_t index;
        if (strstr(name, device)) continue; // it has another part of the layers too
        if (tn_host_find_device(subject->engine.host, device, &index) != TN_OK ||
            tn_host_device_info(subject->engine.host, index, &info) != TN_OK) {
            json_decref(placement);
            return tn_cli_fail_status(NULL);
        }
        if (n++ == 0) subject->device = info;
        append(name, sizeof name, info.name);
        append(description, sizeof description, info.description);
        append(driver, sizeof driver, info.driver);
        append(isa, sizeof isa, info.isa);
        append(kernels, sizeof kernels, info.kernels);
        n_threads += info.n_threads;
    }
    subject->is_single = n == 1;
    json_object_set_new(subject->json, "device",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "name", text_or_null(name), "description", text_or_null(description),
                                  "driver", text_or_null(driver), "isa", text_or_null(isa), "kernels", text_or_null(kernels), "n_threads",
                                  n_threads ? json_integer(n_threads) : json_null()));
    json_object_set_new(subject->json, "placement", placement);
    json_object_set_new(subject->json, "placement_text", tn_cli_json_text(where, strlen(where)));
    return 0;
}

// A level that the CPU does not have gives another one: that is not what was asked for.
static bool check_level(tn_cli_compare_subject *subject)
{
    char reason[160];
    if (!subject->level[0] || strcmp(subject->device.isa, subject->level) == 0) return true;
    snprintf(reason, sizeof reason, "this CPU has no %s: the best level below it is %s", subject->level, subject->device.isa);
    tn_cli_warn("%s: %s", subject->name, reason);
    tn_cli_compare_fail(subject, reason);
    return false;
}

static void open_meter(tn_cli_compare_subject *subject)
{
    const tn_device_info *device = &subject->device;
    if (!subject->is_single)
        tn_cli_energy_open_none(&subject->meter, "several devices, whose meters count different things");
    else if (strcmp(device->backend, "cpu") == 0 || device->is_software)
        tn_cli_energy_open_rapl(&subject->meter, POWERCAP);
    else if (strcmp(device->backend, "cuda") == 0 || strstr(device->description, "NVIDIA"))
        tn_cli_energy_open_nvml(&subject->meter, NVML, device->bus_id);
    else
        tn_cli_energy_open_none(&subject->meter, "there is no meter for cards of this maker");
    const tn_cli_energy *meter = &subject->meter;
    json_object_set_new(subject->json, "energy",
                        json_pack("{s:o, s:o, s:o}", "meter", meter->meter ? json_string(meter->meter) : json_null(), "why",
                                  text_or_null(meter->why), "enable", text_or_null(meter->enable)));
}

static int measure_limits(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    static const tn_cli_value no_more_threads;
    tn_cli_limits *limits = &subject->limits;
    if (tn_cli_given(&job->cli->options, TN_OPT_BENCH_NO_LIMITS) || !subject->is_single || job->n_tests == 0) return 0;
    const int rc = tn_cli_limits_measure(job->cli, subject->device.n_threads, &no_more_threads, subject->device.name, limits);
    if (rc) return rc;
    const double memory = tn_cli_limits_best(limits, TN_LIMIT_MEMORY_READ, limits->n_threads);
    const double int8 = tn_cli_limits_best(limits, TN_LIMIT_INT8_DOT, limits->n_threads);
    json_object_set_new(subject->json, "limits",
                        json_pack("{s:o, s:o, s:s}", "memory_bytes_per_s", memory > 0 ? json_real(memory) : json_null(), "int8_ops_per_s",
                                  int8 > 0 ? json_real(int8) : json_null(), "measured_with",
                                  "reading memory that is in no cache, and int8 products in registers, with the same kernels and threads"));
    return 0;
}

// ---- opening ----

static int open_place(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    tn_cli_engine *engine = &subject->engine;
    int rc = tn_cli_engine_open_host(job->cli, engine, tn_cli_int(&job->cli->options, TN_OPT_THREADS));
    if (rc == 0) rc = tn_cli_engine_place(job->cli, engine, 1, job->n_positions_max);
    if (rc == 0) rc = describe(subject);
    if (rc || !check_level(subject)) return rc;
    open_meter(subject);
    return measure_limits(job, subject);
}

int tn_cli_compare_prepare(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    static const char *const unknown[] = {"reason", "device", "placement", "placement_text", "accuracy", "memory", "energy", "limits"};
    json_object_set_new(subject->json, "name", tn_cli_json_text(subject->name, strlen(subject->name)));
    json_object_set_new(subject->json, "kind", json_string(subject->is_placement ? "placement" : "backend"));
    json_object_set_new(subject->json, "status", json_string("ok"));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) json_object_set_new(subject->json, unknown[i], json_null());
    json_object_set_new(subject->json, "speed", json_array());
    json_object_set_new(subject->json, "ops", json_array());
    subject->engine = job->engine; // the model, borrowed; there is no host or session yet
    subject->engine.head_noted = true;
    const tn_cli_options before = swap_flags(job->cli, &subject->options);
    const int rc = open_place(job, subject);
    job->cli->options = before;
    return rc ? tn_cli_compare_failed(subject, rc) : 0;
}

static int start(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    tn_session_params params = TN_SESSION_PARAMS_INIT;
    params.n_ctx = job->n_positions_max;
    params.n_ubatch = (uint32_t)tn_cli_int(&job->cli->options, TN_OPT_UBATCH);
    params.n_seqs_max = job->n_seqs_max;
    params.n_logits_max = job->n_rows_max;
    params.kv_bytes = job->kv_bytes;
    params.profile = true;
    int rc = tn_cli_engine_start(job->cli, &subject->engine, params);
    if (rc) return rc;
    subject->costs = (tn_session_costs)TN_SESSION_COSTS_INIT;
    if (tn_session_get_costs(subject->engine.session, &subject->costs) != TN_OK) return tn_cli_fail_status(NULL);
    return tn_cli_bench_feed_init(&subject->feed, &subject->engine, (uint32_t)job->n_positions_max, job->n_seqs_max);
}

int tn_cli_compare_start(tn_cli_compare *job, tn_cli_compare_subject *subject)
{
    subject->rss_before_bytes = tn_cli_compare_memory("VmRSS");
    const tn_cli_options before = swap_flags(job->cli, &subject->options);
    const int rc = start(job, subject);
    job->cli->options = before;
    return rc ? tn_cli_compare_failed(subject, rc) : 0;
}

void tn_cli_compare_stop(tn_cli_compare_subject *subject)
{
    tn_cli_bench_feed_deinit(&subject->feed);
    subject->feed = (tn_cli_bench_feed){.engine = NULL};
    tn_cli_engine_stop(&subject->engine);
}

void tn_cli_compare_subject_deinit(tn_cli_compare_subject *subject)
{
    tn_cli_compare_stop(subject);
    tn_cli_energy_close(&subject->meter);
    tn_cli_limits_deinit(&subject->limits);
    free(subject->samples_ns);
    free(subject->samples_joule);
    free(subject->profiles);
    json_decref(subject->json);
    tn_cli_options_deinit(&subject->own);
    free(subject->text);
}
