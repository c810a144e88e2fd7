// Which lines of the input are still to be answered, and whether those that are done are still what they were.
#ifndef TERNION_TOOL_BATCH_RESUME_H
#define TERNION_TOOL_BATCH_RESUME_H

#include "batch_journal.h"
#include "batch_reader.h"

// Goes along with the input, line after line. Borrows the journal.
typedef struct tn_cli_batch_resume {
    const tn_cli_batch_journal *journal;
    const char *input; // its name, for messages
    size_t at;         // the range that is next or in which the input stands
    uint64_t sum;      // of its lines so far
} tn_cli_batch_resume;

typedef enum tn_cli_batch_progress_of_line {
    TN_CLI_BATCH_TODO,
    TN_CLI_BATCH_DONE,
    TN_CLI_BATCH_CHANGED, // some line of range `at` is another one now, or gone
} tn_cli_batch_progress_of_line;

// What is to be done with the next line that was read; NULL: the input has ended.
tn_cli_batch_progress_of_line tn_cli_batch_resume_line(tn_cli_batch_resume *resume, const tn_cli_batch_line *line);
// Says that lines of the range were changed. Returns the exit status.
int tn_cli_batch_resume_refuse(const tn_cli_batch_resume *resume);
// Compares what is done with an input that can be read twice, from its present position, and returns there.
// *out_todo: whether any line is left. Returns 0 or the exit status after a message that names the first line that was changed.
int tn_cli_batch_resume_check(const tn_cli_batch_journal *journal, const char *input, int fd, bool *out_todo);

#endif
