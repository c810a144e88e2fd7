// What the flags say of which device runs what.
#ifndef TERNION_TOOL_PLACE_FLAGS_H
#define TERNION_TOOL_PLACE_FLAGS_H

#include "engine.h"

// A placement as it is asked for. Zero-initialise; params borrow from the flags and from here.
typedef struct tn_cli_place_flags {
    tn_placement_params params;
    tn_device_info cpu; // that --device none means
    char **overrides;   // [params.n_overrides] of the lists of -ot
} tn_cli_place_flags;

// Each returns 0 or the exit status after a message.

// Refuses flags that contradict each other; before a model is opened, where the verb likes.
int tn_cli_place_check(const tn_cli *cli);
int tn_cli_place_read(const tn_cli *cli, const tn_cli_engine *engine, tn_cli_place_flags *flags);
void tn_cli_place_deinit(tn_cli_place_flags *flags);

// The flag that forces layers, as users write it; NULL: none does.
const char *tn_cli_place_forcing_flag(const tn_cli *cli);
// Whether any flag says where layers run.
bool tn_cli_place_given(const tn_cli *cli);

#endif
