// Placements that the user forces: a list of devices, and how many of the last layers are theirs.
#include "scheduler/place.h"

#include "base/str.h"
#include "scheduler/place_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_LISTED = 64 };

typedef struct device_list {
    uint32_t n, devices[MAX_LISTED];
} device_list;

static bool is_default(const tn_device_desc *desc) { return !desc->is_software && !desc->unusable[0]; }

// The item at *at, which moves behind it; false where the list has ended.
static bool next_item(const char **at, tn_str *out_item)
{
    if (!*at) return false;
    const size_t len = strcspn(*at, ",");
    *out_item = tn_place_trimmed((tn_str){*at, len});
    *at = (*at)[len] ? *at + len + 1 : NULL;
    return true;
}

bool tn_place_is_known(const char *devices, const tn_device_desc *descs, uint32_t n_descs)
{
    tn_str item;
    bool known = devices != NULL;
    for (uint32_t i = 0; !devices && i < n_descs; i++) known = known || is_default(&descs[i]);
    for (const char *at = devices; known && next_item(&at, &item);) {
        known = item.len == 0; // refused, whatever devices there are
        for (uint32_t i = 0; i < n_descs; i++) known = known || tn_str_is(item, descs[i].name);
    }
    return known;
}

static tn_status add_named(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t n_max, uint32_t *devices, uint32_t *n)
{
    if (name.len == 0) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices has an empty name: write it like \"cpu0,cpu1\"");
    if (*n == n_max) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices is longer than %u", (unsigned)n_max);
    TN_TRY(tn_place_find_usable(name, descs, n_descs, &devices[*n]));
    ++*n;
    return TN_OK;
}

tn_status tn_place_list(const char *devices, const tn_device_desc *descs, uint32_t n_descs, uint32_t n_max, uint32_t *out_devices,
                        uint32_t *out_n)
{
    tn_str item;
    *out_n = 0;
    for (uint32_t i = 0; !devices && i < n_descs && *out_n < n_max; i++) {
        if (is_default(&descs[i]) && !tn_place_is_again(descs, i)) out_devices[(*out_n)++] = i;
    }
    if (!devices && *out_n == 0) return tn_place_not_found("there is no device that is not software", tn_str_of(""), descs, n_descs);
    while (next_item(&devices, &item)) TN_TRY(add_named(item, descs, n_descs, n_max, out_devices, out_n));
    return TN_OK;
}

// Where the layers of each listed device end, by its part of the sum: of `n` layers; ends[i] for device i.
static tn_status split_layers(const char *text, const device_list *list, uint32_t n, uint32_t *ends)
{
    double parts[MAX_LISTED], sum = 0, before = 0;
    uint32_t n_parts = 0;
    for (const char *at = text; at;) {
        char *end;
        const double part = strtod(at, &end);
        while (*end == ' ') end++;
        if (end == at || (*end && *end != ',' && *end != '/') || !(part >= 0 && part < 1e9))
            return tn_fail(TN_INVALID_ARGUMENT, "'%.80s' is no split: write a number for each device, like 3,1", text);
        if (n_parts == list->n)
            return tn_fail(TN_INVALID_ARGUMENT, "the split %.80s has more numbers than the %u devices", text, (unsigned)list->n);
        parts[n_parts++] = part;
        sum += part;
        at = *end ? end + 1 : NULL;
    }
    if (!(sum > 0)) return tn_fail(TN_INVALID_ARGUMENT, "the split %.80s gives no device any layer", text);
    for (uint32_t i = 0; i < list->n; i++) {
        before += i < n_parts ? parts[i] : 0;
        ends[i] = (uint32_t)(before / sum * n + 0.5);
    }
    return TN_OK;
}

static tn_status share_layers(const tn_place_request *request, const device_list *list, uint32_t n, uint32_t *out_devices)
{
    uint32_t ends[MAX_LISTED], device = 0;
    for (uint32_t i = 0; i < list->n; i++) ends[i] = (uint32_t)(((uint64_t)n * (i + 1) + list->n - 1) / list->n);
    if (request->tensor_split) TN_TRY(split_layers(request->tensor_split, list, n, ends));
    for (uint32_t i = 0; i < n; i++) {
        while (i >= ends[device]) device++;
        out_devices[i] = list->devices[device];
    }
    return TN_OK;
}

static tn_status first_cpu(const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device)
{
    for (uint32_t i = 0; i < n_descs; i++) {
        if (strncmp(descs[i].name, "cpu", 3) != 0 || descs[i].unusable[0]) continue;
        *out_device = i;
        return TN_OK;
    }
    return tn_place_not_found("there is no CPU device for the layers that -ngl leaves", tn_str_of(""), descs, n_descs);
}

tn_status tn_place_forced(const tn_place_request *request, uint32_t n_layers, const tn_device_desc *descs, uint32_t n_descs,
                          uint32_t *out_devices)
{
    device_list list = {0};
    // Without a list, the layers of a split are on all devices, and all of them are on one otherwise.
    const uint32_t n_max = request->devices || request->tensor_split ? MAX_LISTED : 1;
    TN_TRY(tn_place_list(request->devices, descs, n_descs, n_max, list.devices, &list.n));
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
    for (uint32_t i = 0; i < first_listed; i++) out_devices[1 + i] = rest;
    TN_TRY(share_layers(request, &list, n_listed, out_devices + 1 + first_listed));
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

size_t tn_place_print_from(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, const uint32_t *of, char *text,
                           size_t capacity)
{
    size_t len = 0;
    const uint32_t n_units = n_layers + 2;
    if (capacity) text[0] = '\0';
    for (uint32_t unit = 0; unit < n_units;) {
        const uint32_t device = devices[unit];
        append(text, capacity, &len, unit ? " | " : "", descs[of ? of[device] : device].name);
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

size_t tn_place_print(const uint32_t *devices, uint32_t n_layers, const tn_device_desc *descs, char *text, size_t capacity)
{
    return tn_place_print_from(devices, n_layers, descs, NULL, text, capacity);
}
