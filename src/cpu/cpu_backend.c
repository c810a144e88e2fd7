// The CPU backend's table: devices and buffers. Weights and programs are in files of their own.
#include "cpu/cpu_backend.h"

#include "backend/builtin.h"
#include "backend/desc_check.h"
#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static tn_status device_count(const tn_backend_host *host, uint32_t *out_count)
{
    *out_count = host->n_cpu_shares;
    return TN_OK;
}

static tn_status share_of(const tn_backend_host *host, uint32_t index, const tn_cpu_share **out_share)
{
    if (index >= host->n_cpu_shares)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no CPU device %u: this host has %u", (unsigned)index, (unsigned)host->n_cpu_shares);
    *out_share = &host->cpu_shares[index];
    return TN_OK;
}

// The levels that the CPU has and the host allows.
static tn_status levels_of(const tn_backend_host *host, tn_isa_set *out_levels)
{
    tn_isa_set levels = tn_isa_available();
    if (host->cpu_isa_max) {
        tn_isa max;
        TN_TRY(tn_isa_parse(host->cpu_isa_max, &max));
        levels = tn_isa_set_up_to(levels, max);
    }
    *out_levels = levels;
    return TN_OK;
}

// The processor's product name, else the machine's.
static void describe_processor(char *text, size_t capacity)
{
#if defined(__x86_64__)
    unsigned regs[12];
    unsigned top = (unsigned)__get_cpuid_max(0x80000000u, NULL);
    if (top >= 0x80000004u) {
        for (unsigned i = 0; i < 3; i++) __get_cpuid(0x80000002u + i, &regs[4 * i], &regs[4 * i + 1], &regs[4 * i + 2], &regs[4 * i + 3]);
        char brand[49] = {0};
        memcpy(brand, regs, 48);
        const char *start = brand + strspn(brand, " ");
        size_t n = strlen(start);
        while (n > 0 && start[n - 1] == ' ') n--;
        if (n > 0) {
            snprintf(text, capacity, "%.*s", (int)n, start);
            return;
        }
    }
#endif
    struct utsname machine;
    snprintf(text, capacity, "%s", uname(&machine) == 0 ? machine.machine : "CPU");
}

static uint64_t memory_total(const tn_cpu_share *share)
{
    if (share->memory_bytes) return share->memory_bytes;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
}

static uint64_t memory_available(void)
{
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return UINT64_MAX;
    char line[128];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) found = sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1;
    fclose(file);
    return found && kib < UINT64_MAX / 1024 ? kib * 1024 : UINT64_MAX;
}

static uint64_t memory_free(uint64_t total)
{
    const uint64_t bytes = memory_available();
    return bytes < total ? bytes : total;
}

// Pages of the process: all that are in memory, and those of them that it need not keep there, of mapped files.
static bool resident_bytes(uint64_t *out_all, uint64_t *out_files)
{
    unsigned long all = 0, files = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return false;
    const bool found = fscanf(file, "%*u %lu %lu", &all, &files) == 2;
    fclose(file);
    const long page_bytes = sysconf(_SC_PAGESIZE);
    *out_all = (uint64_t)all * (uint64_t)page_bytes;
    *out_files = (uint64_t)files * (uint64_t)page_bytes;
    return found && page_bytes > 0;
}

uint64_t tn_cpu_memory_left(const tn_cpu_device *device)
{
    uint64_t all, files;
    return resident_bytes(&all, &files) && all < device->memory_bytes ? memory_free(device->memory_bytes - all) : 0;
}

// What the system has without swapping, within the limit of the process.
static tn_status device_memory(tn_device *base, uint64_t *out_total, uint64_t *out_free)
{
    const tn_cpu_device *device = tn_cpu_device_of(base);
    uint64_t all, files;
    const uint64_t kept = resident_bytes(&all, &files) && files < all ? all - files : 0;
    *out_total = device->host_bytes;
    *out_free = memory_free(kept < device->host_bytes ? device->host_bytes - kept : 0);
    return TN_OK;
}

static tn_status device_describe(const tn_backend_host *host, uint32_t index, tn_device_desc *out_desc)
{
    *out_desc = (tn_device_desc){0};
    const tn_cpu_share *share = NULL;
    tn_isa_set levels;
    TN_TRY(share_of(host, index, &share));
    TN_TRY(levels_of(host, &levels));
    snprintf(out_desc->name, sizeof out_desc->name, "cpu%u", (unsigned)index);
    describe_processor(out_desc->description, sizeof out_desc->description);
    snprintf(out_desc->isa, sizeof out_desc->isa, "%s", tn_isa_name(tn_isa_set_highest(levels)));
    out_desc->n_threads = share->n_threads;
    out_desc->memory_bytes = memory_total(share);
    out_desc->memory_free_bytes = memory_free(out_desc->memory_bytes * host->n_cpu_shares) / host->n_cpu_shares;
    return TN_OK;
}

