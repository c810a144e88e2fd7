// What ternion asks NVIDIA's management library for, of one card that takes 1.5 J between two questions.
#include <string.h>

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **card);
int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *mj);

static unsigned long long taken_mj;
static int n_started;

int nvmlInit_v2(void)
{
    n_started++;
    return 0;
}

int nvmlShutdown(void)
{
    n_started--;
    return 0;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **card)
{
    if (n_started != 1 || strncmp(bus_id, "0000:01:00.", 11) != 0) return 6; // NVML_ERROR_NOT_FOUND
    static char kept[16];
    strncpy(kept, bus_id, sizeof kept - 1);
    *card = kept;
    return 0;
}

int nvmlDeviceGetTotalEnergyConsumption(void *card, unsigned long long *mj)
{
    if (strcmp(card, "0000:01:00.0") != 0) return 3; // NVML_ERROR_NOT_SUPPORTED
    *mj = taken_mj += 1500;
    return 0;
}
