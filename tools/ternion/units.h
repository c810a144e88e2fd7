// Times, sizes and counts for people.
#ifndef TERNION_TOOL_UNITS_H
#define TERNION_TOOL_UNITS_H

#include <stddef.h>
#include <stdint.h>

uint64_t tn_cli_now_ns(void);                                            // monotonic
void tn_cli_format_bytes(uint64_t bytes, char *text, size_t capacity);   // "3.61 MiB"
void tn_cli_format_count(double count, char *text, size_t capacity);     // "5.78 M"
void tn_cli_format_seconds(double seconds, char *text, size_t capacity); // "12.3 ms", "4.20 s", "3 min 20 s"
static inline double tn_cli_rate(uint64_t n, uint64_t ns) { return ns ? (double)n * 1e9 / (double)ns : 0; } // a second
uint64_t tn_cli_peak_rss_bytes(void);

#endif
