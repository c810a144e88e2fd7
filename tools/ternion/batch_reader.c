// One buffer: the line that is being read, and what came behind it.
#include "batch_reader.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { CHUNK = 1 << 16, MARK_LEN = 3 };

void tn_cli_batch_reader_init(tn_cli_batch_reader *reader, int fd, size_t len_max)
{
    memset(reader, 0, sizeof *reader);
    reader->fd = fd;
    reader->len_max = len_max;
}

void tn_cli_batch_reader_deinit(tn_cli_batch_reader *reader)
{
    free(reader->buffer);
    XXH64_freeState(reader->dropped);
    memset(reader, 0, sizeof *reader);
}

// A buffer that one long line made large stays large.
static bool make_room(tn_cli_batch_reader *r)
{
    if (r->begin > 0) {
        if (r->n > r->begin) memmove(r->buffer, r->buffer + r->begin, r->n - r->begin);
        r->n -= r->begin;
        r->searched -= r->begin;
        r->begin = 0;
    }
    if (r->capacity - r->n >= CHUNK) return true;
    size_t wanted = r->capacity > SIZE_MAX / 2 - CHUNK ? SIZE_MAX : 2 * r->capacity + 2 * CHUNK;
    char *grown = realloc(r->buffer, wanted);
    if (!grown) {
        errno = ENOMEM;
        return false;
    }
    r->buffer = grown;
    r->capacity = wanted;
    return true;
}

// Sets `ended` or adds bytes. TN_CLI_BATCH_READ_LINE: go on.
static tn_cli_batch_read_result fill(tn_cli_batch_reader *r, int wait_ms)
{
    if (!make_room(r)) return TN_CLI_BATCH_READ_FAILED;
    struct pollfd ready = {.fd = r->fd, .events = POLLIN};
    const int n_ready = poll(&ready, 1, wait_ms);
    if (n_ready < 0 && errno != EINTR) return TN_CLI_BATCH_READ_FAILED;
    if (n_ready <= 0) return TN_CLI_BATCH_READ_LATER;
    const ssize_t n = read(r->fd, r->buffer + r->n, r->capacity - r->n);
    if (n < 0) return errno == EINTR || errno == EAGAIN ? TN_CLI_BATCH_READ_LATER : TN_CLI_BATCH_READ_FAILED;
    r->n += (size_t)n;
    r->ended = n == 0;
    return TN_CLI_BATCH_READ_LINE;
}

static size_t mark_len(const tn_cli_batch_reader *r)
{
    const bool marked = r->offset == 0 && r->n - r->begin >= MARK_LEN && memcmp(r->buffer + r->begin, "\xef\xbb\xbf", MARK_LEN) == 0;
    return marked && !r->dropped ? MARK_LEN : 0;
}

// Hashes what has come of a line that is too long, and forgets it but for its last byte, which may be the \r of its end.
static bool drop(tn_cli_batch_reader *r)
{
    const size_t mark = mark_len(r), n = r->n - r->begin - 1;
    if (!r->dropped) {
        r->dropped = XXH64_createState();
        if (!r->dropped || XXH64_reset(r->dropped, 0) != XXH_OK) {
            errno = ENOMEM;
            return false;
        }
    }
    XXH64_update(r->dropped, r->buffer + r->begin + mark, n - mark);
    r->n_dropped += n;
    r->begin += n;
    return true;
}

static bool is_blank(const tn_cli_batch_line *line)
{
    for (size_t i = 0; i < line->len; i++) {
        if (line->text[i] != ' ' && line->text[i] != '\t') return false;
    }
    return !line->too_long;
}

// Makes a line of the `n` bytes at `begin` and the `n_end` of its end.
static void take(tn_cli_batch_reader *r, size_t n, size_t n_end, tn_cli_batch_line *line)
{
    const size_t mark = mark_len(r);
    const char *text = r->buffer + r->begin + mark;
    size_t len = n - mark;
    if (len > 0 && text[len - 1] == '\r') len--;
    line->too_long = r->dropped || (r->len_max > 0 && len > r->len_max);
    if (r->dropped) XXH64_update(r->dropped, text, len);
    line->hash = r->dropped ? XXH64_digest(r->dropped) : XXH64(text, len, 0);
    line->text = text;
    line->len = line->too_long ? 0 : len;
    line->number = ++r->n_lines;
    line->offset = r->offset;
    line->end = r->offset + r->n_dropped + n + n_end;
    line->unfinished = n_end == 0;
    XXH64_freeState(r->dropped);
    r->dropped = NULL;
    r->n_dropped = 0;
    r->offset = line->end;
    r->begin += n + n_end;
    r->searched = r->begin;
}

// Whether the line's end is in the buffer; *out_n: the bytes before it, or all that are there.
static bool find_end(tn_cli_batch_reader *r, size_t *out_n)
{
    const char *newline = r->n > r->searched ? memchr(r->buffer + r->searched, '\n', r->n - r->searched) : NULL;
    *out_n = (newline ? (size_t)(newline - r->buffer) : r->n) - r->begin;
    if (!newline) r->searched = r->n;
    return newline != NULL;
}

tn_cli_batch_read_result tn_cli_batch_read(tn_cli_batch_reader *reader, int wait_ms, tn_cli_batch_line *out_line)
{
    for (;;) {
        size_t n = 0;
        const bool whole = find_end(reader, &n);
        if (whole || (reader->ended && (n > 0 || reader->dropped))) {
            take(reader, n, whole, out_line);
            if (!is_blank(out_line)) return TN_CLI_BATCH_READ_LINE;
            continue;
        }
        if (reader->ended) return TN_CLI_BATCH_READ_END;
        // A mark and a \r may come on top of the longest text.
        const bool too_long = reader->len_max > 0 && n > reader->len_max + MARK_LEN + 1;
        if ((too_long || (reader->dropped && n > 1)) && !drop(reader)) return TN_CLI_BATCH_READ_FAILED;
        const tn_cli_batch_read_result result = fill(reader, wait_ms);
        if (result != TN_CLI_BATCH_READ_LINE) return result;
    }
}
