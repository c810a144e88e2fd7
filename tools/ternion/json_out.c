// JSON on standard output, by jansson.
#include "json_out.h"

#include "output.h"
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Whether jansson missed memory for any part: its calls that put one value into another pass a failure on as a value left out.
static bool incomplete;

static void *allocate(size_t n)
{
    void *memory = malloc(n);
    if (!memory) incomplete = true;
    return memory;
}

void tn_cli_json_begin(void)
{
    incomplete = false;
    json_set_alloc_funcs(allocate, free);
}

bool tn_cli_json_complete(void) { return !incomplete; }

// Length of the UTF-8 character at `s`, 0 where there is none.
static size_t character_length(const unsigned char *s, size_t n)
{
    static const unsigned char least_second[] = {0, 0, 0x80, 0xa0, 0x90}; // of the lead byte with the smallest bits
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
    }
    if ((s[0] == 0xe0 || s[0] == 0xf0) && s[1] < least_second[len]) return 0;     // overlong
    if ((s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0; // surrogate, beyond U+10FFFF
    return len;
}

json_t *tn_cli_json_text(const char *bytes, size_t n)
{
    const unsigned char *in = (const unsigned char *)bytes;
    char *clean = allocate(3 * n + 1);
    size_t len = 0;
    if (!clean) return NULL;
    for (size_t at = 0; at < n;) {
        size_t k = character_length(in + at, n - at);
        memcpy(clean + len, k ? bytes + at : "\xef\xbf\xbd", k ? k : 3);
        len += k ? k : 3;
        at += k ? k : 1;
    }
    json_t *text = json_stringn(clean, len);
    free(clean);
    return text;
}

double tn_cli_short_real(float value)
{
    char digits[40];
    snprintf(digits, sizeof digits, "%.7g", (double)value);
    return strtod(digits, NULL);
}

json_t *tn_cli_json_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

json_t *tn_cli_json_model(const char *path, const tn_model_info *info)
{
    return json_pack("{s:o, s:o, s:s, s:s, s:I, s:I}", "path", tn_cli_json_text(path, strlen(path)), "name",
                     tn_cli_json_text(info->name, strlen(info->name)), "architecture", info->architecture, "type", info->type, "size",
                     (json_int_t)info->file_bytes, "n_params", (json_int_t)info->n_params);
}

char *tn_cli_json_dump(const json_t *object, size_t flags)
{
    char *text = object ? json_dumps(object, flags | JSON_REAL_PRECISION(12)) : NULL;
    if (tn_cli_json_complete()) return text;
    free(text); // jansson also leaves out text that it had no memory for
    return NULL;
}

int tn_cli_json_print(json_t *object)
{
    char *text = tn_cli_json_dump(object, JSON_INDENT(2));
    json_decref(object);
    if (!text) return tn_cli_out_of_memory();
    int rc = tn_cli_print(text, strlen(text));
    if (rc == 0) rc = tn_cli_print("\n", 1);
    free(text);
    return rc;
}
