// A journal of whole lines. One process at a time holds it, by flock; whatever ends a process, at most the last line is unfinished.
#include "batch_journal.h"

#include "batch_reader.h"
#include "cli.h"
#include "interrupt.h"
#include "json_out.h"
#include "output.h"
#include "report.h"
#include "units.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID_PREFIX       "batch_req_"
#define SYNC_AFTER_NS   5000000000u
#define FINGERPRINT_MAX (sizeof((tn_cli_batch_journal *)0)->fingerprint)

// What a line of results says of itself.
typedef struct result_head {
    uint64_t line, hash;
    bool is_failed;
    char fingerprint[FINGERPRINT_MAX];
} result_head;

typedef enum line_kind { LINE_RESULT, LINE_OTHER, LINE_NO_MEMORY } line_kind;

// "batch_req_LINE_HASH" with LINE from 1 and HASH of 16 hexadecimal digits.
static bool read_id(const char *id, result_head *head)
{
    if (strncmp(id, ID_PREFIX, strlen(ID_PREFIX)) != 0) return false;
    id += strlen(ID_PREFIX);
    char *end = NULL;
    errno = 0;
    head->line = *id >= '1' && *id <= '9' ? strtoull(id, &end, 10) : 0;
    if (head->line == 0 || errno || *end != '_') return false;
    id = end + 1;
    if (strlen(id) != 16 || strspn(id, "0123456789abcdef") != 16) return false;
    head->hash = strtoull(id, NULL, 16);
    return true;
}

static line_kind read_result(const tn_cli_batch_line *line, result_head *head)
{
    json_error_t error;
    json_t *object = json_loadb(line->text, line->len, JSON_ALLOW_NUL, &error);
    if (!object && json_error_code(&error) == json_error_out_of_memory) return LINE_NO_MEMORY;
    const char *id = json_string_value(json_object_get(object, "id"));
    const json_t *body = json_object_get(json_object_get(object, "response"), "body");
    const char *fingerprint = json_string_value(json_object_get(body, "system_fingerprint"));
    const bool good = id && read_id(id, head);
    head->is_failed = json_is_object(json_object_get(object, "error"));
    snprintf(head->fingerprint, sizeof head->fingerprint, "%s", fingerprint ? fingerprint : "");
    json_decref(object);
    return good ? LINE_RESULT : LINE_OTHER;
}

// Whether a process that was stopped may have left this: the beginning of a result, or the zeros of a file system that was.
static bool is_remains(const tn_cli_batch_line *line)
{
    static const char beginning[] = "{\"id\":\"" ID_PREFIX;
    size_t known = 0, n_zero = 0;
    while (n_zero < line->len && line->text[n_zero] == '\0') n_zero++;
    if (n_zero == line->len) return true;
    for (size_t i = 0; i < line->len && beginning[known]; i++) {
        if (line->text[i] == ' ') continue;
        if (line->text[i] != beginning[known++]) return false;
    }
    return true;
}

static int refuse(const tn_cli_batch_journal *j, uint64_t line, const char *what)
{
    return tn_cli_fail(j->params.try_command, "line %" PRIu64 " of %s %s: write to another file, or give --overwrite to lose this one",
                       line, j->name, what);
}

static int keep_result(tn_cli_batch_journal *j, const tn_cli_batch_line *line, const result_head *head)
{
    switch (tn_cli_batch_done_add(&j->done, head->line, head->hash)) {
    case TN_CLI_BATCH_ADDED: break;
    case TN_CLI_BATCH_ADDED_BEFORE: return refuse(j, line->number, "answers a request for the second time");
    case TN_CLI_BATCH_NO_MEMORY: return tn_cli_out_of_memory();
    }
    if (head->fingerprint[0] && j->fingerprint[0] && strcmp(head->fingerprint, j->fingerprint) != 0)
        return refuse(j, line->number, "was made with another model or other settings than those before it");
    if (head->fingerprint[0]) memcpy(j->fingerprint, head->fingerprint, sizeof j->fingerprint);
    j->n_failed += head->is_failed;
    j->size = line->end;
    return 0;
}

