// The machine under a comparison: what it is, what else it did, and how fast its clocks ran.
#include "compare.h"
#include "thermal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define CPUS_MAX 4096u

static bool read_line(const char *path, char *line, size_t capacity)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    const bool good = fgets(line, (int)capacity, file) != NULL;
    fclose(file);
    if (good) line[strcspn(line, "\n")] = '\0';
    return good && line[0];
}

// What is said of the first processor; all of a machine have it in practice.
static json_t *governor(void)
{
    char line[64];
    const bool known = read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line);
    return known ? json_string(line) : json_null();
}

// The mean of the processors' clocks by the kernel's cpufreq, else by /proc/cpuinfo, which virtual machines have too.
static json_t *clock_mhz(void)
{
    double sum = 0, mhz;
    unsigned n = 0;
    char path[96], line[256];
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/scaling_cur_freq", cpu);
        if (!read_line(path, line, sizeof line)) break;
        sum += strtod(line, NULL) * 1e-3;
        n++;
    }
    FILE *file = n ? NULL : fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "cpu MHz%*[ \t]: %lf", &mhz) != 1) continue;
        sum += mhz;
        n++;
    }
    if (file) fclose(file);
    return n && sum > 0 ? json_real(sum / n) : json_null();
}

// Processes that wanted to run, on average of the last minute; ternion's own threads count too.
static json_t *load(void)
{
    double average;
    return getloadavg(&average, 1) == 1 ? json_real(average) : json_null();
}

static json_t *temperature(void)
{
    double celsius;
    return tn_cli_thermal_celsius("/sys", &celsius) ? json_real(celsius) : json_null();
}

static json_t *throttles(void)
{
    uint64_t count;
    return tn_cli_thermal_throttles("/sys", &count) ? json_integer((json_int_t)count) : json_null();
}

// Whether a hypervisor is below: x86 says so among the CPU's flags, others in the firmware's tables.
static json_t *is_virtual(void)
{
    char line[8192];
    bool has_flags = false, found = false;
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && !has_flags && fgets(line, sizeof line, file)) {
        has_flags = strncmp(line, "flags", 5) == 0;
        found = has_flags && strstr(line, " hypervisor") != NULL;
    }
    if (file) fclose(file);
    if (has_flags) return json_boolean(found);
    if (!read_line("/sys/class/dmi/id/sys_vendor", line, sizeof line)) return json_null();
    return json_boolean(strstr(line, "QEMU") || strstr(line, "VMware") || strstr(line, "Xen") || strstr(line, "Amazon"));
}

static json_t *kernel(void)
{
    struct utsname name;
    char text[sizeof name.sysname + sizeof name.release + sizeof name.machine + 2];
    if (uname(&name) != 0) return json_null();
    snprintf(text, sizeof text, "%s %s %s", name.sysname, name.release, name.machine);
    return json_string(text);
}

json_t *tn_cli_compare_machine(const tn_host *host)
{
    tn_host_info info;
    tn_host_get_info(host, &info);
    json_t *o = json_object();
    json_object_set_new(o, "cpu", info.cpu_model[0] ? tn_cli_json_text(info.cpu_model, strlen(info.cpu_model)) : json_null());
    json_object_set_new(o, "n_cores", json_integer(info.n_cores));
    json_object_set_new(o, "n_processors", json_integer(info.n_processors));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)info.memory_bytes));
    json_object_set_new(o, "kernel", kernel());
    json_object_set_new(o, "governor", governor());
    json_object_set_new(o, "clock_mhz_before", clock_mhz());
    json_object_set_new(o, "clock_mhz_after", json_null());
    json_object_set_new(o, "load_before", load());
    json_object_set_new(o, "load_after", json_null());
    json_object_set_new(o, "celsius_before", temperature());
    json_object_set_new(o, "celsius_after", json_null());
    json_object_set_new(o, "throttles_before", throttles());
    json_object_set_new(o, "throttles_after", json_null());
    json_object_set_new(o, "virtual", is_virtual());
    return o;
}

void tn_cli_compare_machine_after(json_t *machine)
{
    json_object_set_new(machine, "clock_mhz_after", clock_mhz());
    json_object_set_new(machine, "load_after", load());
    json_object_set_new(machine, "celsius_after", temperature());
    json_object_set_new(machine, "throttles_after", throttles());
}

uint64_t tn_cli_compare_memory(const char *field)
{
    char line[256];
    uint64_t kib = 0;
    const size_t n = strlen(field);
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, field, n) == 0 && line[n] == ':') kib = strtoull(line + n + 1, NULL, 10);
    }
    if (file) fclose(file);
    return kib * 1024;
}

bool tn_cli_compare_memory_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (!file) return false;
    const bool written = fputs("5", file) >= 0;
    return fclose(file) == 0 && written;
}
