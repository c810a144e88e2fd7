// Results as csv, json, jsonl and sql, all from one list of fields.
#include "bench_output.h"

#include "output.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>

int tn_cli_bench_outputs_choose(tn_cli_bench_outputs *outputs, const tn_cli_options *options)
{
    const char *formats[] = {tn_cli_text(options, TN_OPT_BENCH_FORMAT), tn_cli_text(options, TN_OPT_BENCH_FORMAT_ERR)};
    FILE *const files[] = {stdout, stderr};
    for (size_t i = 0; i < 2; i++) {
        if (strcmp(formats[i], "none") != 0) outputs->list[outputs->n++] = (tn_cli_bench_output){formats[i], files[i], 0};
    }
    return outputs->n ? 0 : tn_cli_usage("-o none: then -oe must give a format, or there are no results");
}

bool tn_cli_bench_outputs_have(const tn_cli_bench_outputs *outputs, const char *format)
{
    for (size_t i = 0; i < outputs->n; i++) {
        if (tn_cli_bench_output_is(&outputs->list[i], format)) return true;
    }
    return false;
}

// The names of the flat fields, or their values as `print` writes them.
static void print_fields(FILE *out, json_t *fields, size_t n_flat, const char *separator, void (*print)(FILE *out, const json_t *value))
{
    void *field = json_object_iter(fields);
    for (size_t i = 0; i < n_flat && field; i++, field = json_object_iter_next(fields, field)) {
        if (i) fputs(separator, out);
        if (print) {
            print(out, json_object_iter_value(field));
        } else {
            fputs(json_object_iter_key(field), out);
        }
    }
}

// A value between two `quote`s, which are doubled within; numbers too, as llama-bench writes them.
static void print_quoted(FILE *out, const json_t *value, char quote)
{
    putc(quote, out);
    if (json_is_string(value)) {
        for (const char *c = json_string_value(value); *c; c++) {
            if (*c == quote) putc(quote, out);
            putc(*c, out);
        }
    } else if (json_is_integer(value)) {
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        fprintf(out, "%f", json_real_value(value));
    }
    putc(quote, out);
}

// ---- csv ----

static void print_csv_value(FILE *out, const json_t *value) { print_quoted(out, value, '"'); }

static void print_csv(const tn_cli_bench_output *output, json_t *fields, size_t n_flat)
{
    if (output->n_rows == 0) {
        print_fields(output->file, fields, n_flat, ",", NULL);
        putc('\n', output->file);
    }
    print_fields(output->file, fields, n_flat, ",", print_csv_value);
    putc('\n', output->file);
}

// ---- sql ----

static void print_sql_value(FILE *out, const json_t *value)
{
    if (json_is_null(value)) {
        fputs("NULL", out);
    } else {
        print_quoted(out, value, '\''); // the type of the column makes a number of it again
    }
}

static void print_sql_table(FILE *out, const char *table, json_t *fields, size_t n_flat)
{
    void *field = json_object_iter(fields);
    fprintf(out, "CREATE TABLE IF NOT EXISTS %s (\n", table);
    for (size_t i = 0; i < n_flat && field; i++, field = json_object_iter_next(fields, field)) {
        const json_t *value = json_object_iter_value(field);
        const char *type = json_is_string(value) ? "TEXT" : json_is_integer(value) ? "INTEGER" : "REAL";
        fprintf(out, "  %s %s%s\n", json_object_iter_key(field), type, i + 1 < n_flat ? "," : "");
    }
    fprintf(out, ");\n\n");
}

static void print_sql(const tn_cli_bench_output *output, const char *table, json_t *fields, size_t n_flat)
{
    if (output->n_rows == 0) print_sql_table(output->file, table, fields, n_flat);
    fprintf(output->file, "INSERT INTO %s (", table);
    print_fields(output->file, fields, n_flat, ", ", NULL);
    fprintf(output->file, ") VALUES (");
    print_fields(output->file, fields, n_flat, ", ", print_sql_value);
    fprintf(output->file, ");\n");
}

// ---- json, jsonl ----

static int print_json(const tn_cli_bench_output *output, const json_t *fields)
{
    const bool lines = tn_cli_bench_output_is(output, "jsonl");
    char *text = tn_cli_json_dump(fields, lines ? 0 : JSON_INDENT(2));
    if (!text) return tn_cli_out_of_memory();
    fprintf(output->file, "%s%s%s", !lines && output->n_rows ? ",\n" : "", text, lines ? "\n" : "");
    free(text);
    return 0;
}

// ---- all ----

int tn_cli_bench_outputs_flush(tn_cli_bench_outputs *outputs)
{
    for (size_t i = 0; i < outputs->n; i++) {
        FILE *file = outputs->list[i].file;
        errno = 0;
        const int rc = file == stdout                           ? tn_cli_print("", 0)
                       : fflush(file) == 0 && ferror(file) == 0 ? 0
                                                                : tn_cli_fail(NULL, "cannot write standard error: %s", strerror(errno));
        if (rc) return rc;
    }
    return 0;
}

int tn_cli_bench_outputs_begin(tn_cli_bench_outputs *outputs)
{
    for (size_t i = 0; i < outputs->n; i++) {
        if (tn_cli_bench_output_is(&outputs->list[i], "json")) fputs("[\n", outputs->list[i].file);
    }
    return tn_cli_bench_outputs_flush(outputs);
}

int tn_cli_bench_outputs_add(tn_cli_bench_outputs *outputs, json_t *fields, size_t n_flat)
{
    if (!fields || !tn_cli_json_complete()) return tn_cli_out_of_memory();
    for (size_t i = 0; i < outputs->n; i++) {
        tn_cli_bench_output *output = &outputs->list[i];
        int rc = 0;
        if (tn_cli_bench_output_is(output, "md")) continue;
        if (tn_cli_bench_output_is(output, "csv")) {
            print_csv(output, fields, n_flat);
        } else if (tn_cli_bench_output_is(output, "sql")) {
            print_sql(output, outputs->table, fields, n_flat);
        } else {
            rc = print_json(output, fields);
        }
        if (rc) return rc;
        output->n_rows++;
    }
    return tn_cli_bench_outputs_flush(outputs);
}

int tn_cli_bench_outputs_end(tn_cli_bench_outputs *outputs)
{
    for (size_t i = 0; i < outputs->n; i++) {
        if (tn_cli_bench_output_is(&outputs->list[i], "json")) fputs("\n]\n", outputs->list[i].file);
    }
    return tn_cli_bench_outputs_flush(outputs);
}
