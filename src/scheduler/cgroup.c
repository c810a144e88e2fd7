// Control groups: a group's files, then those of each group above it. Inside a container the path that the kernel names may lie outside of
// what is mounted; then only the mount's own top is found, which is the container's group.
#include "scheduler/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// First line of <directory>/<name>.
static bool read_line(const char *directory, const char *name, char *line, int capacity)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path) return false;
    FILE *file = fopen(path, "re");
    if (!file) return false;
    bool ok = fgets(line, capacity, file) != NULL;
    fclose(file);
    return ok;
}

// A positive number; false for "max", -1 and what is no number.
static bool parse_positive(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || errno || value <= 0) return false;
    *out = (uint64_t)value;
    return true;
}

static void lower_memory(tn_cgroup_limits *limits, const char *text)
{
    uint64_t bytes;
    // Version 1 writes "no limit" as the largest multiple of a page.
    if (!parse_positive(text, &bytes) || bytes >= (uint64_t)1 << 62) return;
    if (limits->memory_bytes == 0 || bytes < limits->memory_bytes) limits->memory_bytes = bytes;
}

static void lower_cpus(tn_cgroup_limits *limits, const char *quota_text, const char *period_text)
{
    uint64_t quota, period;
    if (!parse_positive(quota_text, &quota) || !parse_positive(period_text, &period)) return;
    uint64_t n = quota / period + (quota % period != 0);
    if (n > UINT32_MAX) return;
    if (limits->n_cpus == 0 || n < limits->n_cpus) limits->n_cpus = (uint32_t)n;
}

static void read_v2(tn_cgroup_limits *limits, const char *directory)
{
    char line[128];
    if (read_line(directory, "memory.max", line, sizeof line)) lower_memory(limits, line);
    if (read_line(directory, "cpu.max", line, sizeof line)) {
        const char *period = strchr(line, ' ');
        lower_cpus(limits, line, period ? period + 1 : "100000");
    }
}

static void read_v1_memory(tn_cgroup_limits *limits, const char *directory)
{
    char line[128];
    if (read_line(directory, "memory.limit_in_bytes", line, sizeof line)) lower_memory(limits, line);
}

static void read_v1_cpu(tn_cgroup_limits *limits, const char *directory)
{
    char quota[128], period[128];
    if (read_line(directory, "cpu.cfs_quota_us", quota, sizeof quota) && read_line(directory, "cpu.cfs_period_us", period, sizeof period))
        lower_cpus(limits, quota, period);
}

typedef void read_fn(tn_cgroup_limits *limits, const char *directory);

// Calls `read` for <mount><path> and every directory above it down to the mount.
static void read_ancestors(tn_cgroup_limits *limits, const char *mount, const char *path, read_fn *read)
{
    char directory[PATH_MAX];
    size_t mount_len = strlen(mount);
    if ((size_t)snprintf(directory, sizeof directory, "%s%s", mount, path) >= sizeof directory) return;
    for (;;) {
        read(limits, directory);
        char *slash = strrchr(directory + mount_len, '/');
        if (!slash) return;
        *slash = '\0';
    }
}

static bool has_controller(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0')) return true;
    }
    return false;
}

// One line of /proc/self/cgroup: "id:controllers:path".
static void read_group(tn_cgroup_limits *limits, const char *root, char *line)
{
    char mount[PATH_MAX];
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    if (!controllers) return;
    char *path = strchr(++controllers, ':');
    if (!path) return;
    *path++ = '\0';
    if (strstr(path, "..")) *path = '\0'; // a group outside of the namespace
    if (*controllers == '\0') {
        // Version 2 alone, or beside version 1.
        const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
        for (size_t i = 0; i < 2; i++) {
            if ((size_t)snprintf(mount, sizeof mount, "%s%s", root, mounts[i]) < sizeof mount) read_ancestors(limits, mount, path, read_v2);
        }
        return;
    }
    if (has_controller(controllers, "memory") && (size_t)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/memory", root) < sizeof mount)
        read_ancestors(limits, mount, path, read_v1_memory);
    if (!has_controller(controllers, "cpu")) return;
    const char *const mounts[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"};
    for (size_t i = 0; i < 2; i++) {
        if ((size_t)snprintf(mount, sizeof mount, "%s%s", root, mounts[i]) < sizeof mount) read_ancestors(limits, mount, path, read_v1_cpu);
    }
}

tn_cgroup_limits tn_cgroup_read(const char *root)
{
    tn_cgroup_limits limits = {0};
    char path[PATH_MAX], line[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/proc/self/cgroup", root) >= sizeof path) return limits;
    FILE *file = fopen(path, "re");
    if (!file) return limits;
    while (fgets(line, sizeof line, file)) read_group(&limits, root, line);
    fclose(file);
    return limits;
}
