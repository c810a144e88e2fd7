// Where bits part, in words.
#include "compare_exact.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void tn_cli_exact_value(float value, char text[TN_CLI_EXACT_VALUE])
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value)) // their bits are all that tells two of them apart
        snprintf(text, TN_CLI_EXACT_VALUE, "nan (0x%08" PRIx32 ")", bits);
    else
        snprintf(text, TN_CLI_EXACT_VALUE, "%a", (double)value);
}

// "token 17 (position 17), layer 3, op q"
static void print_place(const tn_cli_exact_result *result, char *text, size_t capacity)
{
    char layer[24] = "";
    if (result->layer >= 0) snprintf(layer, sizeof layer, " layer %" PRId32 ",", result->layer);
    snprintf(text, capacity, "token %" PRIu64 " (position %" PRIu32 "),%s op %s", result->token, result->position, layer, result->op);
}

void tn_cli_exact_sentence(const tn_cli_exact_request *request, const tn_cli_exact_result *result, char *text, size_t capacity)
{
    const char *a = request->sides[0].name, *b = request->sides[1].name, *one = request->sides[result->side].name;
    char place[128], values[2][TN_CLI_EXACT_VALUE];
    print_place(result, place, sizeof place);
    for (int i = 0; i < 2; i++) tn_cli_exact_value(result->values[i], values[i]);
    switch (result->kind) {
    case TN_CLI_EXACT_SAME:
        snprintf(text, capacity, "%s and %s have the same bits in all %" PRIu32 " tokens, whether ops are traced or not", a, b,
                 request->n_tokens);
        return;
    case TN_CLI_EXACT_PARTED:
        snprintf(text, capacity, "%s and %s part at %s, element %" PRIu32 ": %s against %s", a, b, place, result->element, values[0],
                 values[1]);
        return;
    case TN_CLI_EXACT_UNTRACED:
        snprintf(text, capacity,
                 "%s and %s part at %s, element %" PRIu32
                 ": %s against %s; they have the same bits where ops are traced, so none can be named",
                 a, b, place, result->element, values[0], values[1]);
        return;
    case TN_CLI_EXACT_UNSTABLE:
        snprintf(text, capacity, "%s differs from itself: at %s it had other bits when it computed the same again", one, place);
        return;
    case TN_CLI_EXACT_FAILED: snprintf(text, capacity, "%s failed while its ops were looked at: %s", one, result->reason); return;
    }
}
