// Bars, lines and summaries of batches.
#include "batch_progress.h"

#include "json_out.h"
#include "report.h"
#include "units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BETWEEN_BARS_NS 200000000u
#define BETWEEN_LINE_NS 5000000000u

static double seconds_of(uint64_t ns) { return (double)ns * 1e-9; }

// Of the input: lines with results, as bytes.
static double share_done(const tn_cli_batch_counts *c)
{
    const double share = c->bytes ? (double)(c->bytes_read - c->bytes_in_work) / (double)c->bytes : 0;
    return share < 1 ? share : 1; // the file may have grown
}

// By the bytes that this run did. False: nothing can be said yet.
static bool time_left(const tn_cli_batch_counts *c, uint64_t now_ns, char *text, size_t capacity)
{
    const uint64_t done = c->bytes_read - c->bytes_in_work;
    if (c->bytes == 0 || done <= c->bytes_before || done > c->bytes) return false;
    const double rate = (double)(done - c->bytes_before) / seconds_of(now_ns - c->begun_ns + 1);
    tn_cli_format_seconds((double)(c->bytes - done) / rate, text, capacity);
    return true;
}

void tn_cli_batch_describe(const tn_cli_batch_counts *c, const tn_batcher_info *info, uint64_t now_ns, bool brief, char *text,
                           size_t capacity)
{
    const uint64_t n_done = c->n_ok + c->n_failed + c->n_before;
    const double rate = tn_cli_rate(info->n_prompt_tokens + info->n_generated, now_ns - c->begun_ns);
    char left[40], failed[40] = "", eta[60] = "";
    if (c->n_failed) snprintf(failed, sizeof failed, ", %" PRIu64 " failed", c->n_failed);
    if (time_left(c, now_ns, left, sizeof left)) snprintf(eta, sizeof eta, "%sETA %s", brief ? "  " : ", ", left);
    if (brief)
        snprintf(text, capacity, "%" PRIu64 " done%s  queue %u+%u  %.0f t/s%s", n_done, failed, info->n_running, info->n_waiting, rate,
                 eta);
    else
        snprintf(text, capacity, "%" PRIu64 " lines done%s, %u running, %u waiting, %.0f tokens/s%s", n_done, failed, info->n_running,
                 info->n_waiting, rate, eta);
}

static void draw_bar(tn_cli *cli, const tn_cli_batch_counts *c, const char *text)
{
    char bar[31] = "", percent[16] = "";
    if (c->bytes) snprintf(percent, sizeof percent, " %3.0f %%  ", 100 * share_done(c));
    const int columns = tn_cli_term_columns(&cli->err), others = (int)strlen("[batch ]") + (int)strlen(percent);
    const int room = columns - 1 - others - (int)strlen(text), width = !c->bytes || room < 4 ? 0 : room > 30 ? 30 : room;
    memset(bar, '.', (size_t)width);
    memset(bar, '#', (size_t)(share_done(c) * width));
    fprintf(stderr, "\r\033[K[batch %s%s%.*s]", bar, percent, columns - 1 - others - width, text);
    fflush(stderr);
    cli->progress.drawn = true;
}

void tn_cli_batch_show(tn_cli *cli, tn_batcher *batcher, tn_cli_batch_counts *counts)
{
    const uint64_t now = tn_cli_now_ns();
    char text[200];
    tn_batcher_info info = TN_BATCHER_INFO_INIT;
    if (cli->quiet || now - counts->shown_ns < (cli->err.moves ? BETWEEN_BARS_NS : BETWEEN_LINE_NS)) return;
    if (tn_batcher_get_info(batcher, &info) != TN_OK) return;
    counts->shown_ns = now;
    tn_cli_batch_describe(counts, &info, now, cli->err.moves, text, sizeof text);
    if (cli->err.moves) {
        draw_bar(cli, counts, text);
    } else if (counts->bytes) {
        fprintf(stderr, "batch: %.0f %%, %s\n", 100 * share_done(counts), text);
    } else {
        fprintf(stderr, "batch: %s\n", text);
    }
}

static uint64_t kv_peak_bytes(const tn_cli_batch_summary *s)
{
    return s->info.n_pages ? s->engine->session_info.kv_bytes / s->info.n_pages * s->info.n_pages_used_max : 0;
}

// Of the time in the batcher: all but the session's steps and the sampling.
static double schedule_share(const tn_batcher_info *info)
{
    const uint64_t all = info->step_ns + info->schedule_ns + info->sample_ns;
    return all ? (double)info->schedule_ns / (double)all : 0;
}

// What was predicted for so many answers at a time, in the middle of them on average; 0: nothing.
static double predicted_rate(const tn_cli_batch_summary *s)
{
    const tn_batcher_info *info = &s->info;
    if (!s->engine->placement || info->n_finished == 0) return 0;
    const uint64_t n = info->n_finished, before = (info->n_prompt_tokens + info->n_prompt_reused) / n, half = info->n_generated / n / 2;
    return tn_placement_predict(s->engine->placement, info->n_seqs, (uint32_t)(before + half + 1));
}

