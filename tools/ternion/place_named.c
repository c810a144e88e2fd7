// Each name is looked up as the library does; what it cannot read, or does not find, is said by the library itself.
#include "place_named.h"

#include "place_flags.h"
#include "plan_ask.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 128, ITEMS_MAX = 64 };

// The first item of a comma list, up to `end_at`, without blanks around it.
static void copy_name(const char *item, const char *end_at, char name[NAME_MAX_BYTES])
{
    size_t n = strcspn(item, end_at);
    while (n && *item == ' ') item++, n--;
    while (n && item[n - 1] == ' ') n--;
    snprintf(name, NAME_MAX_BYTES, "%.*s", (int)(n < NAME_MAX_BYTES ? n : NAME_MAX_BYTES - 1), item);
}

static const char *next_item(const char *item)
{
    const char *comma = strchr(item, ',');
    return comma ? comma + 1 : NULL;
}

// ---- devices to choose from ----

static bool is_listed(const tn_host *host, const char *devices, uint32_t index)
{
    char name[NAME_MAX_BYTES];
    for (const char *at = devices; at; at = next_item(at)) {
        uint32_t listed;
        copy_name(at, ",", name);
        if (tn_host_find_device(host, name, &listed) != TN_OK || listed == index) return true; // the library says what is wrong
    }
    return false;
}

// Whether an earlier driver lists the same card.
static bool is_again(const tn_host *host, uint32_t index, const tn_device_info *info)
{
    tn_device_info other;
    for (uint32_t i = 0; info->bus_id[0] && i < index; i++) {
        if (tn_host_device_info(host, i, &other) == TN_OK && !other.is_software && !other.unusable[0] &&
            strcmp(other.bus_id, info->bus_id) == 0)
            return true;
    }
    return false;
}

// `name` is what the flag says, of the device `index`.
static int check_candidate(const tn_host *host, const char *devices, const char *flag, const char *name, uint32_t index)
{
    tn_device_info info;
    if (tn_host_device_info(host, index, &info) != TN_OK) return tn_cli_fail_status(NULL);
    const bool listed = devices ? is_listed(host, devices, index) : !info.is_software && !is_again(host, index, &info);
    return listed ? 0 : tn_cli_usage("%s %s: it is not among the devices to choose from: name it with --device", flag, name);
}

static int check_limits(const tn_host *host, const tn_placement_params *params)
{
    char name[NAME_MAX_BYTES];
    int rc = 0;
    for (const char *at = params->memory_limits; at && rc == 0; at = next_item(at)) {
        uint32_t index;
        copy_name(at, "=,", name);
        if (name[0] && tn_host_find_device(host, name, &index) == TN_OK)
            rc = check_candidate(host, params->devices, "--mem-limit", name, index);
    }
    return rc;
}

// ---- assumptions ----

typedef enum assumed_what { ASSUMED_OFF, ASSUMED_MEMORY, ASSUMED_SPEED } assumed_what;

typedef struct assumption {
    uint32_t device;
    assumed_what what;
    const char *text;
} assumption;

static int item_length(const char *item) { return (int)strcspn(item, ","); }

// Reads "cpu0.mem=4G"; false where that is for the library to refuse.
static bool read_assumption(const tn_host *host, const char *item, char name[NAME_MAX_BYTES], assumption *a)
{
    static const char *const ends[] = {[ASSUMED_MEMORY] = ".mem", [ASSUMED_SPEED] = ".speed"};
    *a = (assumption){.what = ASSUMED_OFF, .text = item};
    copy_name(item, "=,", name);
    for (assumed_what what = ASSUMED_MEMORY; what <= ASSUMED_SPEED; what++) {
        const size_t n = strlen(name), n_end = strlen(ends[what]);
        if (n <= n_end || strcmp(name + n - n_end, ends[what]) != 0) continue;
        name[n - n_end] = '\0';
        a->what = what;
    }
    return name[0] && tn_host_find_device(host, name, &a->device) == TN_OK;
}

static int check_assumptions(const tn_host *host, const tn_placement_params *params)
{
    assumption all[ITEMS_MAX];
    char name[NAME_MAX_BYTES];
    uint32_t n = 0;
    int rc = 0;
    for (const char *at = params->assume; at && rc == 0 && n < ITEMS_MAX; at = next_item(at)) {
        assumption *a = &all[n];
        if (!read_assumption(host, at, name, a)) continue;
        rc = check_candidate(host, params->devices, "--what-if", name, a->device);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            const bool same = all[i].what == a->what, either_off = all[i].what == ASSUMED_OFF || a->what == ASSUMED_OFF;
            if (all[i].device == a->device && (same || either_off))
                rc = tn_cli_usage("--what-if: %.*s and %.*s are not both so: leave one of them out", item_length(all[i].text), all[i].text,
                                  item_length(at), at);
        }
        n++;
    }
    return rc;
}

int tn_cli_place_check_named(const tn_cli *cli, const tn_host *host, const tn_placement_params *params)
{
    const bool forced = tn_cli_place_forcing_flag(cli) != NULL; // may name any device, and so may limits
    const int rc = forced ? 0 : check_limits(host, params);
    return rc ? rc : check_assumptions(host, params);
}

// ---- what was forced ----

// Whether a placement has anything on a GPU; `where` NULL: whether the host has one that can be used and is not emulated.
static bool has_gpu(const tn_host *host, const char *where)
{
    tn_device_info info;
    const uint32_t n = where ? tn_host_devices_listed(host) : tn_host_device_count(host);
    for (uint32_t i = 0; i < n; i++) {
        if (tn_host_device_info(host, i, &info) != TN_OK || strcmp(info.backend, "cpu") == 0) continue;
        if (where ? tn_cli_plan_uses(where, info.name) : !info.is_software && !info.unusable[0]) return true;
    }
    return false;
}

void tn_cli_place_warn(const tn_cli *cli, const tn_cli_engine *engine)
{
    char where[1024], name[NAME_MAX_BYTES];
    tn_device_info info;
    const char *forced = tn_cli_place_forcing_flag(cli), *devices = tn_cli_text(&cli->options, TN_OPT_DEVICE);
    const tn_cli_value *layers = &cli->options.values[TN_OPT_GPU_LAYERS];
    if (!forced) return;
    tn_placement_print(engine->placement, where, sizeof where);
    const bool wants_gpu = strcmp(forced, "-ngl") == 0 && (layers->text || layers->integer != 0);
    if (!devices && wants_gpu && !has_gpu(engine->host, where))
        tn_cli_warn("-ngl: %s",
                    has_gpu(engine->host, NULL)
                        ? "no device is named for its layers, so they are on the CPU: name one, --device gpu0 for example"
                        : "there is no GPU that can be used, so its layers are on the CPU: ternion devices shows what there is");
    for (const char *at = devices; at; at = next_item(at)) {
        uint32_t index;
        copy_name(at, ",", name);
        if (tn_host_find_device(engine->host, name, &index) != TN_OK || tn_host_device_info(engine->host, index, &info) != TN_OK) continue;
        if (!tn_cli_plan_uses(where, info.name)) tn_cli_warn("--device %s: %s leaves it nothing of the model", name, forced);
    }
}
