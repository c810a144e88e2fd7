// Who is compared: the names of --backends, the placements of --placements, or all that this machine has.
#include "compare.h"
#include "report.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECTS_MAX 64u
#define WORDS_MAX    64

// From plain to best, of every architecture: a level that the CPU does not have gives one below it, and is then left out.
static const char *const levels[] = {"scalar",     "sse41",      "avx2", "avxvnni", "avx512bw",
                                     "avx512vnni", "avx512vbmi", "neon", "dotprod", "i8mm"};

// What a placement may say beside its devices.
static const tn_cli_option_id placement_flags[] = {TN_OPT_DEVICE,    TN_OPT_TENSOR_SPLIT, TN_OPT_OVERRIDE_TENSOR, TN_OPT_GPU_LAYERS,
                                                   TN_OPT_MEM_LIMIT, TN_OPT_CPU_ISA,      TN_OPT_PACKING,         TN_OPT_SKIP};

static int add(tn_cli_compare *job, tn_cli_compare_subject **out_subject)
{
    if (job->n_subjects == SUBJECTS_MAX) return tn_cli_usage("too much to compare: at most %u backends and placements", SUBJECTS_MAX);
    // All at once: flags point into their own row.
    if (!job->subjects) job->subjects = calloc(SUBJECTS_MAX, sizeof *job->subjects);
    if (!job->subjects) return tn_cli_out_of_memory();
    tn_cli_compare_subject *subject = &job->subjects[job->n_subjects++];
    subject->options = job->cli->options;
    subject->json = json_object();
    *out_subject = subject;
    return 0;
}

static void set_text(tn_cli_options *options, tn_cli_option_id id, const char *text)
{
    options->values[id].count = 1;
    options->values[id].text = text;
}

// "vulkan0", "cpu-avx2": a device, for a CPU with the level of its kernels.
static int add_backend(tn_cli_compare *job, const char *name, size_t n)
{
    tn_cli_compare_subject *subject;
    int rc = add(job, &subject);
    if (rc) return rc;
    if (n == 0 || n >= sizeof subject->name) return tn_cli_usage("--backends: '%.*s' is no name of a device", (int)(n < 80 ? n : 80), name);
    snprintf(subject->name, sizeof subject->name, "%.*s", (int)n, name);
    subject->text = strdup(subject->name);
    if (!subject->text) return tn_cli_out_of_memory();
    char *level = strncmp(subject->text, "cpu", 3) == 0 ? strchr(subject->text, '-') : NULL;
    if (level) {
        *level++ = '\0';
        snprintf(subject->level, sizeof subject->level, "%s", level);
        set_text(&subject->options, TN_OPT_CPU_ISA, level);
    }
    set_text(&subject->options, TN_OPT_DEVICE, strcmp(subject->text, "cpu") == 0 ? "cpu0" : subject->text);
    return 0;
}

static int add_named(tn_cli_compare *job, const char *names)
{
    int rc = 0;
    for (const char *at = names; at && rc == 0; at = at[strcspn(at, ",")] ? at + strcspn(at, ",") + 1 : NULL)
        rc = add_backend(job, at, strcspn(at, ","));
    return rc;
}

// ---- placements ----

// Cuts text into words at blanks; quotes are not needed, since no flag's value has one.
static int cut_words(char *text, char **words, int *out_n)
{
    int n = 1; // words[0] is the program's name
    for (char *word = strtok_r(text, " \t\n", &text); word; word = strtok_r(NULL, " \t\n", &text)) {
        if (n == WORDS_MAX) return tn_cli_usage("--placements: more than %d words in one placement", WORDS_MAX - 1);
        words[n++] = word;
    }
    *out_n = n;
    return 0;
}

// Takes over what the placement's flags say, and refuses those that are not about where layers run.
static int take_flags(tn_cli_compare_subject *subject)
{
    tn_cli_options *own = &subject->own;
    if (own->n_positionals && tn_cli_given(own, TN_OPT_DEVICE)) return tn_cli_usage("--placements: %s names devices twice", subject->name);
    if (own->n_positionals) set_text(own, TN_OPT_DEVICE, own->positionals[0]);
    for (size_t i = 0; i < sizeof placement_flags / sizeof *placement_flags; i++) {
        const tn_cli_option_id id = placement_flags[i];
        if (own->values[id].count == 0) continue;
        subject->options.values[id] = own->values[id];
        own->values[id].count = 0;
    }
    for (int id = 0; id < TN_OPT_COUNT_; id++) {
        char name[48];
        if (own->values[id].count == 0) continue;
        tn_cli_option_name(&tn_cli_option_table[id], 0, name, sizeof name);
        return tn_cli_usage("--placements: %s says nothing of where layers run: give it to compare itself, or leave it out", name);
    }
    return 0;
}

