// Cores to CPU devices.
#include "runtime/host_shares.h"

#include "base/alloc.h"

static tn_status bind_thread(void *ctx, uint32_t thread)
{
    const tn_share_cores *cores = ctx;
    // A thread for each core has its own. Fewer or more are shared out by the operating system: pinned to the first cores, two processes
    // that take a part each would crowd there while other cores idle.
    if (cores->n_threads != cores->n) return TN_OK;
    return tn_topology_bind(cores->topology, cores->first + thread);
}

static uint32_t node_of(const tn_share_cores *cores, uint32_t thread)
{
    uint32_t n;
    return tn_topology_cores(cores->topology, &n)[cores->first + thread].numa_node;
}

static tn_status bind_memory(void *ctx, uint32_t thread, void *bytes, size_t n_bytes)
{
    const tn_share_cores *cores = ctx;
    return tn_topology_bind_memory(cores->topology, node_of(cores, thread), bytes, n_bytes);
}

// Cores that have a thread unasked: the fastest kind, which comes first. Slower ones would be waited for at every barrier.
static uint32_t n_fast_cores(const tn_topology *topology)
{
    tn_topology_summary summary;
    tn_topology_summarise(topology, &summary);
    return summary.n_fast_cores;
}

// The part of the first `n_cores` cores that is device i's.
static tn_share_cores cores_of_part(const tn_topology *topology, uint32_t n_cores, uint32_t i, uint32_t n_devices)
{
    const uint32_t first = (uint32_t)((uint64_t)i * n_cores / n_devices), end = (uint32_t)((uint64_t)(i + 1) * n_cores / n_devices);
    return (tn_share_cores){.topology = topology, .first = first, .n = end - first};
}

// Whether core `core` is the first one of its node.
static bool begins_node(const tn_core *cores, uint32_t core)
{
    for (uint32_t i = 0; i < core; i++) {
        if (cores[i].numa_node == cores[core].numa_node) return false;
    }
    return true;
}

// Nodes that the first `n_cores` cores are at, up to the one that core `*at` begins: memory without processors of its own (HBM, CXL) is no
// device. *at: the core that begins the last one counted.
static uint32_t count_nodes(const tn_topology *topology, uint32_t n_cores, uint32_t most, uint32_t *at)
{
    uint32_t n_all, n = 0;
    const tn_core *cores = tn_topology_cores(topology, &n_all);
    for (uint32_t i = 0; i < n_cores && n < most; i++) {
        if (!begins_node(cores, i)) continue;
        *at = i;
        n++;
    }
    return n;
}

// The cores of the i-th node that has some among the first `n_cores`, which are ordered by node.
static tn_share_cores cores_of_node(const tn_topology *topology, uint32_t n_cores, uint32_t i)
{
    uint32_t n_all, first = 0, n = 0;
    const tn_core *cores = tn_topology_cores(topology, &n_all);
    count_nodes(topology, n_cores, i + 1, &first);
    while (first + n < n_cores && cores[first + n].numa_node == cores[first].numa_node) n++;
    return (tn_share_cores){.topology = topology, .first = first, .n = n};
}

static bool spans_nodes(const tn_share_cores *cores)
{
    for (uint32_t i = 1; i < cores->n; i++) {
        if (node_of(cores, i) != node_of(cores, 0)) return true;
    }
    return false;
}

static uint64_t memory_of(const tn_topology *topology, const tn_share_cores *cores, bool by_node, uint32_t n_shares)
{
    tn_topology_summary summary;
    uint32_t n_nodes;
    tn_topology_summarise(topology, &summary);
    const tn_numa_node *nodes = tn_topology_nodes(topology, &n_nodes);
    if (!by_node || n_nodes == 0 || cores->n == 0) return summary.memory_bytes / n_shares;
    uint64_t all = 0;
    for (uint32_t i = 0; i < n_nodes; i++) all += nodes[i].memory_bytes;
    const uint64_t node = nodes[node_of(cores, 0)].memory_bytes;
    if (node == 0) return summary.memory_bytes / n_shares;
    // A limit of the process is for all nodes together.
    return all > summary.memory_bytes ? (uint64_t)((double)node / (double)all * (double)summary.memory_bytes) : node;
}

