// What every verb gets: its flags, the terminals and the reporting that goes with them.
#ifndef TERNION_TOOL_CLI_H
#define TERNION_TOOL_CLI_H

#include "options.h"
#include "progress.h"
#include "term.h"
#include "ternion/ternion.h"
#include "verbs.h"

enum { TN_CLI_OK = 0, TN_CLI_FAILED = 1, TN_CLI_WRONG_USAGE = 2, TN_CLI_INTERRUPTED = 130 };

struct tn_cli {
    tn_cli_verb_id verb;
    tn_cli_options options;
    tn_cli_term out, err;
    tn_cli_progress progress;
    bool quiet, json;
    unsigned verbosity; // times -v was given
};

static inline const char *tn_cli_verb_name(const tn_cli *cli) { return tn_cli_verb_table[cli->verb].name; }

#endif
