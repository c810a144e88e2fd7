// Which NUMA node a device is at.
#ifndef TN_RUNTIME_HOST_NEAR_H
#define TN_RUNTIME_HOST_NEAR_H

#include "scheduler/topology.h"

// The node of `topology` that the PCI device of that bus id is at, by a topology of the same machine with its PCI devices. False: it is not
// known, or `topology` has no such node.
bool tn_near_node(const tn_topology *with_pci, const char *bus_id, const tn_topology *topology, uint32_t *out_node);

#endif