static void fill(const tn_topology *topology, bool by_node, bool no_bind, tn_host_shares *shares)
{
    tn_topology_summary summary;
    tn_topology_summarise(topology, &summary);
    for (uint32_t i = 0; i < shares->n; i++) {
        tn_share_cores *cores = &shares->cores[i];
        const bool pinned = !no_bind && cores->n_threads == cores->n;
        shares->shares[i] = (tn_cpu_share){
            .n_threads = cores->n_threads,
            .memory_bytes = memory_of(topology, cores, by_node, shares->n),
            .cache_bytes = summary.l3_bytes ? summary.l3_bytes : summary.l2_bytes,
            .bind = no_bind ? NULL : bind_thread,
            .bind_memory = pinned && spans_nodes(cores) ? bind_memory : NULL,
            .bind_ctx = cores,
        };
    }
}

// Devices and threads that are to be; `wanted` 0: the default.
static tn_status count(const tn_topology *topology, uint32_t wanted, uint32_t *n_devices, uint32_t *n_threads)
{
    uint32_t n_all, first;
    tn_topology_cores(topology, &n_all);
    const uint32_t n_fast = n_fast_cores(topology), quota = tn_topology_core_quota(topology), n_cores = quota < n_fast ? quota : n_fast;
    if (*n_devices == TN_CPU_DEVICES_NUMA) *n_devices = count_nodes(topology, wanted > n_fast ? n_all : n_fast, UINT32_MAX, &first);
    *n_threads = wanted ? wanted : n_cores < *n_devices ? *n_devices : n_cores;
    if (*n_threads > TN_HOST_THREADS_MAX)
        return tn_fail(TN_INVALID_ARGUMENT, "%u threads are too many: at most %u", (unsigned)*n_threads, (unsigned)TN_HOST_THREADS_MAX);
    if (*n_devices <= *n_threads) return TN_OK;
    return tn_fail(TN_INVALID_ARGUMENT, "%u CPU devices cannot share %u threads: ask for at least one thread each", (unsigned)*n_devices,
                   (unsigned)*n_threads);
}

tn_status tn_host_shares_create(const tn_topology *topology, uint32_t n_devices, uint32_t n_threads, bool no_bind,
                                tn_host_shares *out_shares)
{
    const bool by_node = n_devices == TN_CPU_DEVICES_NUMA;
    uint32_t n_all, n_wanted = n_threads;
    tn_status status;
    tn_host_shares shares = {0};
    *out_shares = shares;
    TN_TRY(count(topology, n_wanted, &n_devices, &n_threads));
    tn_topology_cores(topology, &n_all);
    const uint32_t n_fast = n_fast_cores(topology), n_cores = n_threads > n_fast ? n_all : n_fast;
    TN_TRY_GOTO(tn_alloc_zero(n_devices, sizeof *shares.shares, &shares.shares));
    TN_TRY_GOTO(tn_alloc_zero(n_devices, sizeof *shares.cores, &shares.cores));
    for (uint32_t i = 0; i < n_devices; i++) {
        tn_share_cores *cores = &shares.cores[shares.n++];
        *cores = by_node ? cores_of_node(topology, n_cores, i) : cores_of_part(topology, n_cores, i, n_devices);
        cores->n_threads = (uint32_t)((uint64_t)(i + 1) * n_threads / n_devices - (uint64_t)i * n_threads / n_devices);
        if (by_node && n_threads == n_cores) cores->n_threads = cores->n; // nodes may have unlike numbers of them
    }
    fill(topology, by_node, no_bind, &shares);
    *out_shares = shares;
    return TN_OK;
fail:
    tn_host_shares_deinit(&shares);
    return status;
}

void tn_host_shares_deinit(tn_host_shares *shares)
{
    tn_free(shares->shares);
    tn_free(shares->cores);
    *shares = (tn_host_shares){0};
}
