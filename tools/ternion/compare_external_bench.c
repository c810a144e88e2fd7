// Rows of llama-bench, as JSON lines, made into subjects of a comparison.
#include "batch_reader.h"
#include "compare_external.h"
#include "report.h"
#include "roofline.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS_MAX = 10000, SUBJECTS_MAX = 64, TESTS_MAX = 256, LINE_MAX_BYTES = 1 << 20 };

// Tokens a second. Nothing computes as fast, and sums of such speeds stay finite.
#define SPEED_MAX 1e15

static const char llama_bench[] = "llama-bench -m MODEL -o jsonl > FILE.jsonl";

// What makes a subject of its own. What else a row has is of its test, or follows from these.
static const char *const settings_keys[] = {"build_commit",  "build_number",
                                            "cpu_info",      "gpu_info",
                                            "backends",      "model_filename",
                                            "model_type",    "n_batch",
                                            "n_ubatch",      "n_threads",
                                            "cpu_mask",      "cpu_strict",
                                            "poll",          "prio",
                                            "type_k",        "type_v",
                                            "n_gpu_layers",  "n_cpu_moe",
                                            "split_mode",    "main_gpu",
                                            "no_kv_offload", "flash_attn",
                                            "devices",       "tensor_split",
                                            "use_mmap",      "use_direct_io",
                                            "embeddings",    "no_op_offload",
                                            "no_host",       "fit_target",
                                            "fit_min_ctx",   "numerics",
                                            "two_stage",     "tensor_buft_overrides",
                                            "rpc_servers"};
enum { N_SETTINGS = sizeof settings_keys / sizeof *settings_keys };

typedef struct bench_file {
    const char *path;
    uint64_t line;            // that is being read
    json_t *groups;           // [{"settings": {}, "speed": [], "lines": []}]
    bool differs[N_SETTINGS]; // whether the groups differ in this setting
    size_t n_rows;
} bench_file;

static int refuse(const bench_file *file, const char *fmt, ...) TN_PRINTF(2, 3);
static int refuse(const bench_file *file, const char *fmt, ...)
{
    char message[400];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(message, sizeof message, fmt, arguments);
    va_end(arguments);
    return tn_cli_fail(llama_bench, "%s, line %llu: %s", file->path, (unsigned long long)file->line, message);
}

// A whole number of the row from `least` on; `otherwise` where the row lacks it, and is negative where it must not.
static int read_count(const bench_file *file, const json_t *row, const char *key, int64_t least, int64_t otherwise, uint32_t *out)
{
    const json_t *value = json_object_get(row, key);
    if (!value && otherwise >= 0) {
        *out = (uint32_t)otherwise;
        return 0;
    }
    if (!value) return refuse(file, "there is no '%s'; every row of llama-bench has it", key);
    const int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < least || number > INT32_MAX)
        return refuse(file, "'%s' must be a whole number from %lld to %d", key, (long long)least, INT32_MAX);
    *out = (uint32_t)number;
    return 0;
}

static void name_test(const tn_cli_bench_test *t, char *text, size_t capacity)
{
    char behind[48] = "";
    if (t->n_depth) snprintf(behind, sizeof behind, " @ d%u", t->n_depth);
    if (t->n_pl > 1) snprintf(behind + strlen(behind), sizeof behind - strlen(behind), " pl%u", t->n_pl);
    if (t->n_gen == 0)
        snprintf(text, capacity, "pp%u%s", t->n_prompt, behind);
    else if (t->n_prompt == 0)
        snprintf(text, capacity, "tg%u%s", t->n_gen, behind);
    else
        snprintf(text, capacity, "pp%u+tg%u%s", t->n_prompt, t->n_gen, behind);
}

// A speed or a deviation; NAN where the row has none.
static int read_speed(const bench_file *file, const json_t *value, const char *key, double *out)
{
    *out = json_is_number(value) ? json_number_value(value) : (double)NAN;
    if (!value || json_is_null(value) || (*out >= 0 && *out <= SPEED_MAX)) return 0;
    return refuse(file, "'%s' must be a number from 0 to %g: tokens a second", key, SPEED_MAX);
}

