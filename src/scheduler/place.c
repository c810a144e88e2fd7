// Placements that the user forces: a list of devices, and how many of the last layers are theirs.
#include "scheduler/place.h"

#include "base/str.h"

#include <stdio.h>

enum { MAX_LISTED = 64 };

typedef struct device_list {
    uint32_t n, devices[MAX_LISTED];
} device_list;

// Puts "cpu0, cpu1" into `text`, cut where it does not fit.
static void names_of(const tn_device_desc *descs, uint32_t n_descs, char *text, size_t capacity)
{
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < n_descs && len < capacity; i++)
        len += (size_t)snprintf(text + len, capacity - len, "%s%s", i ? ", " : "", descs[i].name);
}

static tn_status not_found(const char *what, tn_str name, const tn_device_desc *descs, uint32_t n_descs)
{
    char names[512];
    names_of(descs, n_descs, names, sizeof names);
    return tn_fail(TN_NOT_FOUND, "%s%.*s; devices here: %s", what, TN_STR_ARGS(name), n_descs ? names : "none");
}

static tn_str trimmed(tn_str text)
{
    while (text.len && *text.data == ' ') text.data++, text.len--;
    while (text.len && text.data[text.len - 1] == ' ') text.len--;
    return text;
}

static tn_status add_named(tn_str name, const tn_device_desc *descs, uint32_t n_descs, device_list *list)
{
    if (name.len == 0) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices has an empty name: write it like \"cpu0,cpu1\"");
    if (list->n == MAX_LISTED) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices is longer than %d", MAX_LISTED);
    for (uint32_t i = 0; i < n_descs; i++) {
        if (!tn_str_is(name, descs[i].name)) continue;
        list->devices[list->n++] = i;
        return TN_OK;
    }
    return not_found("there is no device ", name, descs, n_descs);
}

static tn_status parse_devices(const char *text, const tn_device_desc *descs, uint32_t n_descs, device_list *list)
{
    if (!text) {
        for (uint32_t i = 0; i < n_descs && list->n == 0; i++) {
            if (!descs[i].is_software) list->devices[list->n++] = i;
        }
        return list->n ? TN_OK : not_found("there is no device that is not software", tn_str_of(""), descs, n_descs);
    }
    for (const char *at = text;;) {
        size_t len = strcspn(at, ",");
        TN_TRY(add_named(trimmed((tn_str){at, len}), descs, n_descs, list));
        if (at[len] == '\0') return TN_OK;
        at += len + 1;
    }
}

static tn_status first_cpu(const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device)
{
    for (uint32_t i = 0; i < n_descs; i++) {
        if (strncmp(descs[i].name, "cpu", 3) != 0) continue;
        *out_device = i;
        return TN_OK;
    }
    return not_found("there is no CPU device for the layers that -ngl leaves", tn_str_of(""), descs, n_descs);
}

tn_status tn_place_forced(const tn_place_request *request, uint32_t n_layers, const tn_device_desc *descs, uint32_t n_descs,
                          uint32_t *out_devices)
{
    device_list list = {0};
    TN_TRY(parse_devices(request->devices, descs, n_descs, &list));
    uint32_t n_listed = n_layers, rest = 0; // layers on the list; device of the others
    bool has_rest = request->has_n_gpu_layers, head_listed = true;
    if (has_rest) {
        if (request->n_gpu_layers < -1)
            return tn_fail(TN_INVALID_ARGUMENT, "%d layers on devices: give 0 or more, or -1 for all", (int)request->n_gpu_layers);
        TN_TRY(first_cpu(descs, n_descs, &rest));
        head_listed = request->n_gpu_layers == -1 || (uint32_t)request->n_gpu_layers > n_layers;
        if (!head_listed) n_listed = (uint32_t)request->n_gpu_layers;
    }
    const uint32_t first_listed = n_layers - n_listed;
    for (uint32_t i = 0; i < n_layers; i++)
        out_devices[1 + i] = i < first_listed ? rest : list.devices[(uint64_t)(i - first_listed) * list.n / n_listed];
    const uint32_t last = n_listed ? out_devices[n_layers] : list.devices[0];
    out_devices[0] = has_rest ? rest : n_layers ? out_devices[1] : list.devices[0];
    out_devices[1 + n_layers] = head_listed ? last : rest;
    return TN_OK;
}

// Appends like snprintf with a running length that may pass the capacity.
static void append(char *text, size_t capacity, size_t *len, const char *a, const char *b)
{
    size_t room = *len < capacity ? capacity - *len : 0;
    *len += (size_t)snprintf(room ? text + *len : NULL, room, "%s%s", a, b);
}

size_t tn_place_print(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, char *text, size_t capacity)
{
    size_t len = 0;
    const uint32_t n_units = n_layers + 2;
    if (capacity) text[0] = '\0';
    for (uint32_t unit = 0; unit < n_units;) {
        const uint32_t device = devices[unit];
        append(text, capacity, &len, unit ? " | " : "", descs[device].name);
        const char *separator = ": ";
        while (unit < n_units && devices[unit] == device) {
            char part[32] = "embedding";
            uint32_t next = unit + 1;
            if (unit == n_units - 1) {
                snprintf(part, sizeof part, "head");
            } else if (unit > 0) {
                while (next < n_units - 1 && devices[next] == device) next++;
                if (next - unit == 1)
                    snprintf(part, sizeof part, "layer %u", (unsigned)unit - 1);
                else
                    snprintf(part, sizeof part, "layers %u-%u", (unsigned)unit - 1, (unsigned)next - 2);
            }
            append(text, capacity, &len, separator, part);
            separator = ", ";
            unit = next;
        }
    }
    return len;
}
