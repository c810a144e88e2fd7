// The host: topology to CPU shares, backends to one list of devices.
#include "runtime/host.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/params.h"
#include "runtime/host_costs.h"
#include "runtime/host_devices.h"
#include "runtime/host_shares.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Measuring limits: a figure, about as many of them for each number of threads, and all.
static const uint32_t limits_ms_each = 120, limits_per_run = 5, limits_ms_all = 3000;

struct tn_host {
    tn_topology *topology;
    tn_host_shares shares;
    char *cpu_isa_max, *cpu_packing, *cpu_skip, *vulkan_kernels, *cuda_library, *cache_folder;
    bool vulkan_off, cuda_off, no_bind;
    tn_log log;
    tn_progress progress;     // of opening devices, where the caller has none
    tn_host_devices *devices; // grows when somebody asks for more, behind const hosts too
};

// A whole number from the environment, `fallback` where it is not set.
static tn_status env_u32(const char *name, uint32_t fallback, uint32_t *out)
{
    const char *text = getenv(name);
    *out = fallback;
    if (!text || !*text) return TN_OK;
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || text[0] == '-' || value < 1 || value > TN_HOST_THREADS_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "environment %s is '%s': give a whole number from 1 to %u", name, text,
                       (unsigned)TN_HOST_THREADS_MAX);
    *out = (uint32_t)value;
    return TN_OK;
}

// TN_CPU_DEVICES where the caller does not say: a number, or "numa".
static tn_status make_shares(tn_host *host, const tn_host_params *params)
{
    const char *text = getenv("TN_CPU_DEVICES");
    uint32_t n_devices = params->n_cpu_devices;
    if (n_devices == 0 && text && strcmp(text, "numa") == 0) n_devices = TN_CPU_DEVICES_NUMA;
    if (n_devices == 0) TN_TRY(env_u32("TN_CPU_DEVICES", 1, &n_devices));
    return tn_host_shares_create(host->topology, n_devices, params->n_threads, params->no_bind, &host->shares);
}

static tn_status list_devices(tn_host *host)
{
    const bool any_packing = !host->cpu_packing || strcmp(host->cpu_packing, "auto") == 0;
    const tn_backend_host seen = {.n_cpu_shares = host->shares.n,
                                  .cpu_shares = host->shares.shares,
                                  .cpu_isa_max = host->cpu_isa_max,
                                  .cpu_packing = any_packing ? NULL : host->cpu_packing,
                                  .cpu_skip = host->cpu_skip,
                                  .log = host->log,
                                  .vulkan_off = host->vulkan_off,
                                  .vulkan_kernels = host->vulkan_kernels,
                                  .cache_folder = host->cache_folder,
                                  .cuda_off = host->cuda_off,
                                  .cuda_library = host->cuda_library};
    return tn_host_devices_create(&seen, &host->devices);
}

// TN_VULKAN, TN_CUDA: "off" hides all devices of the backend.
static tn_status read_switch(const char *name, bool *out_off)
{
    const char *text = getenv(name);
    *out_off = text && strcmp(text, "off") == 0;
    if (!text || !*text || *out_off || strcmp(text, "on") == 0) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "environment %s is '%.40s': give on or off", name, text);
}

// A copy of what was given, else of the environment's; NULL where neither says anything.
static tn_status choose_text(const char *given, const char *env_name, char **out_text)
{
    const char *text = given ? given : env_name ? getenv(env_name) : NULL;
    return text && *text ? tn_strdup(text, strlen(text), out_text) : TN_OK;
}

