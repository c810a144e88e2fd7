// Lists devices, backend by backend.
#include "runtime/host_devices.h"

#include "base/alloc.h"

#include <string.h>

// Appends the devices of backend `b`, all or none.
static tn_status list_backend(tn_host_devices *d, uint32_t b)
{
    tn_status status;
    uint32_t n_backends, n = 0;
    tn_device_desc *descs;
    const tn_backend *backend = tn_backend_list(&n_backends)[b];
    TN_TRY(backend->device_count(&d->hosts[b], &n));
    TN_TRY(tn_grow(&d->entries, &d->entries_capacity, (size_t)d->n + n, sizeof *d->entries));
    TN_TRY(tn_alloc_zero((size_t)d->n + n, sizeof *descs, &descs));
    if (d->n) memcpy(descs, d->descs, d->n * sizeof *descs);
    for (uint32_t i = 0; i < n; i++) {
        TN_TRY_GOTO(backend->device_describe(&d->hosts[b], i, &descs[d->n + i]));
        d->entries[d->n + i] = (tn_host_device_entry){.backend = backend, .host = &d->hosts[b], .index = i};
    }
    d->versions[b] = d->descs = descs;
    d->n += n;
    d->counts[b] = n;
    d->n_listed++;
    return TN_OK;
fail:
    tn_free(descs);
    return status;
}

tn_status tn_host_devices_create(const tn_backend_host *host, tn_host_devices **out_devices)
{
    *out_devices = NULL;
    tn_status status;
    tn_host_devices *d;
    TN_TRY(tn_alloc_zero(1, sizeof *d, &d));
    const tn_backend *const *backends = tn_backend_list(&d->n_backends);
    TN_TRY_GOTO(tn_alloc_zero(d->n_backends, sizeof *d->hosts, &d->hosts));
    TN_TRY_GOTO(tn_alloc_zero(d->n_backends, sizeof *d->keeps, &d->keeps));
    TN_TRY_GOTO(tn_alloc_zero(d->n_backends, sizeof *d->counts, &d->counts));
    TN_TRY_GOTO(tn_alloc_zero(d->n_backends, sizeof(tn_device_desc *), &d->versions));
    for (uint32_t b = 0; b < d->n_backends; b++) {
        d->hosts[b] = *host;
        d->hosts[b].keep = &d->keeps[b];
    }
    while (d->n_listed < d->n_backends && !backends[d->n_listed]->loads_driver) TN_TRY_GOTO(list_backend(d, d->n_listed));
    *out_devices = d;
    return TN_OK;
fail:
    tn_host_devices_destroy(d);
    return status;
}

void tn_host_devices_destroy(tn_host_devices *d)
{
    if (!d) return;
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->entries[i].device) d->entries[i].backend->device_close(d->entries[i].device);
        if (d->entries[i].costs) pthread_mutex_destroy(&d->entries[i].costs->lock);
        tn_free(d->entries[i].costs);
        tn_free(d->entries[i].together);
    }
    for (uint32_t b = 0; d->keeps && b < d->n_backends; b++) {
        if (d->keeps[b].release) d->keeps[b].release(d->keeps[b].state);
    }
    for (uint32_t b = 0; d->versions && b < d->n_backends; b++) tn_free(d->versions[b]);
    tn_free(d->versions);
    tn_free(d->entries);
    tn_free(d->hosts);
    tn_free(d->keeps);
    tn_free(d->counts);
    tn_free(d);
}

tn_status tn_host_devices_list_all(tn_host_devices *d)
{
    while (d->n_listed < d->n_backends) TN_TRY(list_backend(d, d->n_listed));
    return TN_OK;
}
