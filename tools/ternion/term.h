// What an output stream can show: terminal or not, colours or not.
#ifndef TERNION_TOOL_TERM_H
#define TERNION_TOOL_TERM_H

#include <stdbool.h>

typedef struct tn_cli_term {
    int fd;
    bool moves;  // a terminal whose cursor can move: lines may be drawn over
    bool colour; // colours may be used
} tn_cli_term;

// `choice`: "on", "off" or "auto": on a terminal, unless NO_COLOR is set or TERM is dumb.
tn_cli_term tn_cli_term_of(int fd, const char *choice);
// Width in columns, 80 where unknown; asked for each time, because windows are resized.
int tn_cli_term_columns(const tn_cli_term *term);

#endif
