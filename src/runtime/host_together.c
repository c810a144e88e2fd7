// Which devices read at once, and what was found of those whose turn is to come.
#include "runtime/host_together.h"

#include "base/alloc.h"
#include "runtime/calibrate_together.h"
#include "runtime/host.h"

#include <string.h>

// CPU devices that can be used: of all of the host's entries, since more may be listed behind them.
static tn_status find_sharing(const tn_host *host, uint32_t *indexes, uint32_t *out_n)
{
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    *out_n = 0;
    for (uint32_t i = 0; i < tn_host_devices_listed(host); i++) {
        TN_TRY(tn_host_entry(host, i, &entry, &desc));
        if (strcmp(entry->backend->name, "cpu") == 0 && !desc->unusable[0]) indexes[(*out_n)++] = i;
    }
    return TN_OK;
}

static tn_status measure(const tn_calibration_params *params, tn_device *const *devices, tn_host_device_entry *const *entries, uint32_t n)
{
    tn_status status;
    tn_cost_together *measured;
    TN_TRY(tn_alloc(n, sizeof *measured, &measured));
    TN_TRY_GOTO(tn_calibrate_together(devices, n, params, measured));
    for (uint32_t i = 0; i < n; i++) {
        tn_cost_together **kept = &entries[i]->together;
        if (!*kept) TN_TRY_GOTO(tn_alloc(1, sizeof **kept, kept));
        **kept = measured[i];
    }
fail:
    tn_free(measured);
    return status;
}

static tn_status open_and_measure(tn_host *host, const tn_calibration_params *params, const uint32_t *indexes, uint32_t n)
{
    tn_status status;
    tn_device **devices;
    tn_host_device_entry **entries = NULL;
    TN_TRY(tn_alloc(n, sizeof(tn_device *), &devices));
    TN_TRY_GOTO(tn_alloc(n, sizeof(tn_host_device_entry *), &entries));
    for (uint32_t i = 0; i < n; i++) {
        const tn_device_desc *desc;
        TN_TRY_GOTO(tn_host_device(host, indexes[i], params->progress, &devices[i]));
        TN_TRY_GOTO(tn_host_entry(host, indexes[i], &entries[i], &desc));
    }
    TN_TRY_GOTO(measure(params, devices, entries, n));
fail:
    tn_free(devices);
    tn_free(entries);
    return status;
}

tn_status tn_host_set_together(tn_host *host, uint32_t index, const tn_calibration_params *params, tn_cost_table *table)
{
    tn_status status;
    uint32_t n, *indexes;
    tn_host_device_entry *entry;
    const tn_device_desc *desc;
    TN_TRY(tn_host_entry(host, index, &entry, &desc));
    if (strcmp(entry->backend->name, "cpu") != 0 || entry->host->n_cpu_shares < 2) return TN_OK;
    TN_TRY(tn_alloc(tn_host_devices_listed(host), sizeof *indexes, &indexes));
    TN_TRY_GOTO(find_sharing(host, indexes, &n));
    if (n < 2) goto fail;
    if (!entry->together) TN_TRY_GOTO(open_and_measure(host, params, indexes, n));
    tn_cost_set_together(table, entry->together, n);
    tn_free(entry->together);
    entry->together = NULL;
fail:
    tn_free(indexes);
    return status;
}
