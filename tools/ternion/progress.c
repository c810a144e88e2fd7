// Bars with rate and time left. Work that is done in an instant shows nothing.
#include "progress.h"

#include "interrupt.h"
#include "units.h"

#include <stdio.h>
#include <string.h>

#define MS              1000000ull
#define FIRST_BAR_NS    (300 * MS)
#define BETWEEN_BARS_NS (100 * MS)
#define BETWEEN_LINE_NS (5000 * MS)

typedef struct facts {
    double percent;
    char done[24], total[24], rate[24], left[32];
} facts;

static facts facts_of(const tn_cli_progress *progress, uint64_t done, uint64_t total, uint64_t now)
{
    facts f;
    double seconds = (double)(now - progress->begun_ns) * 1e-9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    f.percent = total ? 100.0 * (double)done / (double)total : 0;
    tn_cli_format_count((double)done, f.done, sizeof f.done);
    tn_cli_format_count((double)total, f.total, sizeof f.total);
    tn_cli_format_count(rate, f.rate, sizeof f.rate);
    tn_cli_format_seconds(rate > 0 ? (double)(total - done) / rate : 0, f.left, sizeof f.left);
    return f;
}

static void draw_bar(tn_cli_progress *progress, const facts *f)
{
    char tail[160], bar[41];
    int n = snprintf(tail, sizeof tail, " %3.0f %%  %s/%s  %s/s  ETA %s", f->percent, f->done, f->total, f->rate, f->left);
    int room = tn_cli_term_columns(progress->term) - n - (int)strlen(progress->stage) - 4;
    int width = room < 0 ? 0 : room > 40 ? 40 : room;
    int full = (int)(f->percent * width / 100.0);
    memset(bar, '.', (size_t)width);
    memset(bar, '#', (size_t)(full > width ? width : full));
    bar[width] = '\0';
    fprintf(stderr, "\r\033[K[%s %s%s]", progress->stage, bar, tail);
    fflush(stderr);
    progress->drawn = true;
}

bool tn_cli_progress_update(tn_cli_progress *progress, const char *stage, uint64_t done, uint64_t total)
{
    if (progress->quiet || !progress->term) return !tn_cli_interrupted();
    uint64_t now = tn_cli_now_ns();
    if (progress->whole) {
        done += progress->base;
        total = progress->whole;
    }
    if (done > total) done = total;
    const bool is_same = strncmp(progress->stage, stage, sizeof progress->stage - 1) == 0;
    if (!is_same || done < progress->done || total != progress->total) {
        tn_cli_progress_clear(progress);
        snprintf(progress->stage, sizeof progress->stage, "%s", stage);
        progress->begun_ns = progress->shown_ns = now;
        progress->total = total;
    }
    progress->done = done;
    bool bar = progress->term->moves;
    uint64_t wait = !bar ? BETWEEN_LINE_NS : progress->drawn ? BETWEEN_BARS_NS : FIRST_BAR_NS;
    if (now - progress->shown_ns >= wait) {
        facts f = facts_of(progress, done, total, now);
        progress->shown_ns = now;
        if (bar)
            draw_bar(progress, &f);
        else
            fprintf(stderr, "%s: %.0f %%, %s of %s, %s/s, ETA %s\n", stage, f.percent, f.done, f.total, f.rate, f.left);
    }
    return !tn_cli_interrupted();
}

static bool hook(void *user, const char *stage, uint64_t done, uint64_t total) { return tn_cli_progress_update(user, stage, done, total); }

tn_progress tn_cli_progress_hook(tn_cli_progress *progress) { return (tn_progress){hook, progress}; }

void tn_cli_progress_clear(tn_cli_progress *progress)
{
    if (!progress->drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->drawn = false;
}

void tn_cli_progress_end(tn_cli_progress *progress)
{
    tn_cli_progress_clear(progress);
    progress->stage[0] = '\0';
    progress->base = progress->whole = 0;
}
