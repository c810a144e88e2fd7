// Compares sums of ranges, in constant memory; only where one differs are lines looked for.
#include "batch_resume.h"

#include "cli.h"
#include "interrupt.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

tn_cli_batch_progress_of_line tn_cli_batch_resume_line(tn_cli_batch_resume *r, const tn_cli_batch_line *line)
{
    const tn_cli_batch_done *done = &r->journal->done;
    if (r->at == done->n) return TN_CLI_BATCH_TODO;
    const tn_cli_batch_range *range = &done->ranges[r->at];
    if (!line || line->number > range->last) return TN_CLI_BATCH_CHANGED; // its last line was never met
    if (line->number < range->first) return TN_CLI_BATCH_TODO;
    r->sum += tn_cli_batch_done_mix(line->number, line->hash);
    if (line->number < range->last) return TN_CLI_BATCH_DONE;
    if (r->sum != range->sum) return TN_CLI_BATCH_CHANGED;
    r->at++;
    r->sum = 0;
    return TN_CLI_BATCH_DONE;
}

static int refuse_line(const tn_cli_batch_journal *j, const char *input, uint64_t line)
{
    return tn_cli_fail(j->params.try_command,
                       "line %" PRIu64 " of %s is not the one that %s answers: it was changed, moved or removed; restore it, write to "
                       "another file, or give --overwrite to lose the results",
                       line, input, j->name);
}

int tn_cli_batch_resume_refuse(const tn_cli_batch_resume *r)
{
    const tn_cli_batch_range *range = &r->journal->done.ranges[r->at];
    if (range->first == range->last) return refuse_line(r->journal, r->input, range->first);
    return tn_cli_fail(r->journal->params.try_command,
                       "lines %" PRIu64 " to %" PRIu64 " of %s are not those that %s answers: some were changed, moved or removed; restore "
                       "them, write to another file, or give --overwrite to lose the results",
                       range->first, range->last, r->input, r->journal->name);
}

static int cannot_read(const char *input, int number)
{
    if (number == ENOMEM) return tn_cli_out_of_memory();
    return tn_cli_fail("ls -l", "cannot read %s: %s", input, strerror(number));
}

// Calls `told` for each line until it returns false.
static int each_line(const char *input, int fd, bool (*told)(void *user, const tn_cli_batch_line *line), void *user)
{
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    tn_cli_batch_read_result read;
    const off_t from = lseek(fd, 0, SEEK_CUR);
    tn_cli_batch_reader_init(&reader, fd, TN_CLI_BATCH_LINE_MAX);
    do read = tn_cli_batch_read(&reader, -1, &line);
    while ((read == TN_CLI_BATCH_READ_LINE && told(user, &line)) || (read == TN_CLI_BATCH_READ_LATER && !tn_cli_interrupted()));
    int number = errno;
    tn_cli_batch_reader_deinit(&reader);
    if (read == TN_CLI_BATCH_READ_LATER) return tn_cli_stopped();
    if (read != TN_CLI_BATCH_READ_FAILED && lseek(fd, from, SEEK_SET) >= 0) return 0;
    return cannot_read(input, read == TN_CLI_BATCH_READ_FAILED ? number : errno);
}

// Where the lines that differ are: lines [first, ...) in buckets of `width`, results counted against requests.
enum { N_BUCKETS = 4096 };
typedef struct search {
    uint64_t first, width;
    uint64_t buckets[N_BUCKETS];
} search;

static void count(search *s, uint64_t line, uint64_t mix)
{
    if (line >= s->first && (line - s->first) / s->width < N_BUCKETS) s->buckets[(line - s->first) / s->width] += mix;
}

static void count_result(void *user, uint64_t line, uint64_t hash) { count(user, line, tn_cli_batch_done_mix(line, hash)); }

static bool count_request(void *user, const tn_cli_batch_line *line)
{
    search *s = user;
    count(s, line->number, 0 - tn_cli_batch_done_mix(line->number, line->hash));
    return (line->number - s->first) / s->width < N_BUCKETS || line->number < s->first;
}

// The first line of a range that differs is in ever smaller buckets.
static int find_changed(const tn_cli_batch_journal *journal, const char *input, int fd, tn_cli_batch_range range)
{
    search *s = malloc(sizeof *s);
    int rc = 0;
    if (!s) return tn_cli_out_of_memory();
    while (rc == 0) {
        *s = (search){.first = range.first, .width = (range.last - range.first) / N_BUCKETS + 1};
        rc = tn_cli_batch_journal_reread(journal, count_result, s);
        if (rc == 0) rc = each_line(input, fd, count_request, s);
        size_t bucket = 0;
        while (bucket + 1 < N_BUCKETS && s->buckets[bucket] == 0 && range.first + (bucket + 1) * s->width <= range.last) bucket++;
        range.first += bucket * s->width;
        if (range.last - range.first >= s->width) range.last = range.first + s->width - 1;
        if (range.first == range.last) break;
    }
    free(s);
    return rc ? rc : refuse_line(journal, input, range.first);
}

typedef struct check {
    tn_cli_batch_resume resume;
    bool todo, changed;
} check;

// False: nothing more can be learnt.
static bool check_line(void *user, const tn_cli_batch_line *line)
{
    check *c = user;
    const tn_cli_batch_progress_of_line progress = tn_cli_batch_resume_line(&c->resume, line);
    c->changed |= progress == TN_CLI_BATCH_CHANGED;
    c->todo |= progress == TN_CLI_BATCH_TODO;
    return !c->changed && !(c->todo && c->resume.at == c->resume.journal->done.n);
}

int tn_cli_batch_resume_check(const tn_cli_batch_journal *journal, const char *input, int fd, bool *out_todo)
{
    check c = {.resume = {.journal = journal, .input = input}};
    int rc = each_line(input, fd, check_line, &c);
    *out_todo = c.todo;
    if (rc) return rc;
    // Where the loop ended by itself, the input ended.
    if (!c.changed && !(c.todo && c.resume.at == journal->done.n))
        c.changed = tn_cli_batch_resume_line(&c.resume, NULL) == TN_CLI_BATCH_CHANGED;
    return c.changed ? find_changed(journal, input, fd, journal->done.ranges[c.resume.at]) : 0;
}
