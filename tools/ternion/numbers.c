// Strict numbers: strtoll and strtod with the checks that they leave to the caller.
#include "numbers.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX 4096u // of one list: more is a mistyped range

static bool starts_number(char c) { return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.'; }

bool tn_cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *out, char *why, size_t capacity)
{
    char *end = NULL;
    errno = 0;
    long long value = starts_number(text[0]) ? strtoll(text, &end, 10) : 0;
    if (!end || end == text || *end) {
        snprintf(why, capacity, "'%.60s' is not a whole number", text);
        return false;
    }
    if (errno == ERANGE || value < low || value > high) {
        snprintf(why, capacity, "%.60s is out of range: %" PRId64 " to %" PRId64, text, low, high);
        return false;
    }
    *out = value;
    return true;
}

bool tn_cli_parse_real(const char *text, double low, double high, double *out, char *why, size_t capacity)
{
    char *end = NULL;
    bool plain = text[strspn(text, "0123456789+-.eE")] == '\0'; // no hexadecimal, inf or nan
    double value = plain && starts_number(text[0]) ? strtod(text, &end) : 0;
    if (!end || end == text || *end) {
        snprintf(why, capacity, "'%.60s' is not a number", text);
        return false;
    }
    if (!(value >= low && value <= high)) {
        snprintf(why, capacity, "%.60s is out of range: %g to %g", text, low, high);
        return false;
    }
    *out = value;
    return true;
}

bool tn_cli_parse_size(const char *text, uint64_t *out, char *why, size_t capacity)
{
    static const char units[] = "KMGT";
    char digits[32];
    double value = 0;
    const size_t n = strspn(text, "0123456789.");
    const char *unit = text + n, *place = *unit ? strchr(units, *unit >= 'a' && *unit <= 'z' ? *unit - 'a' + 'A' : *unit) : NULL;
    snprintf(digits, sizeof digits, "%.*s", (int)(n < sizeof digits ? n : sizeof digits - 1), text);
    bool good = n > 0 && n < sizeof digits && tn_cli_parse_real(digits, 0, 1e18, &value, why, capacity);
    if (place) {
        value *= (double)((uint64_t)1 << (10 * (place - units + 1)));
        unit++;
    }
    if (place && *unit == 'i') unit++;
    if (*unit == 'B') unit++;
    if (!good || *unit || !(value >= 1 && value <= 1e18)) {
        snprintf(why, capacity, "'%.60s' is not a size: say for example 512M or 2G", text);
        return false;
    }
    *out = (uint64_t)value;
    return true;
}

static bool push_number(int64_t **numbers, size_t *n, int64_t value, char *why, size_t capacity)
{
    if (*n == NUMBERS_MAX) {
        snprintf(why, capacity, "too many numbers: at most %u", NUMBERS_MAX);
        return false;
    }
    int64_t *grown = realloc(*numbers, (*n + 1) * sizeof **numbers);
    if (!grown) {
        why[0] = '\0';
        return false;
    }
    *numbers = grown;
    grown[(*n)++] = value;
    return true;
}

// The whole number at `*at`, which is moved behind it.
static bool take_number(const char **at, int64_t *out)
{
    char *end = NULL;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    *out = strtoll(*at, &end, 10);
    *at = end;
    return errno == 0;
}

// One item of a list: a number or a range with an optional step.
static bool push_item(const char *item, int64_t low, int64_t high, int64_t **numbers, size_t *n, char *why, size_t capacity)
{
    const char *at = item;
    int64_t first = 0, last = 0, step = 1;
    char operation = '+';
    bool good = take_number(&at, &first);
    last = first;
    if (good && *at == '-') {
        at++;
        good = take_number(&at, &last) && last >= first;
        if (good && (*at == '+' || *at == '*')) {
            operation = *at++;
            good = take_number(&at, &step) && step >= (operation == '*' ? 2 : 1) && !(operation == '*' && first == 0);
        }
    }
    if (!good || *at) {
        snprintf(why, capacity, "'%.60s' is neither a number nor a range like 1-4, 16-64+16 or 16-256*2", item);
        return false;
    }
    if (first < low || last > high) {
        snprintf(why, capacity, "%.60s is out of range: %" PRId64 " to %" PRId64, item, low, high);
        return false;
    }
    for (int64_t value = first; value <= last;) {
        if (!push_number(numbers, n, value, why, capacity)) return false;
        if (operation == '+' ? step > last - value : value > last / step) break;
        value = operation == '+' ? value + step : value * step;
    }
    return true;
}

bool tn_cli_parse_numbers(const char *text, int64_t low, int64_t high, int64_t **numbers, size_t *n, char *why, size_t capacity)
{
    char item[64];
    for (;;) {
        size_t len = strcspn(text, ",");
        snprintf(item, sizeof item, "%.*s", (int)(len < sizeof item ? len : sizeof item - 1), text);
        if (!push_item(item, low, high, numbers, n, why, capacity)) return false;
        if (!text[len]) return true;
        text += len + 1;
    }
}

bool tn_cli_parse_bias(const char *text, int32_t *out_token, float *out_bias, char *why, size_t capacity)
{
    const char *at = text;
    int64_t token = 0;
    double bias = 0;
    bool good = take_number(&at, &token) && token <= INT32_MAX && (*at == '+' || *at == '-');
    if (good && strcmp(at, "-inf") == 0) {
        bias = -(double)INFINITY;
    } else if (good) {
        good = tn_cli_parse_real(at, -1e9, 1e9, &bias, why, capacity);
    }
    if (!good) {
        snprintf(why, capacity, "'%.60s' is not of the form ID+B, ID-B or ID-inf", text);
        return false;
    }
    *out_token = (int32_t)token;
    *out_bias = (float)bias;
    return true;
}

bool tn_cli_parse_ids(const char *text, size_t len, int32_t **ids, size_t *n, char *why, size_t capacity)
{
    static const char separators[] = " \t\r\n,[]";
    size_t room = 0;
    *ids = NULL;
    *n = 0;
    for (size_t at = 0; at < len;) {
        if (text[at] != '\0' && strchr(separators, text[at])) {
            at++;
            continue;
        }
        int64_t id = 0;
        size_t start = at;
        for (; at < len && text[at] >= '0' && text[at] <= '9' && id <= INT32_MAX; at++) id = id * 10 + (text[at] - '0');
        bool ends = at == len || (text[at] != '\0' && strchr(separators, text[at]));
        if (at == start || !ends || id > INT32_MAX) {
            snprintf(why, capacity, "byte %zu begins no token id", start);
            return false;
        }
        if (*n == room) {
            room = room ? room * 2 : 1024;
            int32_t *grown = realloc(*ids, room * sizeof **ids);
            if (!grown) {
                snprintf(why, capacity, "no memory for %zu ids", room);
                return false;
            }
            *ids = grown;
        }
        (*ids)[(*n)++] = (int32_t)id;
    }
    return true;
}
