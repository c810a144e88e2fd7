// The device that a word means: a name, a number, a bus id, or a part of a description.
#include "scheduler/place_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

// A part of a description is at least so long: a number that is mistyped is in some product's name.
enum { PART_LEN_MIN = 3 };

// Puts "cpu0, cpu1" into `text`, cut where it does not fit.
static void names_of(const tn_device_desc *descs, uint32_t n_descs, char *text, size_t capacity)
{
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < n_descs && len < capacity; i++)
        len += (size_t)snprintf(text + len, capacity - len, "%s%s", i ? ", " : "", descs[i].name);
}

tn_status tn_place_not_found(const char *what, tn_str name, const tn_device_desc *descs, uint32_t n_descs)
{
    char names[512];
    names_of(descs, n_descs, names, sizeof names);
    return tn_fail(TN_NOT_FOUND, "%s%.*s; devices here: %s", what, TN_STR_ARGS(name), n_descs ? names : "none");
}

tn_str tn_place_trimmed(tn_str text)
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

bool tn_place_is_again(const tn_device_desc *descs, uint32_t index)
{
    for (uint32_t i = 0; descs[index].bus_id[0] && i < index; i++) {
        const bool usable = !descs[i].is_software && !descs[i].unusable[0];
        if (usable && strcmp(descs[i].bus_id, descs[index].bus_id) == 0) return true;
    }
    return false;
}

static bool is_gpu(const tn_device_desc *descs, uint32_t index)
{
    const tn_device_desc *desc = &descs[index];
    return strncmp(desc->name, "cpu", 3) != 0 && !desc->is_software && !tn_place_is_again(descs, index);
}

// "gpu1": the second card that is no CPU and not emulated, whoever drives it.
static bool is_gpu_number(const tn_device_desc *descs, uint32_t index, tn_str name)
{
    uint32_t number, n_before = 0;
    if (name.len < 4 || !same_letters("gpu", (tn_str){name.data, 3}) || !number_of((tn_str){name.data + 3, name.len - 3}, &number))
        return false;
    if (!is_gpu(descs, index)) return false;
    for (uint32_t i = 0; i < index; i++) n_before += is_gpu(descs, i);
    return n_before == number;
}

typedef enum match_rule { BY_NAME, BY_GPU_NUMBER, BY_BUS_ID, BY_DESCRIPTION, N_RULES } match_rule;

static bool matches(const tn_device_desc *descs, uint32_t index, tn_str name, match_rule rule)
{
    const tn_device_desc *desc = &descs[index];
    switch (rule) {
    case BY_NAME: return tn_str_is(name, desc->name);
    case BY_GPU_NUMBER: return is_gpu_number(descs, index, name);
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
        if (!matches(descs, i, name, rule)) continue;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s (%s)", len ? ", " : "", descs[i].name, descs[i].description);
    }
    return tn_fail(TN_INVALID_ARGUMENT, "%.*s means several devices: %s: give one of these names", TN_STR_ARGS(name), text);
}

// The one device that an item means; the first rule that fits any decides.
tn_status tn_place_find(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device)
{
    // A number beyond the list may be that of a product: "4090".
    if (number_of(name, out_device) && *out_device < n_descs) return TN_OK;
    for (match_rule rule = BY_NAME; rule < N_RULES; rule++) {
        uint32_t n = 0;
        for (uint32_t i = n_descs; i-- > 0;) {
            if (!matches(descs, i, name, rule)) continue;
            *out_device = i;
            n++;
        }
        if (n == 1) return TN_OK;
        if (n > 1) return ambiguous(name, rule, descs, n_descs);
    }
    return tn_place_not_found("there is no device ", name, descs, n_descs);
}

tn_status tn_place_find_usable(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device)
{
    TN_TRY(tn_place_find(name, descs, n_descs, out_device));
    const tn_device_desc *desc = &descs[*out_device];
    if (!desc->unusable[0]) return TN_OK;
    return tn_fail(TN_UNAVAILABLE, "device %s (%s) cannot be used: %s", desc->name, desc->description, desc->unusable);
}