// One worker tests: its rounding mode is the one that kernels run in.
static tn_status selftest_job(void *ctx, uint32_t thread, uint32_t n_threads)
{
    (void)n_threads;
    return thread == 0 ? tn_cpu_selftest(ctx) : TN_OK;
}

static tn_status skip_of(const char *name, tn_cpu_skip_state *out_skip)
{
    *out_skip = TN_CPU_SKIP_COUNTING;
    if (!name || strcmp(name, "auto") == 0) return TN_OK;
    if (strcmp(name, "on") != 0 && strcmp(name, "off") != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "squared-ReLU skipping cannot be \"%.40s\": use auto, on or off", name);
    *out_skip = name[1] == 'n' ? TN_CPU_SKIP_ALWAYS : TN_CPU_SKIP_NEVER;
    return TN_OK;
}

static void device_close(tn_device *base)
{
    if (!base) return;
    tn_cpu_device *device = tn_cpu_device_of(base);
    tn_cpu_pool_destroy(device->pool);
    tn_free(device);
}

static tn_status device_open(const tn_backend_host *host, uint32_t index, tn_device **out_device)
{
    *out_device = NULL;
    tn_status status;
    const tn_cpu_share *share = NULL;
    tn_isa_set levels;
    TN_TRY(share_of(host, index, &share));
    TN_TRY(levels_of(host, &levels));
    tn_cpu_device *device;
    TN_TRY(tn_alloc_zero(1, sizeof *device, &device));
    device->base.backend = &tn_cpu_backend_table;
    snprintf(device->name, sizeof device->name, "cpu%u", (unsigned)index);
    device->base.name = device->name;
    device->base.takes_host_memory = true;
    device->levels = levels;
    device->log = host->log;
    device->share = *share;
    device->cache_bytes = share->cache_bytes;
    device->memory_bytes = memory_total(share);
    device->host_bytes = device->memory_bytes * host->n_cpu_shares;
    TN_TRY_GOTO(tn_cpu_packing_fix(device, host->cpu_packing ? host->cpu_packing : ""));
    TN_TRY_GOTO(skip_of(host->cpu_skip, &device->skip));
    tn_cpu_dispatch(levels, &device->kernels);
    TN_TRY_GOTO(tn_cpu_pool_create(share, device->name, &host->log, &device->pool));
    TN_TRY_GOTO(tn_cpu_pool_run(device->pool, selftest_job, &device->kernels));
    *out_device = &device->base;
    return TN_OK;
fail:
    device_close(&device->base);
    return status;
}

void (*tn_cpu_kernel_chosen(const tn_cpu_kernels *kernels, tn_kernel_slot slot))(void)
{
    switch (slot) {
#define CHOSEN_CASE(name, type)                                                                                                            \
    case TN_SLOT_##name: return (void (*)(void))kernels->name;
        TN_KERNEL_SLOTS(CHOSEN_CASE)
#undef CHOSEN_CASE
    case TN_SLOT_COUNT_: break;
    }
    return NULL;
}

static tn_status device_kernels(tn_device *base, void (*line)(void *user, const char *kernel, bool chosen), void *user)
{
    tn_cpu_device *device = tn_cpu_device_of(base);
    uint32_t n;
    const tn_kernel_row *rows = tn_cpu_kernel_rows(&n);
    for (uint32_t i = 0; i < n; i++) line(user, rows[i].name, rows[i].function == tn_cpu_kernel_chosen(&device->kernels, rows[i].slot));
    return TN_OK;
}

// From here on pages come from the system as zeros when they are first touched: a long context costs what is used of it, and a page lies on
// the NUMA node of the worker that writes it. Smaller buffers keep the allocator's checks.
static const uint64_t mapped_bytes_min = (uint64_t)4 << 20;

// Huge pages: with 4 KiB ones a core spends a fifth of the memory's rate on looking up addresses (24 instead of 30 GB/s on Zen 4). They are
// only asked for; a system that has none gives small ones.
enum { HUGE_PAGE_BYTES = 2 << 20 };

