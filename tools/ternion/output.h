// Output files that appear whole or not at all.
#ifndef TERNION_TOOL_OUTPUT_H
#define TERNION_TOOL_OUTPUT_H

#include <stdio.h>

// Zero-initialise.
typedef struct tn_cli_output {
    FILE *stream;
    char *path;      // final name, for messages too
    char *temporary; // NULL: written in place (a device, a pipe) or standard output
} tn_cli_output;

// Opens `path` ("-": standard output) under a temporary name beside it. Each returns 0 or the exit status after a message.
int tn_cli_output_open(tn_cli_output *output, const char *path);
int tn_cli_output_write(tn_cli_output *output, const void *bytes, size_t n);
// Closes the file and gives it its name.
int tn_cli_output_commit(tn_cli_output *output);
// Removes what was not committed.
void tn_cli_output_discard(tn_cli_output *output);

// Says why a write failed, by its errno, and what helps. Returns the exit status.
int tn_cli_cannot_write(const char *path, int number);
// Writes to standard output at once.
int tn_cli_print(const char *bytes, size_t n);
// The same for a terminal: what would drive it is written out (\x1b), newlines and tabs stay.
int tn_cli_print_plain(const char *bytes, size_t n);
// Closes standard output: the last chance to learn that its disk is full.
int tn_cli_close_stdout(void);

#endif
