// Progress of long work on standard error: a bar on a terminal, a plain line every 5 seconds elsewhere.
#ifndef TERNION_TOOL_PROGRESS_H
#define TERNION_TOOL_PROGRESS_H

#include "term.h"
#include "ternion/base.h"

// Zero-initialise, then set `term` and `quiet`.
typedef struct tn_cli_progress {
    const tn_cli_term *term;
    bool quiet;
    bool drawn;     // a bar stands in the current line
    char stage[40]; // "" between stages
    uint64_t begun_ns, shown_ns;
    uint64_t done, total; // as last told: a stage that is told of less, or of another sum, has begun anew
    uint64_t base, whole; // the calls are about a part: `base` is done before it, `whole` is the sum; whole 0: they are about all of it
} tn_cli_progress;

// The hook for the library; it also cancels the work after Ctrl-C. Borrows `progress`.
tn_progress tn_cli_progress_hook(tn_cli_progress *progress);
// Says how far a stage is; false after Ctrl-C.
bool tn_cli_progress_update(tn_cli_progress *progress, const char *stage, uint64_t done, uint64_t total);
// Removes the bar, so that something else can be printed.
void tn_cli_progress_clear(tn_cli_progress *progress);
// The stage is over.
void tn_cli_progress_end(tn_cli_progress *progress);

#endif