static json_t *real_or_null(double value) { return isnan(value) ? json_null() : json_real(value); }

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Median, least and greatest of the samples, and mean and deviation as the row gives them.
static int put_statistics(const bench_file *file, const json_t *row, json_t *speed)
{
    const json_t *samples = json_object_get(row, "samples_ts"), *sample;
    double mean, deviation;
    size_t k;
    if (samples && !json_is_array(samples)) return refuse(file, "'samples_ts' must be a list of speeds");
    const size_t n = json_array_size(samples);
    int rc = read_speed(file, json_object_get(row, "avg_ts"), "avg_ts", &mean);
    if (rc == 0) rc = read_speed(file, json_object_get(row, "stddev_ts"), "stddev_ts", &deviation);
    if (rc) return rc;
    if (n == 0 && isnan(mean)) return refuse(file, "there are neither 'samples_ts' nor 'avg_ts', so no speed");
    double *values = malloc((n + 1) * sizeof *values), sum = 0;
    if (!values) return tn_cli_out_of_memory();
    json_t *list = json_array();
    for (k = 0; rc == 0 && k < n; k++) {
        sample = json_array_get(samples, k);
        rc = read_speed(file, sample, "samples_ts", &values[k]);
        if (rc == 0 && isnan(values[k])) rc = refuse(file, "sample %zu of 'samples_ts' must be a number", k + 1);
        sum += values[k];
        json_array_append_new(list, real_or_null(values[k]));
    }
    if (rc == 0) {
        qsort(values, n, sizeof *values, by_size);
        const double median = n > 0 ? (values[(n - 1) / 2] + values[n / 2]) / 2 : (double)NAN;
        json_object_set(speed, "samples", list);
        json_object_set_new(speed, "median", real_or_null(median));
        json_object_set_new(speed, "mean", real_or_null(isnan(mean) ? sum / (double)n : mean));
        json_object_set_new(speed, "deviation", real_or_null(deviation));
        json_object_set_new(speed, "min", real_or_null(n > 0 ? values[0] : (double)NAN));
        json_object_set_new(speed, "max", real_or_null(n > 0 ? values[n - 1] : (double)NAN));
    }
    json_decref(list);
    free(values);
    return rc;
}

// Shares of limits, which ternion's own rows have.
static void put_share(json_t *speed, const char *key, const json_t *row, const char *row_key)
{
    const json_t *share = json_object_get(row, row_key);
    json_object_set_new(speed, key, json_is_number(share) ? json_real(json_number_value(share)) : json_null());
}

static int read_test(const bench_file *file, const json_t *row, json_t *speed)
{
    tn_cli_bench_test t = {.n_prompt = 0};
    char name[96];
    int rc = read_count(file, row, "n_prompt", 0, -1, &t.n_prompt);
    if (rc == 0) rc = read_count(file, row, "n_gen", 0, -1, &t.n_gen);
    if (rc == 0) rc = read_count(file, row, "n_depth", 0, 0, &t.n_depth);
    if (rc == 0) rc = read_count(file, row, "n_pl", 1, 1, &t.n_pl);
    if (rc == 0 && t.n_prompt == 0 && t.n_gen == 0) rc = refuse(file, "'n_prompt' and 'n_gen' are both 0, so nothing was measured");
    if (rc) return rc;
    name_test(&t, name, sizeof name);
    json_object_set_new(speed, "test", json_string(name));
    json_object_set_new(speed, "n_prompt", json_integer(t.n_prompt));
    json_object_set_new(speed, "n_gen", json_integer(t.n_gen));
    json_object_set_new(speed, "n_depth", json_integer(t.n_depth));
    json_object_set_new(speed, "n_seqs", json_integer(t.n_pl));
    json_object_set_new(speed, "unit", json_string("t/s"));
    rc = put_statistics(file, row, speed);
    put_share(speed, "share_memory", row, "memory_share");
    put_share(speed, "share_int8", row, "int8_share");
    put_share(speed, "share_roofline", row, "roofline_share");
    json_object_set_new(speed, "energy", json_pack("{s:n}", "joule_per_token"));
    return rc;
}

static json_t *settings_of(const json_t *row)
{
    json_t *settings = json_object();
    for (size_t i = 0; i < N_SETTINGS; i++) {
        json_t *value = json_object_get(row, settings_keys[i]);
        if (value) json_object_set(settings, settings_keys[i], value);
    }
    return settings;
}

