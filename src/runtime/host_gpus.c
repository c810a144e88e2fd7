// What the system says of GPUs without a driver.
#include "runtime/host.h"
#include "scheduler/topology.h"

#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

// NVIDIA's driver, its form on embedded boards, the GPU of Windows below Linux, and what Mesa's drivers open.
static const char *const nodes[] = {"/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/dxg", "/dev/dri/renderD*"};

bool tn_host_may_have_gpus(const tn_host *host)
{
    (void)host;
    bool found = false;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes && !found; i++) {
        glob_t matches;
        found = glob(nodes[i], GLOB_NOSORT, NULL, &matches) == 0;
        globfree(&matches);
    }
    return found;
}

int32_t tn_host_numa_node(const tn_host *host, uint32_t index)
{
    uint32_t n, node;
    const tn_device_desc *descs = tn_host_descs(host, &n);
    const tn_topology_source with_pci = {.with_pci = true};
    tn_topology *topology;
    if (index >= n || !descs[index].bus_id[0] || tn_topology_create(&with_pci, &topology) != TN_OK) return -1;
    const tn_status status = tn_topology_pci_node(topology, descs[index].bus_id, &node);
    uint32_t n_nodes;
    const tn_numa_node *numa = tn_topology_nodes(topology, &n_nodes);
    const int32_t os_index = status == TN_OK ? (int32_t)numa[node].os_index : -1;
    tn_topology_destroy(topology);
    return os_index;
}
