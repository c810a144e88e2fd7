// Makes the page of a comparison that stands in a file, for the test that reads pages.
// usage: report_page_make COMPARISON.json PAGE.html
#include <cstdio>

extern "C" {
#include "report_page.h"
#include "verbs.h"

extern const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_];
const tn_cli_verb tn_cli_verb_table[TN_VERB_COUNT_] = {}; // messages name a verb where there is one
}

int main(int argc, char **argv)
{
    json_error_t error;
    if (argc != 3) return 2;
    json_t *comparison = json_load_file(argv[1], JSON_ALLOW_NUL, &error);
    if (!comparison) {
        std::fprintf(stderr, "%s:%d: %s\n", argv[1], error.line, error.text);
        return 2;
    }
    const int rc = tn_cli_report_page_write(argv[2], comparison);
    json_decref(comparison);
    return rc;
}
