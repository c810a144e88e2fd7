// Figures by device: limits of memory, and what a question assumes.
#include "base/str.h"
#include "scheduler/place.h"
#include "scheduler/place_internal.h"

#include <stdio.h>
#include <stdlib.h>

// The number that a text begins with, in decimal; *out_rest is what stands behind it. False where it begins with none.
static bool number_of(tn_str text, double *out_number, tn_str *out_rest)
{
    char copy[32], *end;
    if (text.len == 0 || text.len >= sizeof copy) return false;
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] | 0x20) == 'x') return false;
    }
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, text.data);
    if (copy[0] != '.' && (copy[0] < '0' || copy[0] > '9')) return false;
    *out_number = strtod(copy, &end);
    *out_rest = (tn_str){text.data + (end - copy), text.len - (size_t)(end - copy)};
    return end != copy;
}

// "4G", "512MB", "1.5GiB" in bytes. Returns what is wrong with it, NULL: nothing.
static const char *size_of(tn_str text, uint64_t *out_bytes)
{
    static const char units[] = "KMGT";
    double value;
    tn_str rest;
    *out_bytes = 0;
    if (!number_of(text, &value, &rest)) return "is no size: write it like 4G, 512M or 1.5GiB";
    for (size_t i = 0; rest.len && i < sizeof units - 1; i++) {
        if ((rest.data[0] & ~0x20) != units[i]) continue;
        value *= (double)((uint64_t)1 << (10 * (i + 1)));
        rest = (tn_str){rest.data + 1, rest.len - 1};
        if (rest.len == 2 && rest.data[0] == 'i') rest = (tn_str){rest.data + 1, 1};
        break;
    }
    if (rest.len && (rest.len > 1 || (rest.data[0] & ~0x20) != 'B')) return "is no size: write it like 4G, 512M or 1.5GiB";
    if (!(value >= 1 && value < 900000.0 * (double)((uint64_t)1 << 40)))
        return "is out of range: give 1 byte or more, and less than 900000T";
    *out_bytes = (uint64_t)value;
    return NULL;
}

// The next "NAME=VALUE" of a list, which moves behind it.
static void next_pair(const char **at, tn_str *out_name, tn_str *out_value, tn_str *out_whole)
{
    const size_t len = strcspn(*at, ",");
    const char *equals = memchr(*at, '=', len);
    *out_whole = (tn_str){*at, len};
    *out_name = tn_place_trimmed((tn_str){*at, equals ? (size_t)(equals - *at) : 0});
    *out_value = equals ? tn_place_trimmed((tn_str){equals + 1, len - (size_t)(equals + 1 - *at)}) : (tn_str){*at, 0};
    *at = (*at)[len] ? *at + len + 1 : NULL;
}

// Whether a list of limits has the device before its item `until`.
static bool is_limited_before(const char *text, tn_str until, uint32_t device, const tn_device_desc *descs, uint32_t n_descs)
{
    for (const char *at = text; at < until.data;) {
        tn_str name, value, whole;
        uint32_t other;
        next_pair(&at, &name, &value, &whole);
        if (tn_place_find(name, descs, n_descs, &other) == TN_OK && other == device) return true;
    }
    return false;
}

tn_status tn_place_memory_limits(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *limits)
{
    for (const char *at = text; at;) {
        tn_str name, value, whole;
        uint32_t device;
        uint64_t bytes;
        next_pair(&at, &name, &value, &whole);
        if (!name.len || !value.len)
            return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' is no limit of memory: write DEVICE=SIZE, like cuda0=4G", TN_STR_ARGS(whole));
        const char *fault = size_of(value, &bytes);
        if (fault)
            return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' is no limit of memory: %.*s %s", TN_STR_ARGS(whole), TN_STR_ARGS(value), fault);
        TN_TRY(tn_place_find(name, descs, n_descs, &device));
        if (is_limited_before(text, whole, device, descs, n_descs))
            return tn_fail(TN_INVALID_ARGUMENT, "%s has two limits of memory: leave one of them out", descs[device].name);
        limits[device] = bytes;
    }
    return TN_OK;
}

// ---- assumptions ----

static bool is_property(tn_str word) { return tn_str_is(word, "mem") || tn_str_is(word, "speed"); }

// The device of "cuda0" or "cuda0.mem", whose property is what stands behind the last dot; names may have dots themselves.
static tn_status find_assumed(tn_str name, const tn_device_desc *descs, uint32_t n_descs, uint32_t *out_device, tn_str *out_property)
{
    size_t dot = name.len;
    *out_property = (tn_str){name.data + name.len, 0};
    if (tn_place_find(name, descs, n_descs, out_device) == TN_OK) return TN_OK;
    while (dot > 0 && name.data[dot - 1] != '.') dot--;
    if (dot > 1) {
        const tn_str before = {name.data, dot - 1}, property = {name.data + dot, name.len - dot};
        const tn_status status = tn_place_find(before, descs, n_descs, out_device);
        *out_property = property;
        if (status == TN_OK || is_property(property)) return status;
    }
    return tn_place_find(name, descs, n_descs, out_device);
}

static tn_status refuse(tn_str whole, tn_str what, const char *fault)
{
    return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' cannot be assumed: %.*s %s", TN_STR_ARGS(whole), TN_STR_ARGS(what), fault);
}

static tn_status assume_one(tn_str whole, tn_str property, tn_str value, uint64_t *memory, double *speed, bool *off)
{
    double number;
    tn_str rest;
    if (property.len == 0) {
        *off = tn_str_is(value, "off");
        return *off ? TN_OK : refuse(whole, value, "is nothing that a device can be: write cuda0=off, cuda0.mem=24G or cuda0.speed=0.5");
    }
    if (tn_str_is(property, "mem")) {
        const char *fault = size_of(value, memory);
        return fault ? refuse(whole, value, fault) : TN_OK;
    }
    if (!tn_str_is(property, "speed")) return refuse(whole, property, "is no figure of a device: write mem or speed");
    if (!number_of(value, &number, &rest) || rest.len || !(number >= 1e-3 && number <= 1e3))
        return refuse(whole, value, "is no factor between 0.001 and 1000");
    *speed = number;
    return TN_OK;
}

tn_status tn_place_assume(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *memory, double *speeds, bool *off)
{
    for (const char *at = text; at;) {
        tn_str name, value, whole, property;
        uint32_t device;
        next_pair(&at, &name, &value, &whole);
        if (!name.len || name.data[0] == '.' || !value.len)
            return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' cannot be assumed: write cuda0.mem=24G, cuda0.speed=0.5 or cuda0=off",
                           TN_STR_ARGS(whole));
        TN_TRY(find_assumed(name, descs, n_descs, &device, &property));
        TN_TRY(assume_one(whole, property, value, &memory[device], &speeds[device], &off[device]));
    }
    return TN_OK;
}
