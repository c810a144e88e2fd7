// Devices that flags name without effect: refused where they could have none, warned of where the model left them out.
#ifndef TERNION_TOOL_PLACE_NAMED_H
#define TERNION_TOOL_PLACE_NAMED_H

#include "engine.h"

// Refuses limits (--mem-limit) and assumptions (--what-if; NULL: none) about devices that are not among those to choose from, and
// assumptions that contradict each other. What cannot be read is left to the library. Returns 0 or the exit status after a message.
int tn_cli_place_check_named(const tn_cli *cli, const tn_host *host, const tn_placement_params *params);
// Warns where -ngl wants a GPU and has none, and of devices that --device names and that have nothing of what was forced.
void tn_cli_place_warn(const tn_cli *cli, const tn_cli_engine *engine);

#endif
