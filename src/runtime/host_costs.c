// Costs of a host's devices: known, kept, or measured now; and their summary for people.
#include "runtime/host_costs.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/params.h"
#include "runtime/calibrate.h"
#include "runtime/cost_file.h"
#include "runtime/host.h"
#include "runtime/host_together.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const uint64_t time_ns_default = UINT64_C(3000000000);
// Shapes that were not learned from are predicted so well where nothing disturbs, with room to spare.
static const double error_expected = 0.25;

// ---- keys ----

// One line that changes with whatever changes a device's times: machine, device, driver, threads, kernels and the code of this build.
static tn_status make_key(const tn_host *host, const tn_host_device_entry *entry, const tn_device_desc *desc, tn_text *out)
{
    tn_host_info h;
    tn_host_get_info(host, &h);
    const char *packing = entry->host->cpu_packing ? entry->host->cpu_packing : "auto";
    TN_TRY(tn_text_printf(out, "host=%s|%u cores|%u processors|%llu MiB device=%s|%s|%s|%s driver=%s threads=%u kernels=%s|%s|%s",
                          h.cpu_model, (unsigned)h.n_cores, (unsigned)h.n_processors, (unsigned long long)(h.memory_bytes >> 20),
                          entry->backend->name, desc->name, desc->description, desc->bus_id, desc->driver, (unsigned)desc->n_threads,
                          desc->isa, desc->kernels, packing));
    const bool is_cpu = strcmp(entry->backend->name, "cpu") == 0; // which has other neighbours where there are more of them
    if (is_cpu) TN_TRY(tn_text_printf(out, " cpus=%u", (unsigned)entry->host->n_cpu_shares));
    TN_TRY(tn_text_printf(out, " build=%s|%s", tn_version(), TN_COSTS_ID));
    for (size_t i = 0; i < out->len; i++) {
        if ((unsigned char)out->data[i] < ' ') out->data[i] = '?'; // of a driver's or the firmware's texts
    }
    return TN_OK;
}

// ---- known, kept or measured ----

// Sessions of other threads look while a device becomes known.
static tn_known_costs *costs_of(const tn_host_device_entry *entry) { return __atomic_load_n(&entry->costs, __ATOMIC_ACQUIRE); }

static tn_status remember(tn_host_device_entry *entry, const tn_cost_table *table)
{
    tn_known_costs *costs = costs_of(entry);
    if (!costs) {
        TN_TRY(tn_alloc_zero(1, sizeof *costs, &costs));
        if (pthread_mutex_init(&costs->lock, NULL) != 0) {
            tn_free(costs);
            return tn_fail(TN_OUT_OF_MEMORY, "there is no memory for a lock");
        }
        costs->table = *table;
        __atomic_store_n(&entry->costs, costs, __ATOMIC_RELEASE);
        return TN_OK;
    }
    pthread_mutex_lock(&costs->lock);
    costs->table = *table;
    costs->changed = false;
    pthread_mutex_unlock(&costs->lock);
    return TN_OK;
}

tn_cost_table tn_known_costs_table(tn_known_costs *costs)
{
    pthread_mutex_lock(&costs->lock);
    const tn_cost_table table = costs->table;
    pthread_mutex_unlock(&costs->lock);
    return table;
}

// Not vital: where it fails, the next start measures again, or does not know of corrections.
static void write_kept(const tn_host_device_entry *entry, const char *device, const char *key, const tn_cost_table *table,
                       tn_log_level level)
{
    if (!entry->host->cache_folder || tn_cost_file_write(entry->host->cache_folder, key, table) == TN_OK) return;
    tn_log_write(&entry->host->log, level, "what was measured of %s is not kept, so that the next start measures again: %s", device,
                 tn_error_last()->message);
}

static bool read_kept(const tn_host_device_entry *entry, const char *key, tn_cost_table *table)
{
    if (!entry->host->cache_folder) return false;
    if (tn_cost_file_read(entry->host->cache_folder, key, table) == TN_OK) return true;
    tn_log_write(&entry->host->log, TN_LOG_DEBUG, "no costs of a device are kept: %s", tn_error_last()->message);
    return false;
}

// Whoever chose a device by such figures might wonder: the machine was busy, or steps are beyond the time that was given.
static void warn_of_error(const tn_host_device_entry *entry, const char *device, const tn_cost_table *table)
{
    double error = 0.0;
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        if (table->error[TN_COST_GROUP_LAYER][k] > error) error = table->error[TN_COST_GROUP_LAYER][k];
    }
    if (error <= error_expected) return;
    tn_log_write(
        &entry->host->log, TN_LOG_WARN,
        "%s: its times vary so much that a layer was predicted %.0f %% off: run ternion devices --calibrate when nothing else runs", device,
        100.0 * error);
}

static void warn_of_time(const tn_host_device_entry *entry, const char *device, const tn_calibration_params *params)
{
    tn_log_write(&entry->host->log, TN_LOG_WARN,
                 "%s: measuring took too long for the %llu ms that are meant for it, so that larger steps are partly guessed: run ternion "
                 "devices --calibrate when nothing else runs",
                 device, (unsigned long long)(params->time_ns / 1000000));
}

