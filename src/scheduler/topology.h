// What the host's hardware looks like to this process: cores, caches, NUMA nodes, within its cpuset and cgroup.
#ifndef TN_SCHEDULER_TOPOLOGY_H
#define TN_SCHEDULER_TOPOLOGY_H

#include "base/status.h"

#include <stdbool.h>

typedef struct tn_core {
    uint32_t os_index;  // of its first usable processing unit
    uint32_t n_pus;     // usable SMT siblings
    uint32_t numa_node; // index into tn_topology_nodes
    uint32_t package;
    int32_t kind; // efficiency class as hwloc ranks it, higher is faster; -1: unknown
} tn_core;

// A NUMA node that this process may use.
typedef struct tn_numa_node {
    uint32_t os_index, n_cores; // n_cores: 0 of memory beside another node's (HBM, CXL)
    uint64_t memory_bytes;      // 0: the machine does not say
} tn_numa_node;

typedef struct tn_topology tn_topology; // immutable; any thread

typedef struct tn_topology_summary {
    char cpu_model[128];
    uint32_t n_packages, n_numa_nodes, n_cores, n_pus;
    uint32_t n_fast_cores;                  // of the fastest kind; n_cores where all are of one
    uint64_t l1d_bytes, l2_bytes, l3_bytes; // of one cache; 0: none or unknown
    uint64_t memory_bytes;                  // of the usable NUMA nodes, at most the cgroup's limit
} tn_topology_summary;

// What to look at: with neither `synthetic` nor `xml` this machine, as far as the process' cpuset and control groups let it.
typedef struct tn_topology_source {
    bool with_pci;           // for tn_topology_pci_node; takes some 30 ms on top of 10
    const char *synthetic;   // hwloc's description: "pack:2 numa:1 core:8 pu:2"
    const char *xml;         // path of a file in hwloc's XML
    const char *cpuset;      // processing units that the process may use: "0-3,8"; NULL: all
    const char *cgroup_root; // as tn_cgroup_read has it; NULL: this machine's, of another one none
} tn_topology_source;

// `source` NULL: this machine, without PCI devices.
// Errors: INVALID_ARGUMENT (not a description of a machine; no processing unit is left), OUT_OF_MEMORY, INTERNAL.
tn_status tn_topology_create(const tn_topology_source *source, tn_topology **out_topology);
void tn_topology_destroy(tn_topology *topology);
void tn_topology_summarise(const tn_topology *topology, tn_topology_summary *out_summary);
// Cores in the order in which threads should fill them: fastest kind first, then by NUMA node.
const tn_core *tn_topology_cores(const tn_topology *topology, uint32_t *out_n);
const tn_numa_node *tn_topology_nodes(const tn_topology *topology, uint32_t *out_n);
// Cores that the scheduler's quota (cgroup cpu.max) lets run at once: at least 1, at most n_cores.
uint32_t tn_topology_core_quota(const tn_topology *topology);
// The NUMA node that a PCI device is at, by its bus id ("0000:01:00.0").  Errors: NOT_FOUND (there is no such device, or it is at no node
// that the process may use; the topology is without PCI devices).
tn_status tn_topology_pci_node(const tn_topology *topology, const char *bus_id, uint32_t *out_node);

// Binds the calling thread to core `index`.  Errors: UNSUPPORTED (this system cannot bind), UNAVAILABLE (could not be enforced),
// INVALID_ARGUMENT.
tn_status tn_topology_bind(const tn_topology *topology, uint32_t index);
// Binds the calling thread to all cores of node `node`.  Errors: the same.
tn_status tn_topology_bind_to_node(const tn_topology *topology, uint32_t node);
// Pages of [bytes, bytes + n_bytes) that nobody has touched come from node `node`, those that exist move there. Whole pages inside the
// range alone. Errors: the same.
tn_status tn_topology_bind_memory(const tn_topology *topology, uint32_t node, void *bytes, size_t n_bytes);

#endif