// Maps more than is wanted, so that the part kept begins with a huge page, and gives the rest back.
static tn_status map_pages(uint64_t size_bytes, void *out_pointer)
{
    const size_t slack = HUGE_PAGE_BYTES, wanted = (size_t)size_bytes;
    uint8_t *pages =
        size_bytes > SIZE_MAX - slack ? MAP_FAILED : mmap(NULL, wanted + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return tn_fail_native(TN_OUT_OF_MEMORY, errno,
                              "%" PRIu64 " MiB of memory could not be had: ask for a shorter context or fewer sequences", size_bytes >> 20);
    const size_t before = (slack - (uintptr_t)pages % slack) % slack, page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = (wanted + page - 1) / page * page;
    if (before > 0) munmap(pages, before);
    if (slack + wanted > before + used) munmap(pages + before + used, slack + wanted - before - used);
    pages += before;
    madvise(pages, wanted, MADV_HUGEPAGE);
    memcpy(out_pointer, &pages, sizeof pages);
    return TN_OK;
}

static tn_status buffer_create(tn_device *device, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    tn_status status;
    tn_cpu_buffer *buffer;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    buffer->base.device = device;
    buffer->base.size_bytes = size_bytes;
    buffer->is_mapped = size_bytes >= mapped_bytes_min;
    if (buffer->is_mapped) {
        TN_TRY_GOTO(map_pages(size_bytes, &buffer->data));
    } else {
        TN_TRY_GOTO(tn_alloc_aligned((size_t)size_bytes, 64, &buffer->data));
    }
    *out_buffer = &buffer->base;
    return TN_OK;
fail:
    tn_free(buffer);
    return status;
}

static tn_status buffer_map(tn_device *device, const void *bytes, uint64_t size_bytes, tn_buffer **out_buffer)
{
    *out_buffer = NULL;
    if (!bytes || (uintptr_t)bytes % 64 != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "memory for a buffer is missing or does not begin at a multiple of 64");
    if (tn_cpu_device_of(device)->share.bind_memory)
        return tn_fail(TN_UNSUPPORTED, "pages of a file lie where they were first read, not with the threads of %s that need them",
                       tn_cpu_device_of(device)->name);
    tn_cpu_buffer *buffer;
    TN_TRY(tn_alloc_zero(1, sizeof *buffer, &buffer));
    *buffer = (tn_cpu_buffer){.base = {device, size_bytes}, .data = (uint8_t *)(uintptr_t)bytes, .is_borrowed = true};
    *out_buffer = &buffer->base;
    return TN_OK;
}

static void buffer_destroy(tn_buffer *base)
{
    if (!base) return;
    tn_cpu_buffer *buffer = (tn_cpu_buffer *)base;
    if (buffer->is_borrowed) {
        tn_free(buffer);
        return;
    }
    if (buffer->is_mapped) {
        munmap(buffer->data, (size_t)base->size_bytes);
    } else {
        tn_free(buffer->data);
    }
    tn_free(buffer);
}

static tn_status buffer_write(tn_buffer *buffer, uint64_t offset_bytes, const void *src, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(buffer->device, buffer, offset_bytes, n_bytes, "write to a buffer"));
    if (((tn_cpu_buffer *)buffer)->is_borrowed) return tn_fail(TN_INVALID_ARGUMENT, "write to a buffer: its memory is read-only");
    if (n_bytes) memcpy(tn_cpu_buffer_data(buffer) + offset_bytes, src, (size_t)n_bytes);
    return TN_OK;
}

static tn_status buffer_read(tn_buffer *buffer, uint64_t offset_bytes, void *dst, uint64_t n_bytes)
{
    TN_TRY(tn_buffer_check(buffer->device, buffer, offset_bytes, n_bytes, "read from a buffer"));
    if (n_bytes) memcpy(dst, tn_cpu_buffer_data(buffer) + offset_bytes, (size_t)n_bytes);
    return TN_OK;
}

static tn_status fence_wait(tn_device *device, tn_fence fence) { return tn_cpu_pool_wait(tn_cpu_device_of(device)->pool, fence); }

const tn_backend tn_cpu_backend_table = {
    .abi_version = TN_BACKEND_ABI,
    .struct_size = sizeof(tn_backend),
    .name = "cpu",
    .pack_id = TN_CPU_PACK_ID,
    .device_count = device_count,
    .device_describe = device_describe,
    .device_open = device_open,
    .device_close = device_close,
    .device_kernels = device_kernels,
    .device_memory = device_memory,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .buffer_write = buffer_write,
    .buffer_read = buffer_read,
    .buffer_map = buffer_map,
    .packing_assume = tn_cpu_packing_assume,
    .weight_layout = tn_cpu_weight_layout,
    .weight_pack = tn_cpu_weight_pack,
    .op_supported = tn_cpu_op_supported,
    .program_check = tn_cpu_program_check,
    .program_create = tn_cpu_program_create,
    .program_destroy = tn_cpu_program_destroy,
    .program_scratch_bytes = tn_cpu_program_scratch_bytes,
    .program_submit = tn_cpu_program_submit,
    .fence_wait = fence_wait,
    .device_measure = tn_cpu_device_measure,
};
