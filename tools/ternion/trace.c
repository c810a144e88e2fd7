// What came op by op is written token by token.
#include "trace.h"

#include "report.h"

#include <inttypes.h>
#include <stdio.h>

int tn_cli_trace_write(tn_cli_trace *trace, tn_cli_output *output)
{
    char line[96];
    if (trace->failed) return tn_cli_out_of_memory();
    for (uint32_t t = 0; t < trace->n; t++) {
        for (size_t op = 0; op < trace->n_ops; op++) {
            if (!trace->present[op][t]) continue;
            int n =
                snprintf(line, sizeof line, "%" PRIu32 " %s %016" PRIx64 "\n", trace->first + t, trace->names[op], trace->hashes[op][t]);
            int rc = tn_cli_output_write(output, line, (size_t)n);
            if (rc) return rc;
            trace->present[op][t] = 0;
        }
    }
    return 0;
}
