// Numbers from the command line and from files of token ids: whole, in range, nothing behind them.
#ifndef TERNION_TOOL_NUMBERS_H
#define TERNION_TOOL_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Each returns whether `text` is such a number; if not, `why` says what is wrong ("'12x' is not a whole number").
bool tn_cli_parse_int(const char *text, int64_t low, int64_t high, int64_t *out, char *why, size_t capacity);
bool tn_cli_parse_real(const char *text, double low, double high, double *out, char *why, size_t capacity);

// Bytes: "4096", "512M", "1.5GiB"; units are powers of 1024. At least 1.
bool tn_cli_parse_size(const char *text, uint64_t *out, char *why, size_t capacity);

// Appends the numbers of "1,4,8", "1-4", "16-64+16" or "16-256*2" to `*numbers`, which is grown with realloc. `why` is empty where memory
// was missing for them.
bool tn_cli_parse_numbers(const char *text, int64_t low, int64_t high, int64_t **numbers, size_t *n, char *why, size_t capacity);

// Token and bias of "15+1.5", "15-1", "15-inf".
bool tn_cli_parse_bias(const char *text, int32_t *out_token, float *out_bias, char *why, size_t capacity);

// Token ids between blanks, commas and brackets, in `len` bytes of a file. Returns the ids in `*ids`, to be freed by the caller.
bool tn_cli_parse_ids(const char *text, size_t len, int32_t **ids, size_t *n, char *why, size_t capacity);

#endif
