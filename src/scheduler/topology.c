// The host's topology through hwloc, the only file that includes it.
#include "scheduler/topology.h"

#include "base/alloc.h"
#include "scheduler/cgroup.h"

#include <errno.h>
#include <hwloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A core with what binding needs.
typedef struct core_entry {
    tn_core core;
    hwloc_const_cpuset_t cpuset; // borrowed from the topology
} core_entry;

static const size_t hwloc_bytes_max = (size_t)4 << 20;

struct tn_topology {
    hwloc_topology_t hwloc;
    uint32_t n_cores, core_quota;
    core_entry *entries; // [n_cores], in the order of tn_topology_cores
    tn_core *cores;      // the same without the sets
    tn_topology_summary summary;
};

static tn_status hwloc_failed(const char *what)
{
    int error = errno;
    return tn_fail_native(error == ENOMEM ? TN_OUT_OF_MEMORY : TN_INTERNAL, error, "hwloc: %s: %s", what, strerror(error));
}

// hwloc does not look whether it got its memory, and crashes where it did not: so it is only called where there is more than the
// largest machines take.
static tn_status check_memory(void)
{
    void *probe;
    TN_TRY(tn_alloc(hwloc_bytes_max, 1, &probe));
    tn_free(probe);
    return TN_OK;
}

static tn_status load(tn_topology *topology, const char *synthetic)
{
    TN_TRY(check_memory());
    if (hwloc_topology_init(&topology->hwloc) != 0) {
        topology->hwloc = NULL;
        return hwloc_failed("cannot start");
    }
    if (synthetic) {
        if (hwloc_topology_set_synthetic(topology->hwloc, synthetic) != 0)
            return tn_fail(TN_INVALID_ARGUMENT, "'%s' describes no machine: write it like \"pack:2 numa:1 core:8 pu:2\"", synthetic);
    } else if (hwloc_topology_set_flags(topology->hwloc, HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING) !=
               0) {
        return hwloc_failed("cannot keep to the process' processors");
    }
    return hwloc_topology_load(topology->hwloc) == 0 ? TN_OK : hwloc_failed("cannot read the topology");
}

// The rank of the core's kind, -1 where the machine does not say.
static int32_t kind_of(hwloc_topology_t hwloc, hwloc_const_cpuset_t cpuset)
{
    int efficiency = -1, kind = hwloc_cpukinds_get_by_cpuset(hwloc, cpuset, 0);
    if (kind < 0 || hwloc_cpukinds_get_info(hwloc, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0) != 0) return -1;
    return efficiency;
}

static void describe_core(hwloc_topology_t hwloc, hwloc_obj_t obj, core_entry *entry)
{
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(hwloc, HWLOC_OBJ_PACKAGE, obj);
    int node = hwloc_bitmap_first(obj->nodeset), pu = hwloc_bitmap_first(obj->cpuset);
    entry->cpuset = obj->cpuset;
    entry->core = (tn_core){
        .os_index = pu < 0 ? 0 : (uint32_t)pu,
        .n_pus = (uint32_t)hwloc_bitmap_weight(obj->cpuset),
        .numa_node = node < 0 ? 0 : (uint32_t)node,
        .package = package ? package->logical_index : 0,
        .kind = kind_of(hwloc, obj->cpuset),
    };
}

static int compare_u32(uint32_t a, uint32_t b) { return a < b ? -1 : a > b; }

static int by_preference(const void *left, const void *right)
{
    const tn_core *a = &((const core_entry *)left)->core, *b = &((const core_entry *)right)->core;
    if (a->kind != b->kind) return a->kind > b->kind ? -1 : 1;
    if (a->numa_node != b->numa_node) return compare_u32(a->numa_node, b->numa_node);
    if (a->package != b->package) return compare_u32(a->package, b->package);
    return compare_u32(a->os_index, b->os_index);
}

static tn_status list_cores(tn_topology *topology)
{
    hwloc_topology_t hwloc = topology->hwloc;
    hwloc_obj_type_t type = HWLOC_OBJ_CORE;
    int n = hwloc_get_nbobjs_by_type(hwloc, type);
    if (n <= 0) { // some virtual machines tell of processing units only
        type = HWLOC_OBJ_PU;
        n = hwloc_get_nbobjs_by_type(hwloc, type);
    }
    if (n <= 0) return tn_fail(TN_INTERNAL, "hwloc finds no core that this process may use");
    TN_TRY(tn_alloc_zero((size_t)n, sizeof *topology->entries, &topology->entries));
    TN_TRY(tn_alloc_zero((size_t)n, sizeof *topology->cores, &topology->cores));
    for (int i = 0; i < n; i++) {
        hwloc_obj_t obj = hwloc_get_obj_by_type(hwloc, type, (unsigned)i);
        if (!obj || hwloc_bitmap_iszero(obj->cpuset)) continue;
        describe_core(hwloc, obj, &topology->entries[topology->n_cores++]);
    }
    qsort(topology->entries, topology->n_cores, sizeof *topology->entries, by_preference);
    for (uint32_t i = 0; i < topology->n_cores; i++) topology->cores[i] = topology->entries[i].core;
    return TN_OK;
}