// NULL: it is one too many.
static json_t *group_of(bench_file *file, const json_t *row)
{
    json_t *settings = settings_of(row), *group;
    size_t k;
    json_array_foreach(file->groups, k, group)
    {
        if (json_equal(json_object_get(group, "settings"), settings)) {
            json_decref(settings);
            return group;
        }
    }
    if (k == SUBJECTS_MAX) {
        json_decref(settings);
        return NULL;
    }
    group = json_pack("{s:o, s:O, s:[], s:[]}", "settings", settings, "row", row, "speed", "lines");
    json_array_append_new(file->groups, group);
    return group;
}

// Adds a row's speed to its group.
static int add_row(bench_file *file, const json_t *row)
{
    json_t *group = group_of(file, row), *lines = json_object_get(group, "lines"), *speeds = json_object_get(group, "speed"), *other;
    if (!group && json_array_size(file->groups) == SUBJECTS_MAX)
        return refuse(file, "there are rows of more than %d different settings: take rows out, or make files of them", SUBJECTS_MAX);
    if (json_array_size(speeds) == TESTS_MAX)
        return refuse(file, "there are more than %d tests of one setting: take rows out, or make files of them", TESTS_MAX);
    json_t *speed = json_object();
    size_t k;
    int rc = read_test(file, row, speed);
    const char *test = json_string_value(json_object_get(speed, "test"));
    json_array_foreach(speeds, k, other)
    {
        const char *known = json_string_value(json_object_get(other, "test"));
        if (rc == 0 && test && known && strcmp(test, known) == 0)
            rc = refuse(file, "this is %s once more, with the settings of line %" JSON_INTEGER_FORMAT "; keep one of them", test,
                        json_integer_value(json_array_get(lines, k)));
    }
    if (rc == 0) json_array_append(speeds, speed);
    if (rc == 0) json_array_append_new(lines, json_integer((json_int_t)file->line));
    json_decref(speed);
    return rc;
}

static int read_row(bench_file *file, const tn_cli_batch_line *line)
{
    json_error_t error;
    file->line = line->number;
    if (line->too_long) return refuse(file, "it has more than %d bytes, and so is no row of llama-bench", LINE_MAX_BYTES);
    if (file->n_rows++ >= ROWS_MAX) return refuse(file, "there are more than %d rows", ROWS_MAX);
    json_t *row = json_loadb(line->text, line->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!row && !tn_cli_json_complete()) return tn_cli_out_of_memory();
    if (!row && line->text[0] == '[')
        return refuse(file, "this is the form of -o json, a list over many lines; rows of one line each are wanted");
    if (!row) return refuse(file, "this is no JSON: %s", error.text);
    int rc = json_is_object(row) ? add_row(file, row) : refuse(file, "an object with the fields of llama-bench is wanted");
    json_decref(row);
    return rc;
}

static int read_rows(bench_file *file, int fd)
{
    tn_cli_batch_reader reader;
    tn_cli_batch_line line;
    tn_cli_batch_read_result result = TN_CLI_BATCH_READ_END;
    int rc = 0;
    tn_cli_batch_reader_init(&reader, fd, LINE_MAX_BYTES);
    while (rc == 0 && (result = tn_cli_batch_read(&reader, -1, &line)) != TN_CLI_BATCH_READ_END && result != TN_CLI_BATCH_READ_FAILED) {
        if (result == TN_CLI_BATCH_READ_LINE) rc = read_row(file, &line);
    }
    if (rc == 0 && result == TN_CLI_BATCH_READ_FAILED)
        rc = errno == ENOMEM ? tn_cli_out_of_memory() : tn_cli_fail(NULL, "cannot read %s: %s", file->path, strerror(errno));
    tn_cli_batch_reader_deinit(&reader);
    if (rc == 0 && file->n_rows == 0) rc = tn_cli_fail(llama_bench, "%s has no rows", file->path);
    return rc;
}

static void find_differences(bench_file *file)
{
    size_t k;
    const json_t *group, *first = json_object_get(json_array_get(file->groups, 0), "settings");
    json_array_foreach(file->groups, k, group)
    {
        for (size_t i = 0; i < N_SETTINGS; i++) {
            const json_t *a = json_object_get(first, settings_keys[i]);
            const json_t *b = json_object_get(json_object_get(group, "settings"), settings_keys[i]);
            if (a != b && !(a && b && json_equal(a, b))) file->differs[i] = true;
        }
    }
}

