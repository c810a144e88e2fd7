// ternion devices --calibrate: measures what models' parts take on the devices.
#ifndef TERNION_TOOL_DEVICES_CALIBRATE_H
#define TERNION_TOOL_DEVICES_CALIBRATE_H

#include "engine.h"

// Measures the devices that --device names, else all that are not emulated, and prints a table or JSON; warns where that is not
// kept. Returns the exit status.
int tn_cli_devices_calibrate(tn_cli *cli, tn_host *host, bool is_kept);

#endif