static uint64_t cache_bytes(hwloc_topology_t hwloc, hwloc_obj_type_t type)
{
    hwloc_obj_t cache = hwloc_get_obj_by_type(hwloc, type, 0);
    return cache ? cache->attr->cache.size : 0;
}

static uint32_t count_of(hwloc_topology_t hwloc, hwloc_obj_type_t type)
{
    int n = hwloc_get_nbobjs_by_type(hwloc, type);
    return n > 0 ? (uint32_t)n : 0;
}

static uint64_t numa_memory(hwloc_topology_t hwloc)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < count_of(hwloc, HWLOC_OBJ_NUMANODE); i++)
        sum += hwloc_get_obj_by_type(hwloc, HWLOC_OBJ_NUMANODE, i)->attr->numanode.local_memory;
    return sum;
}

static void summarise(tn_topology *topology, const tn_cgroup_limits *limits)
{
    hwloc_topology_t hwloc = topology->hwloc;
    tn_topology_summary *summary = &topology->summary;
    hwloc_obj_t package = hwloc_get_obj_by_type(hwloc, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    snprintf(summary->cpu_model, sizeof summary->cpu_model, "%s", model ? model : "");
    summary->n_packages = count_of(hwloc, HWLOC_OBJ_PACKAGE);
    summary->n_numa_nodes = count_of(hwloc, HWLOC_OBJ_NUMANODE);
    summary->n_cores = topology->n_cores;
    for (uint32_t i = 0; i < topology->n_cores; i++) summary->n_pus += topology->cores[i].n_pus;
    summary->l1d_bytes = cache_bytes(hwloc, HWLOC_OBJ_L1CACHE);
    summary->l2_bytes = cache_bytes(hwloc, HWLOC_OBJ_L2CACHE);
    summary->l3_bytes = cache_bytes(hwloc, HWLOC_OBJ_L3CACHE);

    uint64_t memory = numa_memory(hwloc);
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t physical = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    // Where one node is all there is, the kernel's total is right; the node's own figure may leave out memory added at run time.
    bool one_node = hwloc_topology_is_thissystem(hwloc) && summary->n_numa_nodes <= 1;
    if (memory == 0 || (one_node && memory < physical)) memory = physical;
    summary->memory_bytes = limits->memory_bytes && limits->memory_bytes < memory ? limits->memory_bytes : memory;
    topology->core_quota = limits->n_cpus && limits->n_cpus < topology->n_cores ? limits->n_cpus : topology->n_cores;
}

tn_status tn_topology_create(const char *synthetic, tn_topology **out_topology)
{
    *out_topology = NULL;
    tn_status status;
    tn_topology *topology;
    TN_TRY(tn_alloc_zero(1, sizeof *topology, &topology));
    TN_TRY_GOTO(load(topology, synthetic));
    TN_TRY_GOTO(list_cores(topology));
    // A made-up machine has no control groups.
    tn_cgroup_limits limits = synthetic ? (tn_cgroup_limits){0} : tn_cgroup_read("");
    summarise(topology, &limits);
    *out_topology = topology;
    return TN_OK;
fail:
    tn_topology_destroy(topology);
    return status;
}

void tn_topology_destroy(tn_topology *topology)
{
    if (!topology) return;
    if (topology->hwloc) hwloc_topology_destroy(topology->hwloc);
    tn_free(topology->entries);
    tn_free(topology->cores);
    tn_free(topology);
}

void tn_topology_summarise(const tn_topology *topology, tn_topology_summary *out_summary) { *out_summary = topology->summary; }

const tn_core *tn_topology_cores(const tn_topology *topology, uint32_t *out_n)
{
    *out_n = topology->n_cores;
    return topology->cores;
}

uint32_t tn_topology_core_quota(const tn_topology *topology) { return topology->core_quota; }

tn_status tn_topology_bind(const tn_topology *topology, uint32_t index)
{
    if (index >= topology->n_cores)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no core %u: this process may use %u", (unsigned)index, (unsigned)topology->n_cores);
    if (!hwloc_topology_is_thissystem(topology->hwloc))
        return tn_fail(TN_UNSUPPORTED, "threads cannot be bound to the cores of a made-up machine");
    if (hwloc_set_cpubind(topology->hwloc, topology->entries[index].cpuset, HWLOC_CPUBIND_THREAD) == 0) return TN_OK;
    int error = errno;
    return tn_fail_native(error == ENOSYS ? TN_UNSUPPORTED : TN_UNAVAILABLE, error, "a thread could not be bound to core %u: %s",
                          (unsigned)topology->cores[index].os_index, strerror(error));
}