void tn_cli_batch_note_summary(const tn_cli_batch_summary *s)
{
    const tn_cli_batch_counts *c = s->counts;
    const tn_batcher_info *info = &s->info;
    const uint64_t ns = c->end_ns - c->begun_ns;
    char time[40], before[60] = "", peak[24], kv[24], kv_peak[24], full[80] = "";
    tn_cli_format_seconds(seconds_of(ns), time, sizeof time);
    tn_cli_format_bytes(tn_cli_peak_rss_bytes(), peak, sizeof peak);
    tn_cli_format_bytes(kv_peak_bytes(s), kv_peak, sizeof kv_peak);
    tn_cli_format_bytes(s->engine->session_info.kv_bytes, kv, sizeof kv);
    if (c->n_before) snprintf(before, sizeof before, ", %" PRIu64 " done before", c->n_before);
    if (info->n_preempted)
        snprintf(full, sizeof full, ", full: %" PRIu64 " interruption%s", info->n_preempted, info->n_preempted == 1 ? "" : "s");
    tn_cli_note("lines %" PRIu64 " answered, %" PRIu64 " failed%s | prompts %" PRIu64 " tokens computed, %" PRIu64
                " reused | replies %" PRIu64 " tokens | %s, %.1f t/s of replies, %.1f in all",
                c->n_ok, c->n_failed, before, info->n_prompt_tokens, info->n_prompt_reused, info->n_generated, time,
                tn_cli_rate(info->n_generated, ns), tn_cli_rate(info->n_generated + info->n_prompt_tokens, ns));
    if (!info->n_pages) return;
    tn_cli_note("steps %" PRIu64 " of %u sequences at most | scheduling %.2f %% | KV cache %s of %s used%s | peak memory %s", info->n_steps,
                info->n_seqs, 100 * schedule_share(info), kv_peak, kv, full, peak);
    if (predicted_rate(s) > 0)
        tn_cli_note("plan  replies predicted %.1f t/s in full steps of %u, measured %.1f with prompts between them", predicted_rate(s),
                    info->n_seqs, tn_cli_rate(info->n_generated, ns));
}

static json_t *json_of(const tn_cli_batch_summary *s)
{
    const tn_cli_batch_counts *c = s->counts;
    const tn_batcher_info *info = &s->info;
    const uint64_t ns = c->end_ns - c->begun_ns;
    json_t *lines = json_pack("{s:I, s:I, s:I}", "answered", (json_int_t)c->n_ok, "failed", (json_int_t)c->n_failed, "done_before",
                              (json_int_t)c->n_before);
    json_t *tokens = json_pack("{s:I, s:I, s:I}", "prompt_computed", (json_int_t)info->n_prompt_tokens, "prompt_reused",
                               (json_int_t)info->n_prompt_reused, "generated", (json_int_t)info->n_generated);
    json_t *memory = json_pack("{s:I, s:I, s:I}", "kv_bytes", (json_int_t)s->engine->session_info.kv_bytes, "kv_peak_bytes",
                               (json_int_t)kv_peak_bytes(s), "peak_rss_bytes", (json_int_t)tn_cli_peak_rss_bytes());
    json_t *prediction = json_null();
    if (predicted_rate(s) > 0)
        prediction = json_pack("{s:f, s:f, s:f}", "replies_alone_per_second", predicted_rate(s), "measured_replies_per_second",
                               tn_cli_rate(info->n_generated, ns), "measured_with_prompts_per_second",
                               tn_cli_rate(info->n_generated + info->n_prompt_tokens, ns));
    return json_pack("{s:o, s:o, s:o, s:b, s:o, s:o, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:o, s:o}", "model",
                     tn_cli_json_model(s->engine->path, &s->engine->info), "input", tn_cli_json_text(s->input, strlen(s->input)), "output",
                     tn_cli_json_text(s->output, strlen(s->output)), "complete", s->complete, "lines", lines, "tokens", tokens, "seconds",
                     seconds_of(ns), "generated_per_second", tn_cli_rate(info->n_generated, ns), "tokens_per_second",
                     tn_cli_rate(info->n_generated + info->n_prompt_tokens, ns), "n_ctx", (json_int_t)s->engine->session_info.n_ctx,
                     "concurrency", (json_int_t)info->n_seqs, "steps", (json_int_t)info->n_steps, "interruptions",
                     (json_int_t)info->n_preempted, "schedule_share", schedule_share(info), "memory", memory, "prediction", prediction);
}

int tn_cli_batch_print_json(const tn_cli_batch_summary *summary, bool on_stderr)
{
    json_t *object = json_of(summary);
    if (!on_stderr) return tn_cli_json_print(object);
    char *text = tn_cli_json_dump(object, JSON_INDENT(2));
    json_decref(object);
    if (!text) return tn_cli_out_of_memory();
    fprintf(stderr, "%s\n", text);
    free(text);
    return 0;
}