static int cannot_read(const tn_cli_batch_journal *j, int number)
{
    if (number == ENOMEM) return tn_cli_out_of_memory();
    return tn_cli_fail(j->params.try_command, "cannot read %s: %s", j->name, strerror(number));
}

// TN_CLI_BATCH_READ_LATER: after Ctrl-C.
static tn_cli_batch_read_result next_line(tn_cli_batch_reader *reader, tn_cli_batch_line *line)
{
    tn_cli_batch_read_result read;
    do read = tn_cli_batch_read(reader, -1, line);
    while (read == TN_CLI_BATCH_READ_LATER && !tn_cli_interrupted());
    return read;
}

// Reads all lines. Only the last one may be unfinished; it does not count.
static int scan(tn_cli_batch_journal *j, tn_cli_batch_reader *reader)
{
    tn_cli_batch_line line;
    tn_cli_batch_read_result read;
    uint64_t other = 0; // the line that is no result; 0: there is none
    bool remains = false;
    while ((read = next_line(reader, &line)) == TN_CLI_BATCH_READ_LINE) {
        result_head head;
        if (other) break;
        const line_kind kind = line.unfinished ? LINE_OTHER : read_result(&line, &head);
        if (kind == LINE_NO_MEMORY) return tn_cli_out_of_memory();
        const int rc = kind == LINE_RESULT ? keep_result(j, &line, &head) : 0;
        if (rc) return rc;
        other = kind == LINE_OTHER ? line.number : 0;
        remains = is_remains(&line);
    }
    if (read == TN_CLI_BATCH_READ_LATER) return tn_cli_stopped();
    if (read == TN_CLI_BATCH_READ_FAILED) return cannot_read(j, errno);
    if (other && (read == TN_CLI_BATCH_READ_LINE || !remains)) return refuse(j, other, "is no result of ternion batch");
    return 0;
}

// Opens the file, or makes it. Sets `created` and `regular`.
static int open_file(tn_cli_batch_journal *j)
{
    const char *path = j->params.path;
    struct stat status;
    const bool special = stat(path, &status) == 0 && !S_ISREG(status.st_mode);
    const int flags = (special ? O_WRONLY : O_RDWR) | O_APPEND | O_CLOEXEC;
    j->fd = special ? -1 : open(path, flags | O_CREAT | O_EXCL, 0666);
    j->created = j->fd >= 0;
    if (!j->created) j->fd = open(path, flags | (special ? 0 : O_CREAT), 0666);
    if (j->fd < 0) return tn_cli_cannot_write(path, errno);
    j->opened = true;
    if (fstat(j->fd, &status) != 0) return tn_cli_cannot_write(path, errno);
    j->regular = S_ISREG(status.st_mode);
    return 0;
}

// *out_gone: the process that had made the file took it away again, before the lock came.
static int lock_file(tn_cli_batch_journal *j, bool *out_gone)
{
    const char *path = j->params.path;
    struct stat locked, named;
    if (flock(j->fd, LOCK_EX | LOCK_NB) == 0) {
        if (fstat(j->fd, &locked) != 0) return tn_cli_cannot_write(path, errno);
        *out_gone = stat(path, &named) != 0 || named.st_dev != locked.st_dev || named.st_ino != locked.st_ino;
        return 0;
    }
    j->created = false; // another process has it now
    if (errno == EWOULDBLOCK)
        return tn_cli_fail(j->params.try_command, "another process writes to %s: wait for its end, or write to another file", path);
    return tn_cli_fail(j->params.try_command, "cannot lock %s: %s; write to a file on another disk", path, strerror(errno));
}

static int open_and_lock(tn_cli_batch_journal *j)
{
    for (;;) {
        bool gone = false;
        int rc = open_file(j);
        if (rc == 0 && j->regular) rc = lock_file(j, &gone);
        if (rc || !gone) return rc;
        close(j->fd);
        j->opened = false;
    }
}