static tn_status measure(tn_host *host, uint32_t index, const tn_host_costs_params *params, const tn_host_device_entry *entry,
                         tn_cost_table *out_table)
{
    tn_device *device;
    tn_device_desc now;
    TN_TRY(tn_host_device(host, index, params->progress, &device));
    TN_TRY(entry->backend->device_describe(entry->host, entry->index, &now)); // how much memory is free
    const bool is_cpu = strcmp(entry->backend->name, "cpu") == 0;
    const tn_calibration_params request = {
        .time_ns = params->time_ns ? params->time_ns : time_ns_default,
        .cache_bytes = is_cpu ? entry->host->cpu_shares[entry->index].cache_bytes : 0,
        .memory_bytes = now.memory_free_bytes,
        .small = params->small,
        .progress = params->progress,
    };
    bool late;
    TN_TRY(tn_calibrate(device, &request, out_table, &late));
    TN_TRY(tn_host_set_together(host, index, &request, out_table));
    if (late && !params->small) warn_of_time(entry, now.name, &request);
    if (!params->small) warn_of_error(entry, now.name, out_table); // those of small models are noise for the most part
    const time_t seconds = time(NULL);
    out_table->measured_at_s = seconds > 0 ? (uint64_t)seconds : 0;
    return TN_OK;
}

static tn_status find(tn_host *host, uint32_t index, const tn_host_costs_params *params, tn_host_device_entry *entry,
                      const tn_device_desc *desc, const char *key, tn_cost_table *out_table, bool *out_known)
{
    *out_known = !params->anew && entry->costs != NULL;
    if (*out_known) {
        *out_table = tn_known_costs_table(entry->costs);
        return TN_OK;
    }
    *out_known = !params->anew && read_kept(entry, key, out_table);
    if (!*out_known) {
        if (params->known_only) return tn_fail(TN_NOT_FOUND, "the device was not measured yet: run ternion devices --calibrate");
        TN_TRY(measure(host, index, params, entry, out_table));
        write_kept(entry, desc->name, key, out_table, TN_LOG_WARN);
    }
    return remember(entry, out_table);
}

tn_status tn_host_costs(tn_host *host, uint32_t index, const tn_host_costs_params *params, tn_cost_table *out_table, bool *out_known)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    tn_text key = {0};
    bool known = false;
    tn_cost_table_init(out_table);
    if (out_known) *out_known = false;
    TN_TRY(tn_host_entry(host, index, &entry, &desc));
    if (desc->unusable[0]) return tn_fail(TN_UNAVAILABLE, "%s cannot be used: %s", desc->name, desc->unusable);
    tn_status status = make_key(host, entry, desc, &key);
    if (status == TN_OK) status = find(host, index, params, entry, desc, key.data, out_table, &known);
    tn_text_deinit(&key);
    if (status == TN_OK && out_known) *out_known = known;
    return status;
}

tn_known_costs *tn_host_costs_known(const tn_host *host, uint32_t index)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    return index < tn_host_devices_listed(host) && tn_host_entry(host, index, &entry, &desc) == TN_OK ? costs_of(entry) : NULL;
}

void tn_known_costs_observe(tn_known_costs *costs, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step,
                            double measured_ns)
{
    pthread_mutex_lock(&costs->lock);
    tn_cost_observe(&costs->table, works, n_works, step, measured_ns);
    costs->changed = true;
    pthread_mutex_unlock(&costs->lock);
}

void tn_host_costs_observe(tn_host *host, uint32_t index, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step,
                           double measured_ns)
{
    tn_known_costs *costs = tn_host_costs_known(host, index);
    if (costs) tn_known_costs_observe(costs, works, n_works, step, measured_ns);
}

// The table, where it was corrected since this was asked last.
static bool take_changed(tn_known_costs *costs, tn_cost_table *table)
{
    pthread_mutex_lock(&costs->lock);
    const bool changed = costs->changed;
    *table = costs->table;
    costs->changed = false;
    pthread_mutex_unlock(&costs->lock);
    return changed;
}

void tn_host_costs_keep(const tn_host *host)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    for (uint32_t i = 0; i < tn_host_devices_listed(host); i++) {
        tn_text key = {0};
        tn_cost_table table;
        if (tn_host_entry(host, i, &entry, &desc) != TN_OK || !entry->costs || !take_changed(entry->costs, &table)) continue;
        if (make_key(host, entry, desc, &key) == TN_OK) write_kept(entry, desc->name, key.data, &table, TN_LOG_DEBUG);
        tn_text_deinit(&key);
    }
}

// ---- for people ----

// BitNet b1.58 2B4T: what the summary is of.
static const uint32_t model_layers = 30, model_positions = 512;
static const uint64_t model_embd = 2560, model_ff = 6912, model_kv = 640, model_vocab = 128256;

