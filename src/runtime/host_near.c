// Threads near the devices that they feed, and what is told of where these are.
#include "runtime/host_near.h"

#include "base/log.h"
#include "runtime/host.h"

static bool find_os_index(const tn_topology *with_pci, const char *bus_id, uint32_t *out_os_index)
{
    uint32_t n, node;
    const tn_numa_node *nodes = tn_topology_nodes(with_pci, &n);
    if (tn_topology_pci_node(with_pci, bus_id, &node) != TN_OK) return false;
    *out_os_index = nodes[node].os_index;
    return true;
}

bool tn_near_node(const tn_topology *with_pci, const char *bus_id, const tn_topology *topology, uint32_t *out_node)
{
    uint32_t n, os_index;
    const tn_numa_node *nodes = tn_topology_nodes(topology, &n);
    if (!find_os_index(with_pci, bus_id, &os_index)) return false;
    for (uint32_t i = 0; i < n; i++) {
        if (nodes[i].os_index != os_index) continue;
        *out_node = i;
        return true;
    }
    return false;
}

// This machine's, with its PCI devices; NULL where the device has no bus id, or nothing can be found out.
static tn_topology *look_for(const tn_host *host, uint32_t index, const char **out_bus_id)
{
    uint32_t n;
    tn_topology *topology;
    const tn_device_desc *descs = tn_host_descs(host, &n);
    const tn_topology_source with_pci = {.with_pci = true};
    if (index >= n || !descs[index].bus_id[0] || tn_topology_create(&with_pci, &topology) != TN_OK) return NULL;
    *out_bus_id = descs[index].bus_id;
    return topology;
}

int32_t tn_host_numa_node(const tn_host *host, uint32_t index)
{
    uint32_t os_index;
    const char *bus_id;
    tn_topology *topology = look_for(host, index, &bus_id);
    const int32_t node = topology && find_os_index(topology, bus_id, &os_index) ? (int32_t)os_index : -1;
    tn_topology_destroy(topology);
    return node;
}

void tn_host_locate(tn_host *host, uint32_t index)
{
    uint32_t n_nodes;
    const char *bus_id;
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    const tn_topology *binding = tn_host_binding(host);
    if (!binding || tn_host_entry(host, index, &entry, &desc) != TN_OK || entry->is_at_node) return;
    tn_topology_nodes(binding, &n_nodes);
    if (n_nodes < 2) return; // every thread is as near as any
    tn_topology *topology = look_for(host, index, &bus_id);
    if (!topology) return;
    entry->is_at_node = tn_near_node(topology, bus_id, binding, &entry->numa_node);
    tn_topology_destroy(topology);
}

void tn_host_bind_near(void *host, uint32_t index)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    if (tn_host_entry(host, index, &entry, &desc) != TN_OK || !entry->is_at_node) return;
    if (tn_topology_bind_to_node(tn_host_binding(host), entry->numa_node) == TN_OK) return;
    tn_log_write(&entry->host->log, TN_LOG_DEBUG, "a thread of %s is not bound near it: %s", desc->name, tn_error_last()->message);
}