tn_status tn_host_open(const tn_host_params *params, tn_host **out_host)
{
    TN_REQUIRE(out_host);
    *out_host = NULL;
    tn_host_params known = TN_HOST_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_host_params, log, params, &known));
    params = &known;
    tn_status status;
    tn_host *host;
    TN_TRY(tn_alloc_zero(1, sizeof *host, &host));
    host->log = params->log;
    host->progress = params->progress;
    host->no_bind = params->no_bind;
    TN_TRY_GOTO(choose_text(params->cpu_isa_max, "TN_CPU_MASK", &host->cpu_isa_max));
    TN_TRY_GOTO(choose_text(params->cpu_packing, "TN_CPU_PACKING", &host->cpu_packing));
    TN_TRY_GOTO(choose_text(params->cpu_skip, "TN_CPU_SKIP", &host->cpu_skip));
    TN_TRY_GOTO(choose_text(params->vulkan_kernels, "TN_VULKAN_KERNELS", &host->vulkan_kernels));
    TN_TRY_GOTO(choose_text(params->cache_folder, NULL, &host->cache_folder));
    TN_TRY_GOTO(choose_text(NULL, "TN_CUDA_LIBRARY", &host->cuda_library));
    TN_TRY_GOTO(read_switch("TN_VULKAN", &host->vulkan_off));
    TN_TRY_GOTO(read_switch("TN_CUDA", &host->cuda_off));
    TN_TRY_GOTO(tn_topology_create(NULL, &host->topology));
    TN_TRY_GOTO(make_shares(host, params));
    TN_TRY_GOTO(list_devices(host));
    *out_host = host;
    return TN_OK;
fail:
    tn_host_close(host);
    return status;
}

void tn_host_close(tn_host *host)
{
    if (!host) return;
    if (host->devices) tn_host_costs_keep(host);
    tn_host_devices_destroy(host->devices);
    tn_host_shares_deinit(&host->shares);
    tn_free(host->cpu_isa_max);
    tn_free(host->cpu_packing);
    tn_free(host->cpu_skip);
    tn_free(host->vulkan_kernels);
    tn_free(host->cuda_library);
    tn_free(host->cache_folder);
    tn_topology_destroy(host->topology);
    tn_free(host);
}

const tn_topology *tn_host_binding(const tn_host *host) { return host->no_bind ? NULL : host->topology; }

void tn_host_get_info(const tn_host *host, tn_host_info *out_info)
{
    tn_topology_summary summary;
    tn_topology_summarise(host->topology, &summary);
    *out_info = (tn_host_info){
        .n_packages = summary.n_packages,
        .n_numa_nodes = summary.n_numa_nodes,
        .n_cores = summary.n_cores,
        .n_processors = summary.n_pus,
        .n_cores_at_once = tn_topology_core_quota(host->topology),
        .l1d_bytes = summary.l1d_bytes,
        .l2_bytes = summary.l2_bytes,
        .l3_bytes = summary.l3_bytes,
        .memory_bytes = summary.memory_bytes,
    };
    memcpy(out_info->cpu_model, summary.cpu_model, sizeof out_info->cpu_model);
}

tn_status tn_host_list_all(const tn_host *host) { return tn_host_devices_list_all(host->devices); }

uint32_t tn_host_device_count(const tn_host *host)
{
    if (tn_host_list_all(host) != TN_OK) tn_log_write(&host->log, TN_LOG_WARN, "devices are left out: %s", tn_error_last()->message);
    return host->devices->n;
}

uint32_t tn_host_devices_listed(const tn_host *host) { return host->devices->n; }

const tn_device_desc *tn_host_descs(const tn_host *host, uint32_t *out_count)
{
    *out_count = host->devices->n;
    return host->devices->descs;
}

void tn_host_hook_vulkan(tn_host *host, const struct tn_vk_hooks *hooks)
{
    for (uint32_t b = 0; b < host->devices->n_backends; b++) host->devices->hosts[b].vulkan_hooks = hooks;
}

void tn_host_hook_cuda(tn_host *host, const struct tn_cuda_hooks *hooks)
{
    for (uint32_t b = 0; b < host->devices->n_backends; b++) host->devices->hosts[b].cuda_hooks = hooks;
}

// Lists the others where the index is of none that is listed.
static tn_status check_index(const tn_host *host, uint32_t index)
{
    if (index >= host->devices->n) TN_TRY(tn_host_list_all(host));
    if (index < host->devices->n) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "there is no device %u: this host has %u", (unsigned)index, (unsigned)host->devices->n);
}