static tn_cost_work layer_work(void)
{
    const uint64_t d = model_embd;
    return (tn_cost_work){.unit = TN_COST_UNIT_LAYER,
                          .n_ternary = d * (2 * d + 2 * model_kv + 3 * model_ff),
                          .n_values = 6 * d + 3 * model_kv + 2 * model_ff,
                          .n_attention = d,
                          .resident_bytes = UINT32_MAX};
}

static tn_cost_work end_work(tn_cost_unit unit, tn_dtype dtype)
{
    return (tn_cost_work){
        .unit = unit, .head_type = dtype, .n_dense = model_embd * model_vocab, .n_values = model_embd, .resident_bytes = UINT32_MAX};
}

static void add_figure(tn_device_calibration *out, const char *name, const tn_cost_table *table, const tn_cost_work *work, uint32_t group)
{
    tn_calibration_figure *figure = &out->figures[out->n_figures++];
    snprintf(figure->name, sizeof figure->name, "%s", name);
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        const uint32_t n = tn_cost_step_sizes[k];
        const tn_cost_step step = {.n_tokens = n, .n_logits = n, .n_seqs = n, .n_positions = model_positions};
        figure->step_ns[k] = tn_cost_unit_ns(table, work, &step);
        figure->error[k] = table->error[group][k];
    }
}

static double model_ns(const tn_cost_table *table, const tn_cost_step *step)
{
    const tn_cost_work layer = layer_work(), head = end_work(TN_COST_UNIT_HEAD, TN_DTYPE_Q6_K),
                       embed = end_work(TN_COST_UNIT_EMBED, TN_DTYPE_Q6_K);
    return tn_cost_submit_ns(table, step) + model_layers * tn_cost_unit_ns(table, &layer, step) + tn_cost_unit_ns(table, &head, step) +
           tn_cost_unit_ns(table, &embed, step);
}

static void add_model(tn_device_calibration *out, const tn_cost_table *table)
{
    const tn_cost_table shared = tn_cost_shared(table);
    tn_calibration_figure *figure = &out->figures[out->n_figures++];
    snprintf(figure->name, sizeof figure->name, "model");
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) {
        const uint32_t n = tn_cost_step_sizes[k];
        const tn_cost_step step = {.n_tokens = n, .n_logits = n, .n_seqs = n, .n_positions = model_positions};
        figure->step_ns[k] = model_ns(table, &step);
        figure->error[k] = -1.0;
        out->together[k] = table->n_together && figure->step_ns[k] > 0 ? model_ns(&shared, &step) / figure->step_ns[k] : 1.0;
    }
}

static void summarise(const tn_cost_table *table, bool was_known, tn_device_calibration *out)
{
    static const tn_dtype types[TN_COST_HEADS] = {TN_DTYPE_Q8_0, TN_DTYPE_Q6_K, TN_DTYPE_Q4_K, TN_DTYPE_F16};
    const tn_cost_work layer = layer_work(), embed = end_work(TN_COST_UNIT_EMBED, TN_DTYPE_Q6_K);
    char name[sizeof out->figures->name];
    out->was_known = was_known;
    out->measured_at_s = table->measured_at_s;
    out->n_observed = table->n_observed;
    out->memory_bytes_per_s = table->memory_bytes_per_s;
    out->to_device_ns = table->to_device.latency_ns;
    out->to_device_bytes_per_s = table->to_device.bytes_per_s;
    out->to_host_ns = table->to_host.latency_ns;
    out->to_host_bytes_per_s = table->to_host.bytes_per_s;
    out->n_together = table->n_together;
    out->n_steps = TN_COST_STEPS;
    for (uint32_t k = 0; k < TN_COST_STEPS; k++) out->step_tokens[k] = tn_cost_step_sizes[k];
    add_figure(out, "layer", table, &layer, TN_COST_GROUP_LAYER);
    add_figure(out, "embedding", table, &embed, TN_COST_GROUP_EMBED);
    for (uint32_t h = 0; h < TN_COST_HEADS; h++) {
        const tn_cost_work head = end_work(TN_COST_UNIT_HEAD, types[h]);
        snprintf(name, sizeof name, "head %s", tn_cost_head_name((tn_cost_head)h));
        add_figure(out, name, table, &head, TN_COST_GROUP_HEADS_FIRST + h);
    }
    add_model(out, table);
}

tn_status tn_host_calibrate(tn_host *host, uint32_t index, const tn_device_calibration_params *params,
                            tn_device_calibration *out_calibration)
{
    TN_REQUIRE(host);
    TN_REQUIRE(out_calibration);
    tn_device_calibration_params known = TN_DEVICE_CALIBRATION_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_device_calibration_params, progress, params, &known));
    const tn_host_costs_params request = {
        .anew = known.anew, .small = known.small, .time_ns = (uint64_t)known.time_ms * 1000000, .progress = &known.progress};
    tn_device_calibration result = TN_DEVICE_CALIBRATION_INIT;
    tn_cost_table table;
    bool was_known;
    TN_TRY(tn_host_costs(host, index, &request, &table, &was_known));
    summarise(&table, was_known, &result);
    return TN_PARAMS_WRITE(tn_device_calibration, together, &result, out_calibration);
}
