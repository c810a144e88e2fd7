// The comparison as one object: what ternion, the machine, the model and the text were, and a row for each subject.
#include "compare_json.h"

#include "build_info.h"
#include "bytes_hash.h"
#include "plain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void put_word(FILE *out, const char *argument)
{
    const size_t capacity = 4 * strlen(argument) + 16; // a quote in quotes is four characters
    char *word = malloc(capacity);
    fprintf(out, " %s", word ? tn_cli_shell_word(argument, word, capacity) : "...");
    free(word);
}

// How the program was called, as a shell takes it, whole; "ternion" whatever its folder.
static json_t *command_json(void)
{
    char *text = NULL, *argument = NULL;
    size_t size = 0, capacity = 0;
    FILE *out = open_memstream(&text, &size), *file = fopen("/proc/self/cmdline", "re");
    if (out) fputs("ternion", out);
    bool is_name = true;
    while (out && file && getdelim(&argument, &capacity, '\0', file) > 0) {
        if (!is_name) put_word(out, argument);
        is_name = false;
    }
    if (file) fclose(file);
    json_t *command = out && fclose(out) == 0 ? tn_cli_json_text(text, size) : NULL;
    free(argument);
    free(text);
    return command;
}

static json_t *time_json(void)
{
    char text[32];
    struct tm utc;
    const time_t now = time(NULL);
    gmtime_r(&now, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static json_t *model_json(const tn_cli_compare *job)
{
    const tn_model_info *info = &job->engine.info;
    json_t *o = tn_cli_json_model(job->engine.path, info);
    json_object_set_new(o, "n_layers", json_integer(info->n_layers));
    json_object_set_new(o, "n_ctx_train", json_integer(info->n_ctx_train));
    return o;
}

static json_t *text_json(const tn_cli_compare *job)
{
    const char *file = tn_cli_text(&job->cli->options, TN_OPT_FILE);
    const char *source = !file ? "built-in" : strcmp(file, "-") == 0 ? "standard input" : file;
    char hash[20];
    snprintf(hash, sizeof hash, "%016" PRIx64, tn_cli_hash(job->text.text, job->text.len, 0));
    const json_int_t n_scored = (json_int_t)job->n_chunks * (job->n_context - 1 - job->n_context / 2);
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "source", tn_cli_json_text(source, strlen(source)), "xxh64", hash, "n_tokens",
                     (json_int_t)job->n_chunks * job->n_context, "n_scored", n_scored, "context", (json_int_t)job->n_context, "stride",
                     (json_int_t)job->n_context, "n_chunks", (json_int_t)job->n_chunks);
}

json_t *tn_cli_compare_json(const tn_cli_compare *job)
{
    const tn_cli_options *o = &job->cli->options;
    json_t *subjects = json_array();
    for (size_t i = 0; i < job->n_subjects; i++) json_array_append(subjects, job->subjects[i].json);
    json_array_extend(subjects, job->externals);
    json_t *root = json_object();
    json_object_set_new(root, "ternion",
                        json_pack("{s:s, s:s, s:s}", "version", tn_version(), "commit", TN_BUILD_COMMIT, "build_type", TN_BUILD_TYPE));
    json_object_set_new(root, "command", command_json());
    json_object_set_new(root, "time", time_json());
    json_object_set(root, "machine", job->machine);
    json_object_set_new(root, "model", model_json(job));
    json_object_set_new(root, "text", text_json(job));
    json_object_set_new(root, "settings",
                        json_pack("{s:s, s:I, s:I, s:b, s:b, s:s}", "numerics", tn_cli_text(o, TN_OPT_NUMERICS), "repetitions",
                                  (json_int_t)job->n_repetitions, "warmup_runs", (json_int_t)!tn_cli_given(o, TN_OPT_BENCH_NO_WARMUP),
                                  "interleaved", (int)job->interleaved, "interrupted", (int)job->interrupted, "head",
                                  tn_cli_text(o, TN_OPT_HEAD)));
    json_object_set_new(root, "subjects", subjects);
    return root;
}
