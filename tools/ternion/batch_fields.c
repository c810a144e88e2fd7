// Checked values of a batch line, and the words for wrong ones.
#include "batch_fields.h"

#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(tn_cli_batch_error *error, int status, const char *type, const char *code, const char *param)
{
    error->status = status;
    snprintf(error->type, sizeof error->type, "%s", type);
    snprintf(error->code, sizeof error->code, "%s", code);
    snprintf(error->param, sizeof error->param, "%s", param ? param : "");
}

bool tn_cli_batch_refuse(tn_cli_batch_error *error, const char *code, const char *param, const char *fmt, ...)
{
    va_list arguments;
    fill(error, 400, "invalid_request_error", code, param);
    va_start(arguments, fmt);
    vsnprintf(error->message, sizeof error->message, fmt, arguments);
    va_end(arguments);
    return false;
}

bool tn_cli_batch_no_memory(tn_cli_batch_error *error)
{
    fill(error, 500, "server_error", "out_of_memory", NULL);
    snprintf(error->message, sizeof error->message, "no memory is left for this line: close other programs, or make the line shorter");
    return false;
}

bool tn_cli_batch_refuse_status(tn_cli_batch_error *error, tn_status status, const char *param)
{
    if (status == TN_OUT_OF_MEMORY) return tn_cli_batch_no_memory(error);
    return tn_cli_batch_refuse(error, status == TN_UNSUPPORTED ? "unsupported_value" : "invalid_value", param, "%s",
                               tn_error_last()->message);
}

// A value as messages name it: short ones as they are, others by their kind.
static void describe(const json_t *value, char out[48])
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: snprintf(out, 48, "an object"); return;
    case JSON_ARRAY: snprintf(out, 48, json_array_size(value) ? "an array" : "an empty array"); return;
    case JSON_STRING:
        if (json_string_length(value) > 40) {
            snprintf(out, 48, "a long string");
            return;
        }
        snprintf(out, 48, "\"%s\"", json_string_value(value));
        return;
    case JSON_INTEGER: snprintf(out, 48, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); return;
    case JSON_REAL: snprintf(out, 48, "%.10g", json_real_value(value)); return;
    case JSON_TRUE: snprintf(out, 48, "true"); return;
    case JSON_FALSE: snprintf(out, 48, "false"); return;
    case JSON_NULL: snprintf(out, 48, "null"); return;
    }
}

bool tn_cli_batch_wrong(tn_cli_batch_error *error, const char *param, const json_t *value, const char *wanted, ...)
{
    char what[300], got[48] = "";
    va_list arguments;
    va_start(arguments, wanted);
    vsnprintf(what, sizeof what, wanted, arguments);
    va_end(arguments);
    describe(value, got);
    return tn_cli_batch_refuse(error, "invalid_value", param, "'%s' must be %s, not %s", param, what, got);
}

bool tn_cli_batch_read_int(tn_cli_batch_error *error, const char *param, const json_t *value, int64_t low, int64_t high, int64_t *out)
{
    const double exact = 9007199254740992.0; // beyond 2^53 a real is no longer one whole number
    bool whole = json_is_integer(value);
    int64_t number = whole ? json_integer_value(value) : 0;
    if (json_is_real(value)) {
        double real = json_real_value(value);
        whole = real >= -exact && real <= exact && real == floor(real);
        if (whole) number = (int64_t)real;
    }
    if (whole && number >= low && number <= high) {
        *out = number;
        return true;
    }
    return tn_cli_batch_wrong(error, param, value, "an integer from %" PRId64 " to %" PRId64, low, high);
}

bool tn_cli_batch_read_real(tn_cli_batch_error *error, const char *param, const json_t *value, double low, bool above, double high,
                            float *out)
{
    const double number = json_is_number(value) ? json_number_value(value) : NAN;
    const bool fits = number >= low && number <= high;
    const float rounded = fits ? (float)number : 0;
    if (fits && !(above && (double)rounded <= low)) { // a tiny number may round to the limit
        *out = rounded;
        return true;
    }
    if (above) return tn_cli_batch_wrong(error, param, value, "a number above %g, at most %g", low, high);
    return tn_cli_batch_wrong(error, param, value, "a number from %g to %g", low, high);
}

bool tn_cli_batch_read_flag(tn_cli_batch_error *error, const char *param, const json_t *value, bool *out)
{
    *out = json_is_true(value);
    return json_is_boolean(value) || tn_cli_batch_wrong(error, param, value, "true or false");
}

void tn_cli_batch_note_unknown(tn_cli_batch_context *context, uint64_t number, const char *name, const char *where)
{
    tn_cli_batch_notes *notes = &context->notes;
    char key[sizeof notes->names[0]];
    snprintf(key, sizeof key, "%.40s%s%s", name, where ? " " : "", where ? where : "");
    for (size_t i = 0; i < notes->n_names; i++) {
        if (strcmp(notes->names[i], key) == 0) return;
    }
    if (notes->n_names == sizeof notes->names / sizeof notes->names[0]) {
        if (!notes->full) tn_cli_warn("line %" PRIu64 ": more unknown parameters are ignored; they are no longer named", number);
        notes->full = true;
        return;
    }
    memcpy(notes->names[notes->n_names++], key, sizeof key);
    if (where) {
        tn_cli_warn("line %" PRIu64 ": the parameter '%.40s' is not one of %s and is ignored, here and in all lines", number, name, where);
    } else {
        tn_cli_warn("line %" PRIu64 ": the parameter '%.40s' is not known and is ignored, here and in all lines", number, name);
    }
}
