// Questions that ternion plan asks of the library: what is chosen, and what would be.
#ifndef TERNION_TOOL_PLAN_ASK_H
#define TERNION_TOOL_PLAN_ASK_H

#include "engine.h"

enum { TN_CLI_PLAN_DEVICES_MAX = 64, TN_CLI_PLAN_OPTIONS_MAX = TN_CLI_PLAN_DEVICES_MAX + 2, TN_CLI_PLAN_CHANGES_MAX = 256 };

typedef struct tn_cli_plan_device {
    char name[32], description[128];
    tn_placement_device figures; // its strings are not to be read
} tn_cli_plan_device;

typedef struct tn_cli_plan_option {
    char where[1024], reason[256];
    tn_placement_option figures; // its strings are not to be read
} tn_cli_plan_option;

// What would be chosen if one thing were otherwise.
typedef struct tn_cli_plan_change {
    char assume[96]; // "cuda0.mem=4000000000", as --what-if takes it, or "" for
    char flag[48];   // "--batch 4"
    char why[96];    // "cuda0 lacks 1.20 GiB", "" where the assumption says it
    bool possible;   // false: nothing fits then
    bool is_same;    // as is chosen now
    tn_cli_plan_option choice;
} tn_cli_plan_change;

typedef struct tn_cli_plan {
    tn_cli *cli;
    tn_cli_engine engine;
    tn_placement_params params;
    char assume[2048]; // of all --what-if
    uint32_t n_seqs, n_ctx;
    tn_goal goal; // never TN_GOAL_DEFAULT
    uint32_t n_devices, n_options, n_changes;
    tn_cli_plan_device devices[TN_CLI_PLAN_DEVICES_MAX];
    tn_cli_plan_option options[TN_CLI_PLAN_OPTIONS_MAX]; // the choice first; none where nothing was measured
    tn_cli_plan_change changes[TN_CLI_PLAN_CHANGES_MAX];
    double planning_ms; // of the choice itself, with all devices known
} tn_cli_plan;

// Asks for the placement, and fills in devices and options. Returns 0 or the exit status after a message.
int tn_cli_plan_ask(tn_cli_plan *plan);
// Fills in the changes, by asking again. Returns 0 or the exit status after a message.
int tn_cli_plan_ask_changes(tn_cli_plan *plan);
// Whether a placement as text has anything on the device.
bool tn_cli_plan_uses(const char *where, const char *device);

#endif
