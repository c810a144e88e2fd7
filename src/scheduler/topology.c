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
    uint32_t n_cores, core_quota, n_nodes;
    core_entry *entries; // [n_cores], in the order of tn_topology_cores
    tn_core *cores;      // the same without the sets
    tn_numa_node *nodes; // [n_nodes]
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

static bool is_this_machine(const tn_topology_source *source) { return !source->synthetic && !source->xml; }

// Where the topology comes from, told to hwloc.
static tn_status set_source(hwloc_topology_t hwloc, const tn_topology_source *source)
{
    const unsigned long flags = HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING;
    // Bridges, and devices that can be somebody's GPU.
    if (source->with_pci && hwloc_topology_set_io_types_filter(hwloc, HWLOC_TYPE_FILTER_KEEP_IMPORTANT) != 0)
        return hwloc_failed("cannot look for PCI devices");
    if (is_this_machine(source) && hwloc_topology_set_flags(hwloc, flags) != 0)
        return hwloc_failed("cannot keep to the process' processors");
    if (source->synthetic && hwloc_topology_set_synthetic(hwloc, source->synthetic) != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "'%s' describes no machine: write it like \"pack:2 numa:1 core:8 pu:2\"", source->synthetic);
    if (source->xml && hwloc_topology_set_xml(hwloc, source->xml) != 0)
        return tn_fail(TN_INVALID_ARGUMENT, "%s: is no machine in hwloc's XML: write one with lstopo --of xml", source->xml);
    return TN_OK;
}

// Leaves out the processing units that are not in the list.
static tn_status restrict_to(hwloc_topology_t hwloc, const char *cpuset)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (!set) return tn_fail(TN_OUT_OF_MEMORY, "hwloc: no memory for a set of processors");
    const bool left = hwloc_bitmap_list_sscanf(set, cpuset) == 0 && hwloc_topology_restrict(hwloc, set, 0) == 0;
    hwloc_bitmap_free(set);
    return left ? TN_OK : tn_fail(TN_INVALID_ARGUMENT, "none of the machine's processors is in '%s'", cpuset);
}

static tn_status load(tn_topology *topology, const tn_topology_source *source)
{
    TN_TRY(check_memory());
    if (hwloc_topology_init(&topology->hwloc) != 0) {
        topology->hwloc = NULL;
        return hwloc_failed("cannot start");
    }
    TN_TRY(set_source(topology->hwloc, source));
    if (hwloc_topology_load(topology->hwloc) != 0) {
        if (source->xml)
            return tn_fail(TN_INVALID_ARGUMENT, "%s: is no machine in hwloc's XML: write one with lstopo --of xml", source->xml);
        return hwloc_failed("cannot read the topology");
    }
    return source->cpuset ? restrict_to(topology->hwloc, source->cpuset) : TN_OK;
}

// The rank of the core's kind, -1 where the machine does not say.
static int32_t kind_of(hwloc_topology_t hwloc, hwloc_const_cpuset_t cpuset)
{
    int efficiency = -1, kind = hwloc_cpukinds_get_by_cpuset(hwloc, cpuset, 0);
    if (kind < 0 || hwloc_cpukinds_get_info(hwloc, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0) != 0) return -1;
    return efficiency;
}

// The node that memory of these processors is nearest to: index into tn_topology_nodes. Nodes without processors are nobody's.
static uint32_t node_of(const tn_topology *topology, hwloc_const_bitmap_t nodeset)
{
    for (uint32_t i = 0; i < topology->n_nodes; i++) {
        if (hwloc_bitmap_isset(nodeset, topology->nodes[i].os_index)) return i;
    }
    return 0;
}

static void describe_core(const tn_topology *topology, hwloc_obj_t obj, core_entry *entry)
{
    hwloc_topology_t hwloc = topology->hwloc;
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(hwloc, HWLOC_OBJ_PACKAGE, obj);
    int pu = hwloc_bitmap_first(obj->cpuset);
    entry->cpuset = obj->cpuset;
    entry->core = (tn_core){
        .os_index = pu < 0 ? 0 : (uint32_t)pu,
        .n_pus = (uint32_t)hwloc_bitmap_weight(obj->cpuset),
        .numa_node = node_of(topology, obj->nodeset),
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

// The nodes with processors, in the order of the machine.
static tn_status list_nodes(tn_topology *topology)
{
    const int n = hwloc_get_nbobjs_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE);
    TN_TRY(tn_alloc_zero(n > 0 ? (size_t)n : 1, sizeof *topology->nodes, &topology->nodes));
    for (int i = 0; i < n; i++) {
        hwloc_obj_t obj = hwloc_get_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, (unsigned)i);
        if (!obj || hwloc_bitmap_iszero(obj->cpuset)) continue;
        topology->nodes[topology->n_nodes++] = (tn_numa_node){.os_index = obj->os_index, .memory_bytes = obj->attr->numanode.local_memory};
    }
    return TN_OK;
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
        describe_core(topology, obj, &topology->entries[topology->n_cores++]);
    }
    if (topology->n_cores == 0) return tn_fail(TN_INVALID_ARGUMENT, "the machine has no core that this process may use");
    qsort(topology->entries, topology->n_cores, sizeof *topology->entries, by_preference);
    for (uint32_t i = 0; i < topology->n_cores; i++) {
        topology->cores[i] = topology->entries[i].core;
        if (topology->n_nodes) topology->nodes[topology->cores[i].numa_node].n_cores++;
    }
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
    for (uint32_t i = 0; i < topology->n_cores; i++) {
        summary->n_pus += topology->cores[i].n_pus;
        summary->n_fast_cores += topology->cores[i].kind == topology->cores[0].kind;
    }
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

