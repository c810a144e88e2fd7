// Results of a comparison, in files and on standard output. Measuring may take hours, so that files are looked at before it begins.
#include "compare_output.h"

#include "output.h"
#include "report.h"
#include "report_page.h"
#include "same_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *output_of(const tn_cli_compare *job, tn_cli_option_id id)
{
    const char *path = tn_cli_text(&job->cli->options, id);
    return path && strcmp(path, "-") != 0 ? path : NULL;
}

// ---- before anything runs ----

static int check_is_no_input(const tn_cli_compare *job, const char *flag, const char *path)
{
    const tn_cli_value *baselines = &job->cli->options.values[TN_OPT_COMPARE_BASELINE];
    if (tn_cli_same_file(path, job->engine.path)) return tn_cli_usage("%s %s is the model file", flag, path);
    if (tn_cli_same_file(path, tn_cli_text(&job->cli->options, TN_OPT_FILE))) return tn_cli_usage("%s %s is the text", flag, path);
    for (size_t i = 0; i < baselines->n; i++) {
        if (tn_cli_same_file(path, baselines->list[i])) return tn_cli_usage("%s %s is a file of --baseline", flag, path);
    }
    return 0;
}

// Makes the temporary file and removes it. What is no ordinary file is not opened: whoever reads a pipe would see its end.
static int check_can_be_written(const char *path)
{
    struct stat status;
    tn_cli_output output = {.stream = NULL};
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return access(path, W_OK) == 0 ? 0 : tn_cli_cannot_write(path, errno);
    const int rc = tn_cli_output_open(&output, path);
    tn_cli_output_discard(&output);
    return rc;
}

int tn_cli_compare_check_outputs(const tn_cli_compare *job)
{
    static const struct {
        tn_cli_option_id id;
        const char *flag;
    } outputs[] = {{TN_OPT_COMPARE_OUTPUT, "-o"}, {TN_OPT_COMPARE_REPORT, "--report"}};
    const char *file = output_of(job, TN_OPT_COMPARE_OUTPUT), *page = output_of(job, TN_OPT_COMPARE_REPORT);
    int rc = 0;
    if (tn_cli_given(&job->cli->options, TN_OPT_COMPARE_REPORT) && !page)
        return tn_cli_usage("--report needs the name of a file: the table or the object is on standard output");
    if (tn_cli_same_file(file, page)) return tn_cli_usage("-o and --report name one file: %s", page);
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs && rc == 0; i++) {
        const char *path = output_of(job, outputs[i].id);
        if (path) rc = check_is_no_input(job, outputs[i].flag, path);
        if (path && rc == 0) rc = check_can_be_written(path);
    }
    return rc;
}

// ---- after all of it ----

static int write_json(const char *path, const json_t *comparison)
{
    tn_cli_output output = {0};
    char *text = tn_cli_json_dump(comparison, JSON_INDENT(2));
    if (!text) return tn_cli_out_of_memory();
    int rc = tn_cli_output_open(&output, path);
    if (rc == 0) rc = tn_cli_output_write(&output, text, strlen(text));
    if (rc == 0) rc = tn_cli_output_write(&output, "\n", 1);
    if (rc == 0) rc = tn_cli_output_commit(&output);
    tn_cli_output_discard(&output);
    free(text);
    return rc;
}

int tn_cli_compare_write_outputs(const tn_cli_compare *job, json_t *comparison)
{
    const char *file = output_of(job, TN_OPT_COMPARE_OUTPUT), *page = output_of(job, TN_OPT_COMPARE_REPORT);
    const bool on_stdout = job->cli->json || (tn_cli_given(&job->cli->options, TN_OPT_COMPARE_OUTPUT) && !file);
    const int of_file = file ? write_json(file, comparison) : 0;
    const int of_page = page ? tn_cli_report_page_write(page, comparison) : 0;
    const int of_stdout = on_stdout ? tn_cli_json_print(json_incref(comparison)) : tn_cli_compare_print_table(comparison);
    return of_file ? of_file : of_page ? of_page : of_stdout;
}
