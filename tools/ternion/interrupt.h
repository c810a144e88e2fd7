// Ctrl-C: the first one asks for a clean end, the second one kills.
#ifndef TERNION_TOOL_INTERRUPT_H
#define TERNION_TOOL_INTERRUPT_H

#include <stdbool.h>

// From now on. Before it, while a text is read from standard input, Ctrl-C ends the program at once.
void tn_cli_interrupt_install(void);
bool tn_cli_interrupted(void);

#endif
