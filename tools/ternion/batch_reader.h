// Lines of a file or a pipe, one at a time, in memory that does not grow with the input.
#ifndef TERNION_TOOL_BATCH_READER_H
#define TERNION_TOOL_BATCH_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Most bytes of a line of requests.
#define TN_CLI_BATCH_LINE_MAX ((size_t)16 << 20)

typedef struct tn_cli_batch_line {
    uint64_t number;      // among all lines of the input, from 1
    const char *text;     // [len] any bytes, without what ends the line; borrowed until the next one is read
    size_t len;           // 0 where too_long
    uint64_t hash;        // XXH64 of the text, however long
    uint64_t offset, end; // bytes of the input before the line, and with it
    bool too_long;        // its text was dropped
    bool unfinished;      // the input ends without a newline
} tn_cli_batch_line;

typedef enum tn_cli_batch_read_result {
    TN_CLI_BATCH_READ_LINE,
    TN_CLI_BATCH_READ_LATER, // nothing came in time, or a signal did
    TN_CLI_BATCH_READ_END,
    TN_CLI_BATCH_READ_FAILED, // errno says why
} tn_cli_batch_read_result;

typedef struct tn_cli_batch_reader {
    int fd;         // borrowed
    size_t len_max; // of a line; 0: no limit
    char *buffer;
    size_t capacity, begin, searched, n; // the line begins at `begin` and has no end before `searched`; `n` bytes are there
    uint64_t n_lines, offset;            // that were read, and the bytes up to where the present line begins
    uint64_t n_dropped;                  // bytes of the present line that are in the buffer no more
    struct XXH64_state_s *dropped;       // their hash; NULL: there are none
    bool ended;
} tn_cli_batch_reader;

// Reads from where `fd` stands. len_max: of texts; longer lines are told and dropped.
void tn_cli_batch_reader_init(tn_cli_batch_reader *reader, int fd, size_t len_max);
void tn_cli_batch_reader_deinit(tn_cli_batch_reader *reader);
// The next line that is not blank. Lines end with \n or \r\n; a byte order mark before the first one is no part of it.
// wait_ms: for input that is not there yet, -1: as long as it takes. What has come of a line is kept for the next call.
tn_cli_batch_read_result tn_cli_batch_read(tn_cli_batch_reader *reader, int wait_ms, tn_cli_batch_line *out_line);

#endif
