// Energy that a device took, by the meters that a machine has: RAPL for CPUs, NVML for NVIDIA's cards.
#ifndef TERNION_TOOL_ENERGY_H
#define TERNION_TOOL_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TN_CLI_ENERGY_DOMAINS 16

// Zero-initialise, or open.
typedef struct tn_cli_energy {
    const char *meter; // "rapl", "nvml"; NULL: there is none
    char why[256];     // without a meter: the reason, one line
    char enable[160];  // and the command that would give one; "": there is none
    // RAPL: the packages' counters, each of which begins anew behind its range.
    char paths[TN_CLI_ENERGY_DOMAINS][192];
    uint64_t ranges_uj[TN_CLI_ENERGY_DOMAINS], last_uj[TN_CLI_ENERGY_DOMAINS], sum_uj;
    size_t n_domains;
    // NVML.
    void *library, *card;
    int (*total_energy)(void *card, unsigned long long *mj);
    int (*shut_down)(void);
} tn_cli_energy;

// The packages' counters below `root`, "/sys/class/powercap" on a machine. What is missing or not readable is said in `energy`.
void tn_cli_energy_open_rapl(tn_cli_energy *energy, const char *root);
// The card with this bus id, "0000:01:00.0", by `library`, "libnvidia-ml.so.1" on a machine.
void tn_cli_energy_open_nvml(tn_cli_energy *energy, const char *library, const char *bus_id);
// No meter, for this reason.
void tn_cli_energy_open_none(tn_cli_energy *energy, const char *why);
void tn_cli_energy_close(tn_cli_energy *energy);

// Joules since it was opened. A RAPL counter may begin anew once between two calls. False where there is no meter, or it no longer answers.
bool tn_cli_energy_read(tn_cli_energy *energy, double *out_joule);

#endif