int tn_cli_batch_journal_open(tn_cli_batch_journal *journal, const tn_cli_batch_journal_params *params)
{
    journal->params = *params;
    journal->name = params->path;
    if (strcmp(params->path, "-") == 0) {
        journal->name = "standard output";
        journal->fd = STDOUT_FILENO;
        return 0;
    }
    int rc = open_and_lock(journal);
    if (rc || !journal->regular || params->overwrite) return rc;
    tn_cli_batch_reader reader;
    tn_cli_batch_reader_init(&reader, journal->fd, 0);
    rc = scan(journal, &reader);
    tn_cli_batch_reader_deinit(&reader);
    return rc;
}

int tn_cli_batch_journal_reread(const tn_cli_batch_journal *j, void (*told)(void *user, uint64_t line, uint64_t hash), void *user)
{
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    result_head head;
    tn_cli_batch_read_result read = TN_CLI_BATCH_READ_END;
    if (lseek(j->fd, 0, SEEK_SET) < 0) return cannot_read(j, errno);
    tn_cli_batch_reader_init(&reader, j->fd, 0);
    while (reader.offset < j->size && (read = next_line(&reader, &line)) == TN_CLI_BATCH_READ_LINE) {
        if (read_result(&line, &head) == LINE_RESULT) told(user, head.line, head.hash);
    }
    const int number = errno;
    tn_cli_batch_reader_deinit(&reader);
    if (read == TN_CLI_BATCH_READ_LATER) return tn_cli_stopped();
    return read == TN_CLI_BATCH_READ_FAILED ? cannot_read(j, number) : 0;
}

int tn_cli_batch_journal_compare(const tn_cli_batch_journal *j, const char *fingerprint)
{
    if (!j->fingerprint[0] || strcmp(j->fingerprint, fingerprint) == 0) return 0;
    return tn_cli_fail(j->params.try_command,
                       "the results in %s were made with another model or other settings (%s, now %s): use those again, write to another "
                       "file, or give --overwrite to lose these",
                       j->name, j->fingerprint, fingerprint);
}

int tn_cli_batch_journal_begin(tn_cli_batch_journal *j)
{
    struct stat status;
    j->begun = true;
    j->synced_ns = tn_cli_now_ns();
    if (!j->regular) return 0;
    if (fstat(j->fd, &status) != 0) return tn_cli_cannot_write(j->name, errno);
    if ((uint64_t)status.st_size == j->size) return 0;
    if (ftruncate(j->fd, (off_t)j->size) != 0) return tn_cli_cannot_write(j->name, errno);
    j->unsynced = true;
    return 0;
}

// Takes back what was written of a line. Where even that fails, the next start does it.
static int take_back(const tn_cli_batch_journal *j, int number)
{
    if (j->regular && ftruncate(j->fd, (off_t)j->size) != 0 && number == 0) number = errno;
    return tn_cli_cannot_write(j->name, number);
}

int tn_cli_batch_journal_append(tn_cli_batch_journal *j, const char *line, size_t len)
{
    for (size_t at = 0; at < len;) {
        const ssize_t n = write(j->fd, line + at, len - at);
        if (n > 0) {
            at += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) { // a pipe that does not block
            struct pollfd ready = {.fd = j->fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (n == 0 || errno != EINTR) {
            return take_back(j, n == 0 ? EIO : errno);
        }
    }
    j->size += len;
    j->unsynced = true;
    return 0;
}

int tn_cli_batch_journal_sync(tn_cli_batch_journal *j, bool at_end)
{
    const uint64_t now = tn_cli_now_ns();
    if (!j->regular || !j->unsynced || j->removed || (!at_end && now - j->synced_ns < SYNC_AFTER_NS)) return 0;
    while (fdatasync(j->fd) != 0) {
        if (errno != EINTR) return tn_cli_cannot_write(j->name, errno);
    }
    struct stat status;
    j->removed = fstat(j->fd, &status) == 0 && status.st_nlink == 0;
    if (j->removed) return tn_cli_fail(j->params.try_command, "%s was removed while results were written into it: they are lost", j->name);
    j->unsynced = false;
    j->synced_ns = tn_cli_now_ns();
    return 0;
}

void tn_cli_batch_journal_close(tn_cli_batch_journal *j)
{
    if (j->created && !j->begun) unlink(j->params.path);
    if (j->opened) close(j->fd);
    tn_cli_batch_done_deinit(&j->done);
    memset(j, 0, sizeof *j);
}
