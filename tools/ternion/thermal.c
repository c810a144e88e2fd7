// Temperatures and throttle counts, as Linux has them in files.
#include "thermal.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512 };

static bool read_line(const char *path, char *line, size_t capacity)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    const bool good = fgets(line, (int)capacity, file) != NULL;
    fclose(file);
    if (good) line[strcspn(line, "\n")] = '\0';
    return good && line[0];
}

// Calls `take` for each file that `pattern` below the root means.
static void for_each(const char *root, const char *pattern, void (*take)(const char *path, void *user), void *user)
{
    char whole[PATH_BYTES];
    glob_t found;
    if (snprintf(whole, sizeof whole, "%s/%s", root, pattern) >= (int)sizeof whole || glob(whole, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++) take(found.gl_pathv[i], user);
    globfree(&found);
}

// Whether the word beside the file ("name" of a sensor's driver, "type" of a zone) says that it is about processors.
static bool is_of_processors(const char *path, const char *word_file)
{
    static const char *const words[] = {"coretemp", "k10temp", "k8temp", "zenpower", "cpu", "soc_thermal", "soc-thermal", "x86_pkg_temp"};
    char beside[PATH_BYTES + 16], word[64];
    const char *slash = strrchr(path, '/');
    if (!slash || snprintf(beside, sizeof beside, "%.*s/%s", (int)(slash - path), path, word_file) >= (int)sizeof beside) return false;
    if (!read_line(beside, word, sizeof word)) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strncmp(word, words[i], strlen(words[i])) == 0) return true;
    }
    return false;
}

typedef struct warmest {
    const char *word_file;
    double celsius;
    bool found;
} warmest;

// What no processor survives is a sensor that is not connected.
static void take_temperature(const char *path, void *user)
{
    warmest *w = user;
    char line[64], *end;
    if (!is_of_processors(path, w->word_file) || !read_line(path, line, sizeof line)) return;
    const double celsius = strtod(line, &end) / 1000;
    if (end == line || !(celsius > -50 && celsius < 200)) return;
    if (!w->found || celsius > w->celsius) w->celsius = celsius;
    w->found = true;
}

bool tn_cli_thermal_celsius(const char *root, double *out_celsius)
{
    warmest w = {.word_file = "name"};
    for_each(root, "class/hwmon/hwmon*/temp*_input", take_temperature, &w);
    w.word_file = "type";
    if (!w.found) for_each(root, "class/thermal/thermal_zone*/temp", take_temperature, &w);
    *out_celsius = w.celsius;
    return w.found;
}

typedef struct counter {
    uint64_t sum;
    bool found;
} counter;

static void take_count(const char *path, void *user)
{
    counter *c = user;
    char line[64], *end;
    if (!read_line(path, line, sizeof line)) return;
    const unsigned long long count = strtoull(line, &end, 10);
    if (end == line) return;
    c->sum += count;
    c->found = true;
}

bool tn_cli_thermal_throttles(const char *root, uint64_t *out_count)
{
    counter c = {.found = false};
    for_each(root, "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count", take_count, &c);
    for_each(root, "devices/system/cpu/cpu[0-9]*/thermal_throttle/package_throttle_count", take_count, &c);
    *out_count = c.sum;
    return c.found;
}
