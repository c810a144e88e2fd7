// The list of a host's devices. Backends that load a driver are asked when a device is wanted that is of none before them.
#ifndef TN_RUNTIME_HOST_DEVICES_H
#define TN_RUNTIME_HOST_DEVICES_H

#include "backend/backend.h"
#include "scheduler/cost.h"

#include <pthread.h>

// What is known of a device's costs, which sessions correct in threads of their own. It stays where it is until the host is closed.
typedef struct tn_known_costs {
    pthread_mutex_t lock; // of what follows
    tn_cost_table table;
    bool changed; // since it was read or written
} tn_known_costs;

enum { TN_LOSS_REASON_BYTES = 200 };

typedef struct tn_host_device_entry {
    const tn_backend *backend;
    const tn_backend_host *host; // as the backend sees it
    uint32_t index;              // within its backend
    tn_device *device;           // NULL until it is used
    uint32_t n_users;            // sessions that it computes for
    bool is_lost;                // it is closed when nobody uses it any more, and not opened again
    char loss_reason[TN_LOSS_REASON_BYTES];
    tn_known_costs *costs;      // owned; NULL until they are asked for
    bool is_at_node;            // the NUMA node that it is at is known
    uint32_t numa_node;         // index into tn_topology_nodes
    tn_cost_together *together; // owned; what was measured of it beside others before it was measured itself; NULL: nothing
} tn_host_device_entry;

typedef struct tn_host_devices {
    uint32_t n_backends, n_listed; // backends, in their order, and those that were asked
    tn_backend_host *hosts;        // [n_backends]
    tn_backend_keep *keeps;        // [n_backends]
    uint32_t *counts;              // [n_backends], devices of each
    uint32_t n;
    tn_host_device_entry *entries;
    size_t entries_capacity;
    tn_device_desc *descs;     // [n]
    tn_device_desc **versions; // [n_backends], the list as it was when each had been added: strings of older ones were lent
} tn_host_devices;

// Lists the devices of the backends that load no driver. `host`: copied for each backend; what it points to is borrowed.
tn_status tn_host_devices_create(const tn_backend_host *host, tn_host_devices **out_devices);
// Closes those that are open. NULL is fine.
void tn_host_devices_destroy(tn_host_devices *devices);
// Lists all that are not listed yet. Those that are keep their indexes; pointers into the list stay valid.
tn_status tn_host_devices_list_all(tn_host_devices *devices);

#endif
