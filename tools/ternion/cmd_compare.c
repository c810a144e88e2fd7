// ternion compare: the same text and the same tests on each backend, device and placement.
#include "compare.h"
#include "compare_json.h"
#include "compare_output.h"
#include "interrupt.h"
#include "report.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdlib.h>
#include <string.h>

// Of the memory that is free, this share may be taken by all sessions at a time.
#define MEMORY_SHARE 0.5

// ---- memory ----

static void put_memory(const tn_cli_compare *job, tn_cli_compare_subject *subject, bool by_itself)
{
    const tn_session_info *info = &subject->engine.session_info;
    const uint64_t peak = tn_cli_compare_memory("VmHWM"), before = subject->rss_before_bytes;
    // What the program held before it opened the subject is another's, but for the model and the program themselves.
    const uint64_t own = peak > before ? peak - before + job->rss_bytes : 0;
    json_object_set_new(subject->json, "memory",
                        json_pack("{s:I, s:I, s:I, s:o}", "weights_bytes", (json_int_t)info->weights_bytes, "kv_bytes",
                                  (json_int_t)info->kv_bytes, "scratch_bytes", (json_int_t)info->scratch_bytes, "peak_rss_bytes",
                                  by_itself && own ? json_integer((json_int_t)own) : json_null()));
}

// Whether all can be open at a time, by what the first one takes.
static bool fits(const tn_cli_compare *job, const tn_cli_compare_subject *reference)
{
    const tn_session_info *info = &reference->engine.session_info;
    const double each = (double)(info->weights_bytes + info->kv_bytes + info->scratch_bytes);
    double n = 0;
    for (size_t i = 0; i < job->n_subjects; i++) n += !job->subjects[i].failed && &job->subjects[i] != reference;
    tn_device_info device;
    if (tn_host_device_info(reference->engine.host, 0, &device) != TN_OK) return false;
    return each * n <= MEMORY_SHARE * (double)device.memory_free_bytes;
}

// ---- running ----

// A subject's session, text and memory. Without an error it may have failed all the same.
static int look_at(tn_cli_compare *job, tn_cli_compare_subject *reference, tn_cli_compare_subject *subject)
{
#ifdef __GLIBC__
    malloc_trim(0); // what others freed would be taken again without a trace in the figures
#endif
    const bool by_itself = tn_cli_compare_memory_reset();
    tn_cli_note("%s: opening, then the text", subject->name);
    int rc = tn_cli_compare_start(job, subject);
    if (rc == 0 && !subject->failed) rc = tn_cli_compare_accuracy(job, reference, subject);
    if (rc == 0 && !subject->failed) put_memory(job, subject, by_itself);
    return rc;
}

static int prepare_all(tn_cli_compare *job)
{
    int rc = 0;
    for (size_t i = 0; i < job->n_subjects && rc == 0; i++) {
        tn_cli_note("%s: finding it, and measuring its limits", job->subjects[i].name);
        rc = tn_cli_compare_prepare(job, &job->subjects[i]);
    }
    return rc;
}

// The first that works is what others are compared with; those before it, which failed, go behind.
static int find_reference(tn_cli_compare *job, tn_cli_compare_subject **out_reference)
{
    *out_reference = NULL;
    for (size_t i = 0; i < job->n_subjects && !*out_reference; i++) {
        tn_cli_compare_subject *subject = &job->subjects[i];
        int rc = subject->failed ? 0 : look_at(job, subject, subject);
        if (rc) return rc;
        if (subject->failed) tn_cli_compare_stop(subject);
        if (!subject->failed) *out_reference = subject;
        if (*out_reference && i > 0) tn_cli_warn("%s failed: %s is what others are compared with", job->subjects[0].name, subject->name);
    }
    return 0;
}

// With all sessions open: texts, then each repetition of each test of all in turn.
static int run_together(tn_cli_compare *job, tn_cli_compare_subject *reference)
{
    tn_cli_compare_subject **list = calloc(job->n_subjects, sizeof *list);
    if (!list) return tn_cli_out_of_memory();
    size_t n = 0;
    int rc = 0;
    for (size_t i = 0; i < job->n_subjects && rc == 0; i++) {
        tn_cli_compare_subject *subject = &job->subjects[i];
        if (subject != reference && !subject->failed) rc = look_at(job, reference, subject);
        if (subject->failed)
            tn_cli_compare_stop(subject);
        else
            list[n++] = subject;
    }
    if (rc == 0) rc = tn_cli_compare_speed(job, list, n);
    free(list);
    return rc;
}

// The reference and one other at a time, each measured before the next one is opened.
static int run_in_turn(tn_cli_compare *job, tn_cli_compare_subject *reference)
{
    int rc = tn_cli_compare_speed(job, &reference, 1);
    for (size_t i = 0; i < job->n_subjects && rc == 0; i++) {
        tn_cli_compare_subject *subject = &job->subjects[i];
        if (subject == reference || subject->failed) continue;
        rc = look_at(job, reference, subject);
        if (rc == 0 && !subject->failed) rc = tn_cli_compare_speed(job, &subject, 1);
        tn_cli_compare_stop(subject);
    }
    return rc;
}

