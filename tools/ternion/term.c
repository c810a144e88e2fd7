// Terminal properties from isatty, TERM, NO_COLOR and the window size.
#include "term.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

tn_cli_term tn_cli_term_of(int fd, const char *choice)
{
    const char *type = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool dumb = !type || !*type || strcmp(type, "dumb") == 0;
    tn_cli_term term = {fd, isatty(fd) && !dumb, false};
    bool automatic = term.moves && !(no_color && *no_color);
    term.colour = strcmp(choice, "on") == 0 || (strcmp(choice, "auto") == 0 && automatic);
    return term;
}

int tn_cli_term_columns(const tn_cli_term *term)
{
    struct winsize size;
    return ioctl(term->fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}
