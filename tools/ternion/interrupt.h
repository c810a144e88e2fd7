// Ctrl-C: the first one asks for a clean end, the second one kills. A program that goes on after it takes it and is asked again.
#ifndef TERNION_TOOL_INTERRUPT_H
#define TERNION_TOOL_INTERRUPT_H

#include <stdbool.h>

// From now on. Before it, while a text is read from standard input, Ctrl-C ends the program at once.
void tn_cli_interrupt_install(void);
// The same for SIGTERM too; reads and waits end with EINTR.
void tn_cli_interrupt_install_ending(void);
// For programs that go on: three before one is taken kill. `breaks_reads`: a read that waits for input fails with EINTR.
void tn_cli_interrupt_install_lasting(bool breaks_reads);
bool tn_cli_interrupted(void);
// Whether there was one; it counts no more.
bool tn_cli_interrupt_take(void);

#endif