static int run_subjects(tn_cli_compare *job)
{
    tn_cli_compare_subject *reference = NULL;
    job->rss_bytes = tn_cli_compare_memory("VmRSS"); // before drivers of other rows and buffers of limits are in it
    int rc = prepare_all(job);
    if (rc == 0) rc = find_reference(job, &reference);
    if (rc || !reference) return rc;
    rc = tn_cli_compare_baselines(job, reference);
    if (rc) return rc;
    job->interleaved = !tn_cli_given(&job->cli->options, TN_OPT_COMPARE_ONE_BY_ONE) && fits(job, reference);
    return job->interleaved ? run_together(job, reference) : run_in_turn(job, reference);
}

// ---- results ----

// The reference first, then the others as they were asked for, then those that failed before there was a reference.
static json_t *ordered(json_t *comparison)
{
    json_t *subjects = json_object_get(comparison, "subjects");
    const size_t n = json_array_size(subjects);
    for (size_t i = 0; i < n; i++) {
        json_t *first = json_array_get(subjects, 0);
        const char *status = json_string_value(json_object_get(first, "status"));
        if (!status || strcmp(status, "failed") != 0) break;
        json_array_append(subjects, first);
        json_array_remove(subjects, 0);
    }
    return comparison;
}

// A row that failed or differs is what the exit status is about, when all that could be known is printed.
static int verdict(const tn_cli_compare *job)
{
    size_t n_failed = job->n_baselines_failed, n_different = 0;
    const char *reference = NULL;
    for (size_t i = 0; i < job->n_subjects; i++) {
        if (!job->subjects[i].failed && !reference) reference = job->subjects[i].name;
        n_failed += job->subjects[i].failed;
        n_different += job->subjects[i].differs;
    }
    if (n_failed == 0 && n_different == 0) return TN_CLI_OK;
    if (!reference) return tn_cli_fail("ternion devices", "all %zu failed, and nothing was measured", n_failed);
    return tn_cli_fail(n_different ? "ternion logits --trace FILE" : "ternion devices", "%zu of %zu failed, and %zu differ from %s",
                       n_failed, job->n_subjects + json_array_size(job->externals), n_different, reference);
}

// After Ctrl-C: what is known is printed, where there is a reference.
static bool is_worth_printing(tn_cli_compare *job)
{
    bool has_any = false;
    for (size_t i = 0; i < job->n_subjects; i++) {
        tn_cli_compare_subject *subject = &job->subjects[i];
        const bool looked_at = json_is_object(json_object_get(subject->json, "accuracy"));
        has_any = has_any || (looked_at && !subject->failed);
        if (!looked_at && !subject->failed) tn_cli_compare_fail(subject, "stopped by Ctrl-C before it was compared");
    }
    return has_any;
}

static int finish(tn_cli_compare *job)
{
    tn_cli_compare_machine_after(job->machine);
    json_t *comparison = ordered(tn_cli_compare_json(job));
    const int rc = tn_cli_json_complete() ? tn_cli_compare_write_outputs(job, comparison) : tn_cli_out_of_memory();
    json_decref(comparison);
    return rc || job->interrupted ? rc : verdict(job);
}

static int look_at_machine(tn_cli_compare *job)
{
    tn_host *host;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.log = tn_cli_log();
    if (tn_host_open(&params, &host) != TN_OK) return tn_cli_fail_status("ternion devices");
    job->machine = tn_cli_compare_machine(host);
    tn_host_close(host);
    return 0;
}

static int run(tn_cli_compare *job)
{
    int rc = tn_cli_engine_find_model(job->cli, &job->engine);
    if (rc == 0) rc = tn_cli_compare_check_baselines(job);
    if (rc == 0) rc = tn_cli_compare_check_outputs(job);
    if (rc == 0) rc = look_at_machine(job); // its load is that before all of this
    if (rc == 0) rc = tn_cli_compare_subjects(job);
    if (rc == 0) rc = tn_cli_engine_open_model(job->cli, &job->engine, TN_MODEL_LOAD_ALL);
    if (rc == 0) rc = tn_cli_compare_read_text(job);
    if (rc == 0) rc = tn_cli_compare_plan_tests(job);
    if (rc == 0) rc = tn_cli_compare_read_baselines(job);
    if (rc) return rc;
    if (job->emulated[0]) tn_cli_note("%s is emulated and was not named: --backends can name it", job->emulated);
    tn_cli_interrupt_install();
    rc = run_subjects(job);
    job->interrupted = rc == TN_CLI_INTERRUPTED;
    if (job->interrupted && is_worth_printing(job)) (void)finish(job);
    return rc ? rc : finish(job);
}

int tn_cli_compare_verb(tn_cli *cli)
{
    tn_cli_compare *job = calloc(1, sizeof *job);
    if (!job) return tn_cli_out_of_memory();
    job->cli = cli;
    job->externals = json_array();
    const int rc = run(job);
    for (size_t i = 0; i < job->n_subjects; i++) tn_cli_compare_subject_deinit(&job->subjects[i]);
    free(job->subjects);
    free(job->tests);
    tn_cli_compare_replies_deinit(&job->greedy);
    json_decref(job->machine);
    json_decref(job->externals);
    free(job->baseline_rows);
    tn_cli_prompt_deinit(&job->text);
    tn_cli_engine_close(&job->engine);
    free(job);
    return rc;
}
