// A comparison as a page for people.
#ifndef TERNION_TOOL_REPORT_PAGE_H
#define TERNION_TOOL_REPORT_PAGE_H

#include "json_out.h"

// Writes the object that ternion compare --json prints as one HTML page to `path` ("-": standard output), which appears whole or not at
// all. The page needs nothing beside it: no network, no font, no script. Fields that are missing or null are shown as "n/a", whatever the
// rest. Returns 0 or the exit status after a message.
int tn_cli_report_page_write(const char *path, const json_t *comparison);

#endif