tn_status tn_topology_create(const tn_topology_source *source, tn_topology **out_topology)
{
    const tn_topology_source none = {0};
    if (!source) source = &none;
    *out_topology = NULL;
    tn_status status;
    tn_topology *topology;
    TN_TRY(tn_alloc_zero(1, sizeof *topology, &topology));
    TN_TRY_GOTO(load(topology, source));
    TN_TRY_GOTO(list_nodes(topology));
    TN_TRY_GOTO(list_cores(topology));
    const char *cgroup_root = is_this_machine(source) && !source->cgroup_root ? "" : source->cgroup_root;
    tn_cgroup_limits limits = cgroup_root ? tn_cgroup_read(cgroup_root) : (tn_cgroup_limits){0};
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
    tn_free(topology->nodes);
    tn_free(topology);
}

void tn_topology_summarise(const tn_topology *topology, tn_topology_summary *out_summary) { *out_summary = topology->summary; }

const tn_core *tn_topology_cores(const tn_topology *topology, uint32_t *out_n)
{
    *out_n = topology->n_cores;
    return topology->cores;
}

uint32_t tn_topology_core_quota(const tn_topology *topology) { return topology->core_quota; }

const tn_numa_node *tn_topology_nodes(const tn_topology *topology, uint32_t *out_n)
{
    *out_n = topology->n_nodes;
    return topology->nodes;
}

tn_status tn_topology_pci_node(const tn_topology *topology, const char *bus_id, uint32_t *out_node)
{
    *out_node = 0;
    hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology->hwloc, bus_id);
    hwloc_obj_t near = device ? hwloc_get_non_io_ancestor_obj(topology->hwloc, device) : NULL;
    for (uint32_t i = 0; near && i < topology->n_nodes; i++) {
        // A device that is at the whole machine is at no node more than at another.
        if (hwloc_bitmap_weight(near->nodeset) > 1 || !hwloc_bitmap_isset(near->nodeset, topology->nodes[i].os_index)) continue;
        *out_node = i;
        return TN_OK;
    }
    return tn_fail(TN_NOT_FOUND, "the NUMA node of PCI device %s is not known", bus_id);
}

static tn_status bound(int result, const char *what, uint32_t os_index)
{
    const int error = errno;
    if (result == 0) return TN_OK;
    return tn_fail_native(error == ENOSYS ? TN_UNSUPPORTED : TN_UNAVAILABLE, error, "%s %u: %s", what, (unsigned)os_index, strerror(error));
}

static tn_status check_bindable(const tn_topology *topology)
{
    if (hwloc_topology_is_thissystem(topology->hwloc)) return TN_OK;
    return tn_fail(TN_UNSUPPORTED, "nothing can be bound to a made-up machine");
}

static tn_status check_node(const tn_topology *topology, uint32_t node)
{
    if (node < topology->n_nodes) return check_bindable(topology);
    return tn_fail(TN_INVALID_ARGUMENT, "there is no NUMA node %u: this process may use %u", (unsigned)node, (unsigned)topology->n_nodes);
}

tn_status tn_topology_bind(const tn_topology *topology, uint32_t index)
{
    if (index >= topology->n_cores)
        return tn_fail(TN_INVALID_ARGUMENT, "there is no core %u: this process may use %u", (unsigned)index, (unsigned)topology->n_cores);
    TN_TRY(check_bindable(topology));
    const int result = hwloc_set_cpubind(topology->hwloc, topology->entries[index].cpuset, HWLOC_CPUBIND_THREAD);
    return bound(result, "a thread could not be bound to core", topology->cores[index].os_index);
}

static hwloc_obj_t node_object(const tn_topology *topology, uint32_t node)
{
    return hwloc_get_numanode_obj_by_os_index(topology->hwloc, topology->nodes[node].os_index);
}

tn_status tn_topology_bind_to_node(const tn_topology *topology, uint32_t node)
{
    TN_TRY(check_node(topology, node));
    const int result = hwloc_set_cpubind(topology->hwloc, node_object(topology, node)->cpuset, HWLOC_CPUBIND_THREAD);
    return bound(result, "a thread could not be bound to NUMA node", topology->nodes[node].os_index);
}

tn_status tn_topology_bind_memory(const tn_topology *topology, uint32_t node, void *bytes, size_t n_bytes)
{
    TN_TRY(check_node(topology, node));
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t begin = ((uintptr_t)bytes + page - 1) / page * page, end = ((uintptr_t)bytes + n_bytes) / page * page;
    if (begin >= end) return TN_OK;
    uint8_t *first = (uint8_t *)bytes + (begin - (uintptr_t)bytes);
    const int result = hwloc_set_area_membind(topology->hwloc, first, end - begin, node_object(topology, node)->nodeset, HWLOC_MEMBIND_BIND,
                                              HWLOC_MEMBIND_BYNODESET | HWLOC_MEMBIND_MIGRATE);
    return bound(result, "memory could not be bound to NUMA node", topology->nodes[node].os_index);
}
