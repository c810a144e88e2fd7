// What units of models cost on a host's devices: measured once for each machine, device, driver and build, kept, and improved by real runs.
#ifndef TN_RUNTIME_HOST_COSTS_H
#define TN_RUNTIME_HOST_COSTS_H

#include "runtime/host_devices.h"
#include "ternion/device.h"

typedef struct tn_host_costs_params {
    bool anew;                   // measure, whatever is known
    bool known_only;             // do not measure
    bool small;                  // by small models only, for tests
    uint64_t time_ns;            // for measuring; 0: 3 s
    const tn_progress *progress; // NULL: nobody is told
} tn_host_costs_params;

// The table of device `index`: what this host knows already, else the file in the host's cache folder, else it is measured, and kept in the
// folder. A file that is damaged or of something else is as none; the log says so at level debug. *out_known (may be NULL): nothing was
// measured now. Errors: INVALID_ARGUMENT, UNAVAILABLE (the device cannot be used), NOT_FOUND (known_only, and nothing is known), those of
// opening the device, OUT_OF_MEMORY, CANCELLED.
tn_status tn_host_costs(tn_host *host, uint32_t index, const tn_host_costs_params *params, tn_cost_table *out_table, bool *out_known);
// Corrects what the host knows of the device by a submit's time (tn_cost_observe); nothing where it knows nothing. Kept in the folder when
// the host is closed.
// No other thread uses the host meanwhile; sessions, which do not, take tn_host_costs_known.
void tn_host_costs_observe(tn_host *host, uint32_t index, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step,
                           double measured_ns);
// What the host knows of the device, until it is closed; NULL: nothing. tn_known_costs_observe corrects it, in any thread, and
// tn_known_costs_table reads it.
tn_known_costs *tn_host_costs_known(const tn_host *host, uint32_t index);
tn_cost_table tn_known_costs_table(tn_known_costs *costs);
void tn_known_costs_observe(tn_known_costs *costs, const tn_cost_work *works, uint32_t n_works, const tn_cost_step *step,
                            double measured_ns);
// Writes what was corrected since it was read. Failures are logged at level debug.
void tn_host_costs_keep(const tn_host *host);

#endif
