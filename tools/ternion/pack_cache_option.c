// --pack-cache, TERNION_CACHE and TERNION_CACHE_MAX.
#include "pack_cache_option.h"

#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIB_MAX_DEFAULT 16

// The user's folder for what can be made again. False where there is none: nothing is kept then.
static bool default_folder(char *folder, size_t capacity)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool has_cache = cache && cache[0] == '/'; // relative ones are to be ignored, says the XDG specification
    if (!has_cache && (!home || home[0] != '/')) return false;
    int n = has_cache ? snprintf(folder, capacity, "%s/ternion", cache) : snprintf(folder, capacity, "%s/.cache/ternion", home);
    return n > 0 && (size_t)n < capacity;
}

static int read_limit(uint64_t *bytes)
{
    const char *text = getenv("TERNION_CACHE_MAX");
    *bytes = (uint64_t)GIB_MAX_DEFAULT << 30;
    if (!text || !*text) return 0;
    char *end;
    errno = 0;
    unsigned long long gib = strtoull(text, &end, 10);
    if (errno || *end || text[0] == '-' || gib < 1 || gib > 1u << 20)
        return tn_cli_usage("environment TERNION_CACHE_MAX is '%.40s': give a whole number of GiB, 1 to %u", text, 1u << 20);
    *bytes = (uint64_t)gib << 30;
    return 0;
}

int tn_cli_pack_cache(const tn_cli *cli, tn_cli_engine *engine)
{
    const char *wanted = tn_cli_text(&cli->options, TN_OPT_PACK_CACHE), *from_environment = getenv("TERNION_CACHE");
    const char *source = "--pack-cache";
    engine->pack_cache[0] = '\0';
    if (!wanted && cli->verb == TN_VERB_BENCH) wanted = "off"; // what is measured does not depend on what ran before
    if (!wanted && from_environment && *from_environment) {
        wanted = from_environment;
        source = "environment TERNION_CACHE";
    }
    if (!wanted) wanted = "on";
    if (strcmp(wanted, "off") == 0) return 0;
    int rc = read_limit(&engine->pack_cache_bytes_max);
    if (rc) return rc;
    if (strcmp(wanted, "on") == 0) {
        if (!default_folder(engine->pack_cache, sizeof engine->pack_cache)) engine->pack_cache[0] = '\0';
        return 0;
    }
    if (!strchr(wanted, '/')) // a mistyped "on" must not make a folder
        return tn_cli_usage("%s '%.200s': say on, off, or a folder with a slash in its name, such as ./%.200s", source, wanted, wanted);
    if (strlen(wanted) >= sizeof engine->pack_cache) return tn_cli_usage("%s: the name of the folder is too long", source);
    snprintf(engine->pack_cache, sizeof engine->pack_cache, "%s", wanted);
    return 0;
}