tn_status tn_host_entry(const tn_host *host, uint32_t index, tn_host_device_entry **out_entry, const tn_device_desc **out_desc)
{
    TN_TRY(check_index(host, index));
    *out_entry = &host->devices->entries[index];
    *out_desc = &host->devices->descs[index];
    return TN_OK;
}

const tn_progress *tn_host_progress(const tn_host *host) { return &host->progress; }

tn_status tn_host_device(tn_host *host, uint32_t index, const tn_progress *progress, tn_device **out_device)
{
    *out_device = NULL;
    TN_TRY(check_index(host, index));
    tn_host_device_entry *entry = &host->devices->entries[index];
    const tn_device_desc *desc = &host->devices->descs[index];
    if (entry->is_lost) return tn_fail(TN_UNAVAILABLE, "%s cannot be used: %s", desc->name, desc->unusable);
    if (!entry->device) {
        tn_backend_host *asked = &host->devices->hosts[entry->host - host->devices->hosts];
        asked->progress = progress && progress->update ? progress : &host->progress;
        const tn_status status = entry->backend->device_open(asked, entry->index, &entry->device);
        asked->progress = NULL;
        TN_TRY(status);
    }
    *out_device = entry->device;
    return TN_OK;
}

tn_status tn_host_use_device(tn_host *host, uint32_t index, const tn_progress *progress, tn_device **out_device)
{
    TN_TRY(tn_host_device(host, index, progress, out_device));
    host->devices->entries[index].n_users++;
    return TN_OK;
}

static void close_lost(tn_host_device_entry *entry)
{
    if (!entry->is_lost || entry->n_users || !entry->device) return;
    entry->backend->device_close(entry->device);
    entry->device = NULL;
}

void tn_host_leave_device(tn_host *host, uint32_t index)
{
    tn_host_device_entry *entry = &host->devices->entries[index];
    entry->n_users--;
    close_lost(entry);
}

void tn_host_quarantine(tn_host *host, uint32_t index, const char *reason)
{
    tn_host_device_entry *entry = &host->devices->entries[index];
    tn_device_desc *desc = &host->devices->descs[index];
    if (entry->is_lost) return;
    entry->is_lost = true;
    snprintf(entry->loss_reason, sizeof entry->loss_reason, "%s", reason);
    snprintf(desc->unusable, sizeof desc->unusable, "it was lost (%s)", reason);
    close_lost(entry);
}

void tn_host_loss_reason(const tn_host *host, uint32_t index, const tn_error *error, char reason[TN_LOSS_REASON_BYTES])
{
    const tn_host_device_entry *entry = &host->devices->entries[index];
    const char *name = host->devices->descs[index].name, *text = entry->is_lost ? entry->loss_reason : error->message;
    const size_t n = strlen(name);
    if (strncmp(text, name, n) == 0 && strncmp(text + n, ": ", 2) == 0) text += n + 2;
    const char *end = NULL;
    for (const char *at = text; !entry->is_lost && (at = strstr(at, ": ")); at++) end = at;
    snprintf(reason, TN_LOSS_REASON_BYTES, "%.*s", (int)(end ? (size_t)(end - text) : strlen(text)), text);
}

tn_status tn_host_device_info(const tn_host *host, uint32_t index, tn_device_info *out_info)
{
    TN_REQUIRE(out_info);
    memset(out_info, 0, sizeof *out_info);
    TN_REQUIRE(host);
    TN_TRY(check_index(host, index));
    const tn_device_desc *desc = &host->devices->descs[index];
    memcpy(out_info->name, desc->name, sizeof out_info->name);
    memcpy(out_info->description, desc->description, sizeof out_info->description);
    memcpy(out_info->isa, desc->isa, sizeof out_info->isa);
    strncpy(out_info->backend, host->devices->entries[index].backend->name, sizeof out_info->backend - 1);
    out_info->n_threads = desc->n_threads;
    out_info->memory_bytes = desc->memory_bytes;
    out_info->memory_free_bytes = desc->memory_free_bytes;
    out_info->is_software = desc->is_software;
    memcpy(out_info->driver, desc->driver, sizeof out_info->driver);
    memcpy(out_info->bus_id, desc->bus_id, sizeof out_info->bus_id);
    memcpy(out_info->kernels, desc->kernels, sizeof out_info->kernels);
    memcpy(out_info->integer_dot, desc->integer_dot, sizeof out_info->integer_dot);
    out_info->subgroup_size = desc->subgroup_size;
    memcpy(out_info->unusable, desc->unusable, sizeof out_info->unusable);
    return TN_OK;
}

