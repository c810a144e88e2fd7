// What results of ternion bench say of the devices that made them.
#include "bench_job.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

static void note_kernel(void *user, const char *kernel, bool chosen)
{
    if (chosen) json_array_append_new(user, json_string(kernel));
}

// A device by its name, and whether the model's weights lie on it.
typedef struct search {
    const char *device;
    bool found;
} search;

static void find_device(void *user, const tn_layout_info *layout)
{
    search *s = user;
    s->found = s->found || strcmp(layout->device, s->device) == 0;
}

// The device and whether it takes part.
static int look_up(const tn_cli_bench_job *job, uint32_t index, tn_device_info *info, bool *out_takes_part)
{
    if (tn_host_device_info(job->engine.host, index, info) != TN_OK) return tn_cli_fail_status(NULL);
    search s = {info->name, false};
    const tn_status status = tn_placement_layouts(job->engine.placement, find_device, &s);
    tn_cli_progress_end(&job->cli->progress); // of devices that were opened for it
    if (status != TN_OK) return tn_cli_fail_status(NULL);
    *out_takes_part = s.found;
    return 0;
}

int tn_cli_bench_only_device(const tn_cli_bench_job *job, char *out_name, size_t capacity)
{
    tn_device_info info;
    uint32_t n = 0;
    out_name[0] = '\0';
    for (uint32_t i = 0; i < tn_host_devices_listed(job->engine.host); i++) {
        bool takes_part = false;
        const int rc = look_up(job, i, &info, &takes_part);
        if (rc) return rc;
        if (takes_part) snprintf(out_name, capacity, "%s", n++ ? "" : info.name);
    }
    return 0;
}

// Level and kernels of a device that takes part; the others are not even opened.
static int describe_kernels(tn_cli_bench_job *job, uint32_t index, const tn_device_info *info)
{
    tn_cli_bench_result *r = &job->result;
    const size_t used = strlen(r->isa);
    const char *level = info->isa[0] ? info->isa : info->kernels;
    if (level[0] && !strstr(r->isa, level)) snprintf(r->isa + used, sizeof r->isa - used, "%s%s", used ? "," : "", level);
    return tn_host_device_kernels(job->engine.host, index, note_kernel, r->kernels) == TN_OK ? 0 : tn_cli_fail_status(NULL);
}

int tn_cli_bench_describe_devices(tn_cli_bench_job *job)
{
    tn_cli_bench_result *r = &job->result;
    const tn_cli_value *layers = tn_cli_bench_list(job, TN_OPT_GPU_LAYERS);
    const char *devices = tn_cli_text(&job->cli->options, TN_OPT_DEVICE);
    uint32_t n_threads = 0;
    tn_device_info info;
    r->cpu_info[0] = r->gpu_info[0] = r->backends[0] = r->isa[0] = '\0';
    json_decref(r->kernels);
    r->kernels = json_array();
    for (uint32_t i = 0; i < tn_host_devices_listed(job->engine.host); i++) {
        bool takes_part = false;
        int rc = look_up(job, i, &info, &takes_part);
        if (rc) return rc;
        bool cpu = strcmp(info.backend, "cpu") == 0;
        const char *backend = cpu                                   ? "CPU"
                              : strcmp(info.backend, "cuda") == 0   ? "CUDA"
                              : strcmp(info.backend, "vulkan") == 0 ? "Vulkan"
                                                                    : info.backend;
        char *name = cpu ? r->cpu_info : r->gpu_info;
        if (!name[0]) snprintf(name, 128, "%s", info.description);
        if (!takes_part) continue;
        size_t used = strlen(r->backends);
        if (!strstr(r->backends, backend)) snprintf(r->backends + used, sizeof r->backends - used, "%s%s", used ? "," : "", backend);
        n_threads += info.n_threads;
        rc = describe_kernels(job, i, &info);
        if (rc) return rc;
    }
    r->costs = (tn_session_costs)TN_SESSION_COSTS_INIT;
    if (tn_session_get_costs(job->engine.session, &r->costs) != TN_OK) return tn_cli_fail_status(NULL);
    if (r->test.n_threads == 0) r->test.n_threads = n_threads;
    r->n_gpu_layers = !layers->text ? layers->integer : strcmp(layers->text, "all") == 0 ? -2 : -1;
    snprintf(r->devices, sizeof r->devices, "%s", devices ? devices : "auto");
    return 0;
}
