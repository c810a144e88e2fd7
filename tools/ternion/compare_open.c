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

// The text of a placement as data: "cpu0: embedding, layers 0-2 | cuda:host: layer 3, head". Names of devices may have colons, but no blank
// behind one.
static json_t *placement_json(const char *text)
{
    json_t *list = json_array();
    for (const char *part = text; part && *part; part = strchr(part, '|') ? strchr(part, '|') + 2 : NULL) {
        const char *what = strstr(part, ": "), *end = part + strcspn(part, "|");
        unsigned first = 0, last = 0;
        if (!what || what >= end) break;
        char layers_text[64] = "";
        const char *layers = strstr(what, "layer");
        if (layers && layers < end) snprintf(layers_text, sizeof layers_text, "%.*s", (int)(end - layers < 63 ? end - layers : 63), layers);
        const bool many = sscanf(layers_text, "layers %u-%u", &first, &last) == 2;
        const bool one = !many && sscanf(layers_text, "layer %u", &first) == 1;
        if (one) last = first;
        const char *embedding = strstr(what, "embedding"), *head = strstr(what, "head");
        json_array_append_new(list,
                              json_pack("{s:o, s:b, s:o, s:o, s:b}", "device", tn_cli_json_text(part, (size_t)(what - part)), "embedding",
                                        embedding && embedding < end, "first_layer", many || one ? json_integer(first) : json_null(),
                                        "last_layer", many || one ? json_integer(last) : json_null(), "head", head && head < end));
    }
    return list;
}

static bool has_text(const json_t *list, const char *text)
{
    const json_t *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (strcmp(json_string_value(item), text) == 0) return true;
    }
    return false;
}

// Adds what is not there yet, as a whole: "avx512" is another one than "avx512vnni".
static void add_text(json_t *list, const char *text)
{
    json_t *item = tn_cli_json_text(text, strlen(text));
    if (text[0] && !has_text(list, json_string_value(item))) json_array_append(list, item);
    json_decref(item);
}

static json_t *text_or_null(const char *text) { return text[0] ? tn_cli_json_text(text, strlen(text)) : json_null(); }

// "cpu0, cuda:host"; null where there is nothing.
static json_t *joined(const json_t *list)
{
    char *text = NULL;
    size_t size = 0, i;
    const json_t *item;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    json_array_foreach(list, i, item) fprintf(out, "%s%s", i ? ", " : "", json_string_value(item));
    json_t *all = fclose(out) == 0 ? text_or_null(text) : NULL;
    free(text);
    return all;
}

// What the devices of a placement are, each of them once.
typedef struct devices {
    json_t *names, *descriptions, *drivers, *isas, *kernels;
    uint32_t n, n_threads;
} devices;

static int add_device(tn_cli_compare_subject *subject, devices *all, const char *name)
{
    uint32_t index;
    tn_device_info info;
    if (has_text(all->names, name)) return 0; // it has another part of the layers too
    if (tn_host_find_device(subject->engine.host, name, &index) != TN_OK ||
        tn_host_device_info(subject->engine.host, index, &info) != TN_OK)
        return tn_cli_fail_status(NULL);
    if (all->n++ == 0) subject->device = info;
    add_text(all->names, info.name);
    add_text(all->descriptions, info.description);
    add_text(all->drivers, info.driver);
    add_text(all->isas, info.isa);
    add_text(all->kernels, info.kernels);
    all->n_threads += info.n_threads;
    return 0;
}

// The placement in one line; owned, NULL without memory.
static char *placement_text(const tn_placement *placement)
{
    const size_t n = tn_placement_print(placement, NULL, 0);
    char *text = malloc(n + 1);
    if (text) tn_placement_print(placement, text, n + 1);
    return text;
}

// Every device of the placement, and whether it is one alone.
static int describe(tn_cli_compare_subject *subject)
{
    char *where = placement_text(subject->engine.placement);
    if (!where) return tn_cli_out_of_memory();
    devices all = {json_array(), json_array(), json_array(), json_array(), json_array(), 0, 0};
    json_t *placement = placement_json(where), *segment;
    size_t i;
    int rc = 0;
    json_array_foreach(placement, i, segment)
    {
        if (rc == 0) rc = add_device(subject, &all, json_string_value(json_object_get(segment, "device")));
    }
    subject->is_single = all.n == 1;
    json_object_set_new(subject->json, "device",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "name", joined(all.names), "description", joined(all.descriptions),
                                  "driver", joined(all.drivers), "isa", joined(all.isas), "kernels", joined(all.kernels), "n_threads",
                                  all.n_threads ? json_integer(all.n_threads) : json_null()));
    json_object_set_new(subject->json, "placement", placement);
    json_object_set_new(subject->json, "placement_text", tn_cli_json_text(where, strlen(where)));
    json_t *lists[] = {all.names, all.descriptions, all.drivers, all.isas, all.kernels};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) json_decref(lists[k]);
    free(where);
    return rc;
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
