// Figures by device: limits of memory, and what a question assumes.
#include "base/str.h"
#include "scheduler/place.h"
#include "scheduler/place_internal.h"

#include <stdio.h>
#include <stdlib.h>

// A text that ends within `number`: false where it is too long for one.
static bool terminate(tn_str text, char *number, size_t capacity)
{
    if (text.len == 0 || text.len >= capacity) return false;
    snprintf(number, capacity, "%.*s", (int)text.len, text.data);
    return true;
}

// "4G", "512M", "1.5g": bytes; 0: it is no size.
static uint64_t size_of(tn_str text)
{
    static const char units[] = "KMGT";
    char number[32], *end;
    if (!terminate(text, number, sizeof number)) return 0;
    const double value = strtod(number, &end);
    double unit = 1;
    for (size_t i = 0; *end && i < sizeof units - 1; i++) {
        if ((*end & ~0x20) != units[i]) continue;
        unit = (double)((uint64_t)1 << (10 * (i + 1)));
        end++;
        break;
    }
    if (*end == 'B' || *end == 'b') end++;
    const double bytes = value * unit;
    return *end || !(bytes >= 1 && bytes < 1e18) ? 0 : (uint64_t)bytes;
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

tn_status tn_place_memory_limits(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *limits)
{
    for (const char *at = text; at;) {
        tn_str name, value, whole;
        uint32_t device;
        next_pair(&at, &name, &value, &whole);
        const uint64_t bytes = size_of(value);
        if (!name.len || !bytes)
            return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' is no limit of memory: write DEVICE=SIZE, like cuda0=4G", TN_STR_ARGS(whole));
        TN_TRY(tn_place_find(name, descs, n_descs, &device));
        limits[device] = bytes;
    }
    return TN_OK;
}

// What is assumed of the device's `property`: "mem", "speed", or the device itself where that is empty.
static bool assume_one(tn_str property, tn_str value, uint64_t *memory, double *speed, bool *off)
{
    char number[32], *end;
    if (tn_str_is(property, "mem")) return (*memory = size_of(value)) != 0;
    if (property.len == 0) return *off = tn_str_is(value, "off");
    if (!tn_str_is(property, "speed") || !terminate(value, number, sizeof number)) return false;
    *speed = strtod(number, &end);
    return !*end && *speed >= 1e-3 && *speed <= 1e3;
}

tn_status tn_place_assume(const char *text, const tn_device_desc *descs, uint32_t n_descs, uint64_t *memory, double *speeds, bool *off)
{
    for (const char *at = text; at;) {
        tn_str name, value, whole, property = {"", 0};
        uint32_t device;
        next_pair(&at, &name, &value, &whole);
        for (size_t i = 0; i < name.len; i++) {
            if (name.data[i] != '.' ||
                !(tn_str_is((tn_str){name.data + i, name.len - i}, ".mem") || tn_str_is((tn_str){name.data + i, name.len - i}, ".speed")))
                continue;
            property = (tn_str){name.data + i + 1, name.len - i - 1};
            name.len = i;
        }
        if (name.len) TN_TRY(tn_place_find(name, descs, n_descs, &device));
        if (!name.len || !assume_one(property, value, &memory[device], &speeds[device], &off[device]))
            return tn_fail(TN_INVALID_ARGUMENT, "'%.*s' cannot be assumed: write cuda0.mem=24G, cuda0.speed=0.5 or cuda0=off",
                           TN_STR_ARGS(whole));
    }
    return TN_OK;
}
