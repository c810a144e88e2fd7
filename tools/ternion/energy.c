// Meters of energy, opened at run time: most machines have none of them, or let only the administrator read it.
#include "energy.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool read_line(const char *path, char *line, size_t capacity)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    const bool good = fgets(line, (int)capacity, file) != NULL;
    fclose(file);
    if (good) line[strcspn(line, "\n")] = '\0';
    return good;
}

static bool read_number(const char *path, uint64_t *out)
{
    char line[40], rest;
    return read_line(path, line, sizeof line) && sscanf(line, "%" SCNu64 "%c", out, &rest) == 1;
}

// ---- RAPL ----

// Adds the counter of a domain that is a whole package; those inside it (cores, memory) would be counted twice. False where it is there but
// cannot be read.
static bool add_domain(tn_cli_energy *energy, const char *root, const char *folder)
{
    char path[192], name[40];
    if (snprintf(path, sizeof path, "%s/%s/name", root, folder) >= (int)sizeof path || !read_line(path, name, sizeof name)) return true;
    if (strncmp(name, "package", 7) != 0 || energy->n_domains == TN_CLI_ENERGY_DOMAINS) return true;
    const size_t i = energy->n_domains;
    if (snprintf(path, sizeof path, "%s/%s/max_energy_range_uj", root, folder) >= (int)sizeof path) return true;
    if (!read_number(path, &energy->ranges_uj[i])) energy->ranges_uj[i] = 0;
    if (snprintf(energy->paths[i], sizeof energy->paths[i], "%s/%s/energy_uj", root, folder) >= (int)sizeof energy->paths[i]) return true;
    errno = 0;
    if (!read_number(energy->paths[i], &energy->last_uj[i])) return errno != EACCES && errno != EPERM;
    energy->n_domains++;
    return true;
}

void tn_cli_energy_open_rapl(tn_cli_energy *energy, const char *root)
{
    *energy = (tn_cli_energy){.meter = NULL};
    bool allowed = true, any = false;
    DIR *folder = opendir(root);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        // "intel-rapl:0" is a package, and "intel-rapl:0:1" a part of it; AMD's counters have the same names.
        if (strncmp(entry->d_name, "intel-rapl:", 11) != 0) continue;
        any = true;
        allowed = add_domain(energy, root, entry->d_name) && allowed;
    }
    if (folder) closedir(folder);
    if (allowed && energy->n_domains) {
        energy->meter = "rapl";
    } else if (!allowed) { // the sum of some packages alone would be wrong
        energy->n_domains = 0;
        snprintf(energy->why, sizeof energy->why, "n/a: RAPL's counters are there, but only the administrator may read them");
        snprintf(energy->enable, sizeof energy->enable, "sudo chmod a+r %.100s/intel-rapl:*/energy_uj", root);
    } else if (any) {
        snprintf(energy->why, sizeof energy->why, "n/a: RAPL has no counter of a whole package here");
    } else {
        snprintf(energy->why, sizeof energy->why,
                 "n/a: the system has no RAPL counters (%.100s/intel-rapl:*): virtual machines and most ARM machines have none", root);
        snprintf(energy->enable, sizeof energy->enable, "sudo modprobe intel_rapl_msr");
    }
}

static bool read_rapl(tn_cli_energy *energy)
{
    for (size_t i = 0; i < energy->n_domains; i++) {
        uint64_t now;
        if (!read_number(energy->paths[i], &now)) return false;
        const bool wrapped = now < energy->last_uj[i];
        if (wrapped && energy->ranges_uj[i] < energy->last_uj[i]) return false; // nobody knows how far it went
        energy->sum_uj += wrapped ? energy->ranges_uj[i] - energy->last_uj[i] + now : now - energy->last_uj[i];
        energy->last_uj[i] = now;
    }
    return true;
}

// ---- NVML ----

// A function of a library, whatever its type: POSIX lets a pointer to data hold it.
static bool find_function(void *library, const char *name, void *out_function)
{
    void *symbol = dlsym(library, name);
    memcpy(out_function, &symbol, sizeof symbol);
    return symbol != NULL;
}

// Returns what is wrong, or NULL.
static const char *open_card(tn_cli_energy *energy, const char *bus_id)
{
    int (*init)(void), (*by_bus)(const char *, void **);
    unsigned long long mj;
    if (!find_function(energy->library, "nvmlInit_v2", &init) || !find_function(energy->library, "nvmlShutdown", &energy->shut_down) ||
        !find_function(energy->library, "nvmlDeviceGetHandleByPciBusId_v2", &by_bus) ||
        !find_function(energy->library, "nvmlDeviceGetTotalEnergyConsumption", &energy->total_energy)) {
        energy->shut_down = NULL;
        return "NVIDIA's management library is too old";
    }
    if (init() != 0) {
        energy->shut_down = NULL;
        return "NVIDIA's management library does not start";
    }
    if (by_bus(bus_id, &energy->card) != 0) return "NVIDIA's management library does not know the card";
    return energy->total_energy(energy->card, &mj) == 0 ? NULL : "the card does not count its energy: those before Volta do not";
}

void tn_cli_energy_open_nvml(tn_cli_energy *energy, const char *library, const char *bus_id)
{
    *energy = (tn_cli_energy){.meter = NULL};
    energy->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    const char *wrong = energy->library ? open_card(energy, bus_id) : NULL;
    if (energy->library && !wrong) {
        unsigned long long mj = 0;
        energy->meter = "nvml";
        energy->total_energy(energy->card, &mj);
        energy->last_uj[0] = mj * 1000u;
        return;
    }
    tn_cli_energy_close(energy);
    if (wrong)
        snprintf(energy->why, sizeof energy->why, "n/a: %s", wrong);
    else
        snprintf(energy->why, sizeof energy->why, "n/a: NVIDIA's management library %.100s is not installed", library);
    snprintf(energy->enable, sizeof energy->enable, "nvidia-smi -q -d POWER");
}

static bool read_nvml(tn_cli_energy *energy)
{
    unsigned long long mj;
    if (energy->total_energy(energy->card, &mj) != 0 || mj * 1000u < energy->last_uj[0]) return false;
    energy->sum_uj = mj * 1000u - energy->last_uj[0];
    return true;
}

// ---- both ----

void tn_cli_energy_open_none(tn_cli_energy *energy, const char *why)
{
    *energy = (tn_cli_energy){.meter = NULL};
    snprintf(energy->why, sizeof energy->why, "n/a: %s", why);
}

void tn_cli_energy_close(tn_cli_energy *energy)
{
    if (energy->shut_down) energy->shut_down();
    if (energy->library) dlclose(energy->library);
    *energy = (tn_cli_energy){.meter = NULL};
}

bool tn_cli_energy_read(tn_cli_energy *energy, double *out_joule)
{
    if (!energy->meter) return false;
    const bool good = energy->n_domains ? read_rapl(energy) : read_nvml(energy);
    *out_joule = (double)energy->sum_uj * 1e-6;
    return good;
}
