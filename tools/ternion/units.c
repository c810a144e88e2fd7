// Times, sizes and counts for people.
#include "units.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

uint64_t tn_cli_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void scaled(double value, double step, const char *const units[], char *text, size_t capacity)
{
    int unit = 0;
    while (value >= step && units[unit + 1]) {
        value /= step;
        unit++;
    }
    snprintf(text, capacity, "%.*f%s%s", unit == 0 ? 0 : 2, value, *units[unit] ? " " : "", units[unit]);
}

void tn_cli_format_bytes(uint64_t bytes, char *text, size_t capacity)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL};
    scaled((double)bytes, 1024, units, text, capacity);
}

void tn_cli_format_count(double count, char *text, size_t capacity)
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};
    scaled(count, 1000, units, text, capacity);
}

void tn_cli_format_seconds(double seconds, char *text, size_t capacity)
{
    long long whole = (long long)seconds;
    if (seconds < 1) {
        snprintf(text, capacity, "%.1f ms", seconds * 1000);
    } else if (seconds < 120) {
        snprintf(text, capacity, "%.2f s", seconds);
    } else {
        snprintf(text, capacity, "%lld min %lld s", whole / 60, whole % 60);
    }
}

uint64_t tn_cli_peak_rss_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}
