// How warm the processors are, and whether heat slowed them down.
#ifndef TERNION_TOOL_THERMAL_H
#define TERNION_TOOL_THERMAL_H

#include <stdbool.h>
#include <stdint.h>

// All read what lies below `root`, "/sys" on a machine.

// The warmest sensor of the processors, in degrees Celsius, by the drivers of sensors, else by the thermal zones. False where there is
// none, as in virtual machines.
bool tn_cli_thermal_celsius(const char *root, double *out_celsius);
// How often x86 processors were slowed down by heat since the start of the system, of all cores and packages together. False where nobody
// counts.
bool tn_cli_thermal_throttles(const char *root, uint64_t *out_count);

#endif
