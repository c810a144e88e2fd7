// What the host's hardware looks like to this process: cores, caches, NUMA nodes, within its cpuset and cgroup.
#ifndef TN_SCHEDULER_TOPOLOGY_H
#define TN_SCHEDULER_TOPOLOGY_H

#include "base/status.h"

typedef struct tn_core {
    uint32_t os_index; // of its first usable processing unit
    uint32_t n_pus;    // usable SMT siblings
    uint32_t numa_node, package;
    int32_t kind; // efficiency class as hwloc ranks it, higher is faster; -1: unknown
} tn_core;

typedef struct tn_topology tn_topology; // immutable; any thread

typedef struct tn_topology_summary {
    char cpu_model[128];
    uint32_t n_packages, n_numa_nodes, n_cores, n_pus;
    uint64_t l1d_bytes, l2_bytes, l3_bytes; // of one cache; 0: none or unknown
    uint64_t memory_bytes;                  // of the usable NUMA nodes, at most the cgroup's limit
} tn_topology_summary;

// `synthetic`: hwloc's description of a made-up machine ("pack:2 numa:1 core:8 pu:2"), for tests; NULL: this machine.
tn_status tn_topology_create(const char *synthetic, tn_topology **out_topology);
void tn_topology_destroy(tn_topology *topology);
void tn_topology_summarise(const tn_topology *topology, tn_topology_summary *out_summary);
// Cores in the order in which threads should fill them: fastest kind first, then by NUMA node.
const tn_core *tn_topology_cores(const tn_topology *topology, uint32_t *out_n);
// Cores that the scheduler's quota (cgroup cpu.max) lets run at once: at least 1, at most n_cores.
uint32_t tn_topology_core_quota(const tn_topology *topology);
// Binds the calling thread to core `index`.  Errors: UNSUPPORTED (this system cannot bind), UNAVAILABLE (could not be enforced).
tn_status tn_topology_bind(const tn_topology *topology, uint32_t index);

#endif