uint32_t tn_host_backend_count(const tn_host *host) { return host->devices->n_backends; }

tn_status tn_host_backend_info(const tn_host *host, uint32_t index, tn_backend_info *out_info)
{
    TN_REQUIRE(out_info);
    memset(out_info, 0, sizeof *out_info);
    TN_REQUIRE(host);
    const tn_host_devices *devices = host->devices;
    if (index >= devices->n_backends)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no backend %u: this library has %u", (unsigned)index, (unsigned)devices->n_backends);
    TN_TRY(tn_host_list_all(host));
    uint32_t n_backends;
    strncpy(out_info->name, tn_backend_list(&n_backends)[index]->name, sizeof out_info->name - 1);
    out_info->n_devices = devices->counts[index];
    memcpy(out_info->absent, devices->keeps[index].absent, sizeof out_info->absent);
    return TN_OK;
}

tn_status tn_host_device_kernels(tn_host *host, uint32_t index, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    TN_REQUIRE(host);
    TN_REQUIRE(line);
    tn_device *device;
    TN_TRY(tn_host_device(host, index, NULL, &device));
    return device->backend->device_kernels(device, line, user);
}

static bool forward_limit(void *user, const tn_measured_limit *measured)
{
    const tn_device_limits_params *params = user;
    tn_device_limit limit = {.kind = measured->kind == TN_MEASURED_MEMORY_READ ? TN_LIMIT_MEMORY_READ : TN_LIMIT_INT8_DOT,
                             .n_threads = measured->n_threads,
                             .best = measured->best,
                             .median = measured->median,
                             .theoretical = measured->theoretical};
    memcpy(limit.name, measured->name, sizeof limit.name);
    return params->told(params->user, &limit);
}

// The number of threads after n, of those that are measured.
static uint32_t next_n_threads(uint32_t n, uint32_t n_all)
{
    const uint32_t next = n < 8 ? n + 1 : 2 * n;
    return n < n_all && next > n_all ? n_all : next;
}

tn_status tn_host_device_limits(tn_host *host, uint32_t index, const tn_device_limits_params *params)
{
    TN_REQUIRE(host);
    tn_device_limits_params known = TN_DEVICE_LIMITS_PARAMS_INIT;
    TN_TRY(TN_PARAMS_READ(tn_device_limits_params, user, params, &known));
    TN_REQUIRE(known.told);
    tn_device *device;
    TN_TRY(tn_host_device(host, index, NULL, &device));
    const uint32_t n_all = host->devices->descs[index].n_threads ? host->devices->descs[index].n_threads : 1;
    const uint32_t first = known.n_threads ? known.n_threads : 1, last = known.n_threads ? known.n_threads : n_all;
    uint32_t n_runs = 0, time_ms = known.time_ms;
    for (uint32_t n = first; n <= last; n = next_n_threads(n, n_all)) n_runs++;
    // A run is a handful of figures: memory and the levels.
    const uint32_t share_ms = limits_ms_all / (n_runs * limits_per_run) + 1;
    if (time_ms == 0) time_ms = share_ms < limits_ms_each ? share_ms : limits_ms_each;
    for (uint32_t n = first; n <= last; n = next_n_threads(n, n_all))
        TN_TRY(device->backend->device_measure(device, n, (uint64_t)time_ms * 1000000, forward_limit, &known));
    return TN_OK;
}