// "NAME: DEVICES FLAGS", the name where the first word ends in a colon.
static int add_placement(tn_cli_compare *job, const char *text, size_t n)
{
    char program[] = "--placements", *words[WORDS_MAX + 1] = {program};
    int n_words = 0;
    tn_cli_compare_subject *subject;
    while (n && isspace((unsigned char)*text)) text++, n--;
    while (n && isspace((unsigned char)text[n - 1])) n--;
    if (n == 0) return 0; // behind the last semicolon
    int rc = add(job, &subject);
    if (rc) return rc;
    subject->is_placement = true;
    subject->text = strndup(text, n);
    if (!subject->text) return tn_cli_out_of_memory();
    char *begin = subject->text;
    const size_t first = strcspn(begin, " \t\n");
    if (first > 1 && begin[first - 1] == ':') {
        snprintf(subject->name, sizeof subject->name, "%.*s", (int)first - 1, begin);
        begin += first;
    } else {
        snprintf(subject->name, sizeof subject->name, "%s", begin);
    }
    rc = cut_words(begin, words, &n_words);
    if (rc == 0 && n_words == 1) return tn_cli_usage("--placements: '%s' names no device", subject->name);
    // bench has every flag of this kind.
    if (rc == 0) rc = tn_cli_options_parse(&subject->own, TN_VERB_BENCH, n_words, words);
    return rc ? rc : take_flags(subject);
}

static int add_placements(tn_cli_compare *job)
{
    const tn_cli_value *given = &job->cli->options.values[TN_OPT_COMPARE_PLACEMENTS];
    int rc = 0;
    for (size_t i = 0; i < given->n; i++) {
        for (const char *at = given->list[i]; at && rc == 0; at = at[strcspn(at, ";")] ? at + strcspn(at, ";") + 1 : NULL)
            rc = add_placement(job, at, strcspn(at, ";"));
    }
    return rc;
}

// ---- what the machine has ----

// Whether the CPU's kernels are of just this level where no higher one is allowed.
static int has_level(const char *level, bool *out_has)
{
    tn_host_params params = TN_HOST_PARAMS_INIT;
    tn_device_info info;
    tn_host *host;
    params.cpu_isa_max = level;
    params.log = tn_cli_log();
    *out_has = false;
    if (tn_host_open(&params, &host) != TN_OK) return tn_error_last()->status == TN_INVALID_ARGUMENT ? 0 : tn_cli_fail_status(NULL);
    *out_has = tn_host_device_info(host, 0, &info) == TN_OK && strcmp(info.isa, level) == 0;
    tn_host_close(host);
    return 0;
}

static int add_levels(tn_cli_compare *job)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof levels / sizeof *levels && rc == 0; i++) {
        char name[48];
        bool has = false;
        rc = has_level(levels[i], &has);
        snprintf(name, sizeof name, "cpu-%s", levels[i]);
        if (rc == 0 && has) rc = add_backend(job, name, strlen(name));
    }
    return rc;
}

static int add_devices(tn_cli_compare *job)
{
    tn_device_info info;
    tn_host *host;
    tn_host_params params = TN_HOST_PARAMS_INIT;
    params.log = tn_cli_log();
    if (tn_host_open(&params, &host) != TN_OK) return tn_cli_fail_status(NULL);
    int rc = 0;
    for (uint32_t i = 0; i < tn_host_device_count(host) && rc == 0; i++) {
        if (tn_host_device_info(host, i, &info) != TN_OK)
            rc = tn_cli_fail_status(NULL);
        else if (strcmp(info.backend, "cpu") == 0)
            continue; // its levels stand for it
        else if (info.is_software)
            snprintf(job->emulated, sizeof job->emulated, "%s", info.name);
        else
            rc = add_backend(job, info.name, strlen(info.name)); // one that cannot be used has its row too, with the reason
    }
    tn_host_close(host);
    return rc;
}

int tn_cli_compare_subjects(tn_cli_compare *job)
{
    const char *names = tn_cli_text(&job->cli->options, TN_OPT_COMPARE_BACKENDS);
    int rc = 0;
    if (names) rc = add_named(job, names);
    if (!names) rc = add_levels(job);
    if (!names && rc == 0) rc = add_devices(job);
    if (rc == 0) rc = add_placements(job);
    for (size_t i = 0; i < job->n_subjects && rc == 0; i++) {
        for (size_t k = 0; k < i && rc == 0; k++) {
            if (strcmp(job->subjects[i].name, job->subjects[k].name) == 0)
                rc = tn_cli_usage("two subjects have the name %s: give placements names, 'a: ...; b: ...'", job->subjects[i].name);
        }
    }
    return rc;
}
