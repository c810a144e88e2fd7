// The CPU devices of a host: which cores and threads each has, and how it binds them.
#ifndef TN_RUNTIME_HOST_SHARES_H
#define TN_RUNTIME_HOST_SHARES_H

#include "backend/backend.h"
#include "scheduler/topology.h"
#include "ternion/device.h"

// Devices that a host may have; threads of all.
#define TN_HOST_THREADS_MAX 1024u

// The cores of a device, of the topology's order: what its share's callbacks are given.
typedef struct tn_share_cores {
    const tn_topology *topology;
    uint32_t first, n, n_threads;
} tn_share_cores;

typedef struct tn_host_shares {
    uint32_t n;
    tn_cpu_share *shares;  // [n]
    tn_share_cores *cores; // [n]
} tn_host_shares;

// Shares the cores out: n_devices parts as equal as they go, or, for TN_CPU_DEVICES_NUMA, the cores of each NUMA node. n_threads over all
// of them; 0: one a core of the fastest kind, as far as a CPU quota lets them run at once. Borrows `topology`.
// Errors: INVALID_ARGUMENT (impossible here), OUT_OF_MEMORY.
tn_status tn_host_shares_create(const tn_topology *topology, uint32_t n_devices, uint32_t n_threads, bool no_bind,
                                tn_host_shares *out_shares);
void tn_host_shares_deinit(tn_host_shares *shares);

#endif
