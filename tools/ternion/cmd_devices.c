// ternion devices: what can run a model here.
#include "devices_calibrate.h"
#include "engine.h"
#include "json_out.h"
#include "report.h"
#include "units.h"

#include <stdio.h>

static void print_kernel(void *user, const char *kernel, bool chosen)
{
    tn_cli_progress_end(user); // the device is open
    printf("  %c %s\n", chosen ? '*' : ' ', kernel);
}

static void add_kernel(void *user, const char *kernel, bool chosen)
{
    json_array_append_new(user, json_pack("{s:s, s:b}", "name", kernel, "in_use", (int)chosen));
}

// The lines below a device's own: what there is to say of GPUs.
static void print_gpu(const tn_device_info *info)
{
    if (info->driver[0]) {
        printf("         driver %s, subgroups of %u, integer dot product: %s", info->driver, info->subgroup_size, info->integer_dot);
        printf(info->bus_id[0] ? ", pci:%s\n" : "%s\n", info->bus_id);
    }
    if (info->unusable[0]) printf("         cannot be used: %s\n", info->unusable);
}

static void print_device(const tn_device_info *info)
{
    char memory[24], free_memory[24], threads[16] = "-";
    tn_cli_format_bytes(info->memory_bytes, memory, sizeof memory);
    tn_cli_format_bytes(info->memory_free_bytes, free_memory, sizeof free_memory);
    if (info->n_threads) snprintf(threads, sizeof threads, "%u", info->n_threads);
    printf("%-8s %-8s %-12s %7s %11s %11s  %s%s\n", info->name, info->backend, info->isa[0] ? info->isa : info->kernels, threads, memory,
           free_memory, info->description, info->is_software ? " (emulated, used only where named)" : "");
    print_gpu(info);
}

// Kinds of devices that are built in, of which there are none here.
static int print_absent(const tn_host *host)
{
    tn_backend_info backend;
    for (uint32_t i = 0; i < tn_host_backend_count(host); i++) {
        if (tn_host_backend_info(host, i, &backend) != TN_OK) return tn_cli_fail_status(NULL);
        if (backend.absent[0]) printf("%s: not available: %s\n", backend.name, backend.absent);
    }
    return 0;
}

static int print_table(tn_cli *cli, tn_host *host)
{
    char memory[24], l1[24], l2[24], l3[24];
    tn_device_info info;
    printf("%-8s %-8s %-12s %7s %11s %11s  %s\n", "device", "backend", "kernels", "threads", "memory", "free", "name");
    for (uint32_t i = 0; i < tn_host_device_count(host); i++) {
        if (tn_host_device_info(host, i, &info) != TN_OK) return tn_cli_fail_status(NULL);
        print_device(&info);
        if (tn_cli_given(&cli->options, TN_OPT_KERNELS) && !info.unusable[0] &&
            tn_host_device_kernels(host, i, print_kernel, &cli->progress) != TN_OK) {
            return tn_cli_fail_status(NULL);
        }
    }
    const int rc = print_absent(host);
    if (rc) return rc;
    tn_host_info h;
    tn_host_get_info(host, &h);
    tn_cli_format_bytes(h.l1d_bytes, l1, sizeof l1);
    tn_cli_format_bytes(h.l2_bytes, l2, sizeof l2);
    tn_cli_format_bytes(h.l3_bytes, l3, sizeof l3);
    tn_cli_format_bytes(h.memory_bytes, memory, sizeof memory);
    printf("\nhost: %s, packages %u, NUMA nodes %u, cores %u, processors %u, cores at once %u\n", h.cpu_model[0] ? h.cpu_model : "CPU",
           h.n_packages, h.n_numa_nodes, h.n_cores, h.n_processors, h.n_cores_at_once);
    printf("      caches L1d %s, L2 %s, L3 %s, memory %s\n", l1, l2, l3, memory);
    return 0;
}

static json_t *device_json(const tn_device_info *info)
{
    json_t *device =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b}", "name", info->name, "backend", info->backend, "description",
                  info->description, "isa", info->isa, "n_threads", (int)info->n_threads, "memory_bytes", (json_int_t)info->memory_bytes,
                  "memory_free_bytes", (json_int_t)info->memory_free_bytes, "is_software", (int)info->is_software);
    const struct {
        const char *key, *text;
    } texts[] = {{"driver", info->driver},
                 {"bus_id", info->bus_id},
                 {"kernel_form", info->kernels},
                 {"integer_dot", info->integer_dot},
                 {"unusable", info->unusable}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].text[0]) json_object_set_new(device, texts[i].key, json_string(texts[i].text));
    }
    if (info->subgroup_size) json_object_set_new(device, "subgroup_size", json_integer(info->subgroup_size));
    return device;
}

static json_t *absent_json(const tn_host *host)
{
    json_t *absent = json_object();
    tn_backend_info backend;
    for (uint32_t i = 0; i < tn_host_backend_count(host); i++) {
        if (tn_host_backend_info(host, i, &backend) == TN_OK && backend.absent[0])
            json_object_set_new(absent, backend.name, json_string(backend.absent));
    }
    return absent;
}

static int print_json(tn_cli *cli, tn_host *host)
{
    json_t *devices = json_array();
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < tn_host_device_count(host) && status == TN_OK; i++) {
        tn_device_info info;
        status = tn_host_device_info(host, i, &info);
        if (status != TN_OK) break;
        json_t *device = device_json(&info);
        if (tn_cli_given(&cli->options, TN_OPT_KERNELS) && !info.unusable[0]) {
            json_t *kernels = json_array();
            status = tn_host_device_kernels(host, i, add_kernel, kernels);
            tn_cli_progress_end(&cli->progress);
            json_object_set_new(device, "kernels", kernels);
        }
        json_array_append_new(devices, device);
    }
    if (status != TN_OK) {
        json_decref(devices);
        return tn_cli_fail_status(NULL);
    }
    tn_host_info h;
    tn_host_get_info(host, &h);
    json_t *host_json =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "cpu_model", h.cpu_model, "n_packages", (json_int_t)h.n_packages,
                  "n_numa_nodes", (json_int_t)h.n_numa_nodes, "n_cores", (json_int_t)h.n_cores, "n_processors", (json_int_t)h.n_processors,
                  "n_cores_at_once", (json_int_t)h.n_cores_at_once, "l1d_bytes", (json_int_t)h.l1d_bytes, "l2_bytes",
                  (json_int_t)h.l2_bytes, "l3_bytes", (json_int_t)h.l3_bytes, "memory_bytes", (json_int_t)h.memory_bytes);
    return tn_cli_json_print(json_pack("{s:o, s:o, s:o}", "devices", devices, "not_available", absent_json(host), "host", host_json));
}

int tn_cli_devices(tn_cli *cli)
{
    tn_cli_engine engine = {0};
    int rc = tn_cli_engine_open_host(cli, &engine, tn_cli_int(&cli->options, TN_OPT_THREADS));
    if (rc == 0 && tn_cli_given(&cli->options, TN_OPT_CALIBRATE))
        rc = tn_cli_devices_calibrate(cli, engine.host, engine.pack_cache[0] != 0);
    else if (rc == 0)
        rc = cli->json ? print_json(cli, engine.host) : print_table(cli, engine.host);
    tn_cli_engine_close(&engine);
    return rc;
}
