// Placements that the user forces: a list of devices, and how many of the last layers are theirs.
#include "scheduler/place.h"

#include "base/str.h"

#include <stdio.h>
#include <strings.h>

// A part of a description is at least so long: a number that is mistyped is in some product's name.
enum { MAX_LISTED = 64, PART_LEN_MIN = 3 };

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

static bool same_letters(const char *a, tn_str b) { return strncasecmp(a, b.data, b.len) == 0; }

static bool contains(const char *text, tn_str part)
{
    const size_t len = strlen(text);
    for (size_t at = 0; at + part.len <= len; at++) {
        if (same_letters(text + at, part)) return true;
    }
    return false;
}

// "pci:0000:01:00.0", or without the domain where that is 0.
static bool is_bus_id(const tn_device_desc *desc, tn_str name)
{
    const tn_str prefix = tn_str_of("pci:"), domain = tn_str_of("0000:");
    if (!desc->bus_id[0] || name.len <= prefix.len || !same_letters(prefix.data, (tn_str){name.data, prefix.len})) return false;
    const tn_str id = {name.data + prefix.len, name.len - prefix.len};
    const tn_str whole = tn_str_of(desc->bus_id);
    if (whole.len == id.len && same_letters(desc->bus_id, id)) return true;
    return whole.len == id.len + domain.len && same_letters(desc->bus_id, domain) && same_letters(desc->bus_id + domain.len, id);
}

// The number that an item is; false where it is something else.
static bool number_of(tn_str name, uint32_t *out_number)
{
    uint32_t number = 0;
    if (name.len > 4) return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') return false;
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    }
    *out_number = number;
    return true;
}

typedef enum match_rule { BY_NAME, BY_BUS_ID, BY_DESCRIPTION, N_RULES } match_rule;

static bool matches(const tn_device_desc *desc, tn_str name, match_rule rule)
{
    switch (rule) {
    case BY_NAME: return tn_str_is(name, desc->name);
    case BY_BUS_ID: return is_bus_id(desc, name);
    case BY_DESCRIPTION: return name.len >= PART_LEN_MIN && contains(desc->description, name);
    case N_RULES: break;
    }
    return false;
}

static tn_status ambiguous(tn_str name, match_rule rule, const tn_device_desc *descs, uint32_t n_descs)
{
    char text[512];
    size_t len = 0;
    for (uint32_t i = 0; i < n_descs && len < sizeof text; i++) {
        if (!matches(&descs[i], name, rule)) continue;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s (%s)", len ? ", " : "", descs[i].name, descs[i].description);
    }
    return tn_fail(TN_INVALID_ARGUMENT, "%.*s means several devices: %s: give one of these names", TN_STR_ARGS(name), text);
}

// The one device that an item means; the first rule that fits any decides.
static tn_status find(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device)
{
    // A number beyond the list may be that of a product: "4090".
    if (number_of(name, out_device) && *out_device < n_descs) return TN_OK;
    for (match_rule rule = BY_NAME; rule < N_RULES; rule++) {
        uint32_t n = 0;
        for (uint32_t i = n_descs; i-- > 0;) {
            if (!matches(&descs[i], name, rule)) continue;
            *out_device = i;
            n++;
        }
        if (n == 1) return TN_OK;
        if (n > 1) return ambiguous(name, rule, descs, n_descs);
    }
    return not_found("there is no device ", name, descs, n_descs);
}

static tn_status add_named(tn_str name, const tn_device_desc *descs, uint32_t n_descs, device_list *list)
{
    uint32_t device = 0;
    if (name.len == 0) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices has an empty name: write it like \"cpu0,cpu1\"");
    if (list->n == MAX_LISTED) return tn_fail(TN_INVALID_ARGUMENT, "the list of devices is longer than %d", MAX_LISTED);
    TN_TRY(find(name, descs, n_descs, &device));
    const tn_device_desc *desc = &descs[device];
    if (desc->unusable[0])
        return tn_fail(TN_UNAVAILABLE, "device %s (%s) cannot be used: %s", desc->name, desc->description, desc->unusable);
    list->devices[list->n++] = device;
    return TN_OK;
}

static bool is_default(const tn_device_desc *desc) { return !desc->is_software && !desc->unusable[0]; }

// The item at *at, which moves behind it; false where the list has ended.
static bool next_item(const char **at, tn_str *out_item)
{
    if (!*at) return false;
    const size_t len = strcspn(*at, ",");
    *out_item = trimmed((tn_str){*at, len});
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

static tn_status parse_devices(const char *text, const tn_device_desc *descs, uint32_t n_descs, device_list *list)
{
    tn_str item;
    for (uint32_t i = 0; !text && i < n_descs && list->n == 0; i++) {
        if (is_default(&descs[i])) list->devices[list->n++] = i;
    }
    if (!text && list->n == 0) return not_found("there is no device that is not software", tn_str_of(""), descs, n_descs);
    while (next_item(&text, &item)) TN_TRY(add_named(item, descs, n_descs, list));
    return TN_OK;
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