// "other" for other.jsonl, and behind it the settings in which its groups differ: "other, n_threads=4". NULL without memory.
static json_t *name_of(const bench_file *file, const json_t *settings)
{
    const char *slash = strrchr(file->path, '/'), *base = slash ? slash + 1 : file->path, *end = strstr(base, ".jsonl");
    char name[400], value[80];
    size_t used = (size_t)snprintf(name, sizeof name, "%.*s", end ? (int)(end - base) : (int)strlen(base), base);
    for (size_t i = 0; i < N_SETTINGS && used < sizeof name; i++) {
        const json_t *setting = json_object_get(settings, settings_keys[i]);
        if (!file->differs[i]) continue;
        char *text = setting && !json_is_string(setting) ? json_dumps(setting, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        snprintf(value, sizeof value, "%s", json_is_string(setting) ? json_string_value(setting) : text ? text : "none");
        free(text);
        used += (size_t)snprintf(name + used, sizeof name - used, ", %s=%s", settings_keys[i], value);
    }
    return tn_cli_json_text(name, strlen(name)); // a character that was cut becomes U+FFFD
}

static json_t *text_or_null(const json_t *row, const char *key)
{
    json_t *value = json_object_get(row, key);
    return json_is_string(value) && json_string_length(value) > 0 ? json_incref(value) : json_null();
}

static json_t *number_or_null(const json_t *row, const char *key)
{
    json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_incref(value) : json_null();
}

static json_t *subject_of(const bench_file *file, const json_t *group)
{
    json_t *row = json_object_get(group, "row"), *gpu = text_or_null(row, "gpu_info"), *subject = json_object();
    json_t *description = json_is_string(gpu) ? json_incref(gpu) : text_or_null(row, "cpu_info");
    json_object_set_new(subject, "name", name_of(file, json_object_get(group, "settings")));
    json_object_set_new(subject, "kind", json_string("external"));
    json_object_set_new(subject, "status", json_string("ok"));
    json_object_set_new(subject, "reason", json_null());
    json_object_set_new(subject, "device",
                        json_pack("{s:o, s:o, s:n, s:o, s:n, s:o}", "name", text_or_null(row, "backends"), "description", description,
                                  "driver", "isa", text_or_null(row, "isa"), "kernels", "n_threads", number_or_null(row, "n_threads")));
    json_object_set_new(subject, "source",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "file", tn_cli_json_text(file->path, strlen(file->path)),
                                  "build_commit", text_or_null(row, "build_commit"), "build_number", number_or_null(row, "build_number"),
                                  "cpu", text_or_null(row, "cpu_info"), "model_type", text_or_null(row, "model_type"), "model_size",
                                  number_or_null(row, "model_size"), "model_n_params", number_or_null(row, "model_n_params"), "time",
                                  text_or_null(row, "test_time")));
    for (const char *const *key = (const char *const[]){"placement_text", "accuracy", "memory", "energy", "limits", NULL}; *key; key++)
        json_object_set_new(subject, *key, json_null());
    json_object_set_new(subject, "placement", json_array());
    json_object_set(subject, "speed", json_object_get(group, "speed"));
    json_object_set_new(subject, "ops", json_array());
    json_decref(gpu);
    return subject;
}

int tn_cli_external_bench_read(const char *path, json_t *subjects)
{
    bench_file file = {.path = path, .groups = json_array()};
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t k;
    const json_t *group;
    int rc = fd < 0 ? tn_cli_fail("ls -l", "cannot open %s: %s", path, strerror(errno)) : read_rows(&file, fd);
    json_t *made = json_array();
    if (rc == 0) {
        find_differences(&file);
        json_array_foreach(file.groups, k, group) json_array_append_new(made, subject_of(&file, group));
        if (!tn_cli_json_complete() || json_array_extend(subjects, made) != 0) rc = tn_cli_out_of_memory();
    }
    json_decref(made);
    json_decref(file.groups);
    if (fd >= 0) close(fd);
    return rc;
}
