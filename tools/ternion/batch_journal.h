// The file of results: lines are appended as they come; started again, the program learns from it what is done.
#ifndef TERNION_TOOL_BATCH_JOURNAL_H
#define TERNION_TOOL_BATCH_JOURNAL_H

#include "batch_done.h"

typedef struct tn_cli_batch_journal_params {
    const char *path;        // "-": standard output
    bool overwrite;          // what the file holds does not count
    const char *try_command; // that writes elsewhere, for messages; borrowed
} tn_cli_batch_journal_params;

// Zero-initialise. All but regular files take lines alone: nothing is known of what was written before.
typedef struct tn_cli_batch_journal {
    tn_cli_batch_journal_params params;
    const char *name; // for messages
    int fd;
    bool opened, regular, created, begun, unsynced;
    bool removed;           // by somebody, while it was written
    uint64_t size;          // of its whole lines
    tn_cli_batch_done done; // by them
    uint64_t n_failed;      // lines of the input that they say have no answer
    char fingerprint[40];   // of the run that wrote them; "": none of them says
    uint64_t synced_ns;
} tn_cli_batch_journal;

// Those that return int return 0 or the exit status after a message.
// Opens and locks the file and reads what it holds; nothing is changed. A file that holds anything but results is refused.
int tn_cli_batch_journal_open(tn_cli_batch_journal *journal, const tn_cli_batch_journal_params *params);
// Tells again what each whole line answers.
int tn_cli_batch_journal_reread(const tn_cli_batch_journal *journal, void (*told)(void *user, uint64_t line, uint64_t hash), void *user);
// Refuses a file that a run with another fingerprint wrote.
int tn_cli_batch_journal_compare(const tn_cli_batch_journal *journal, const char *fingerprint);
// From now on the file changes: what a crash left unfinished is cut off; with `overwrite` everything is.
int tn_cli_batch_journal_begin(tn_cli_batch_journal *journal);
// Appends a line with its newline, whole or not at all.
int tn_cli_batch_journal_append(tn_cli_batch_journal *journal, const char *line, size_t len);
// Has the disk keep what was written, if the last time was seconds ago, or `at_end`.
int tn_cli_batch_journal_sync(tn_cli_batch_journal *journal, bool at_end);
// A file that was made here and not begun goes again.
void tn_cli_batch_journal_close(tn_cli_batch_journal *journal);

#endif
