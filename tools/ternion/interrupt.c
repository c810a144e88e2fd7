// SIGINT and SIGTERM as a count. A signal handler can only reach static storage.
#include "interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupts, interrupts_max = 1;

static void on_signal(int number)
{
    if (interrupts < interrupts_max) interrupts++;
    if (interrupts >= interrupts_max) signal(number, SIG_DFL); // the next one kills
}

static void install(int number, int n_max, int flags)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) return; // as nohup and shells ask of background jobs
    memset(&action, 0, sizeof action);
    interrupts_max = n_max;
    action.sa_handler = on_signal;
    action.sa_flags = flags;
    sigaction(number, &action, NULL);
}

void tn_cli_interrupt_install(void) { install(SIGINT, 1, SA_RESTART); } // a write of the answer in progress is not lost
void tn_cli_interrupt_install_lasting(bool breaks_reads) { install(SIGINT, 2, breaks_reads ? 0 : SA_RESTART); }

void tn_cli_interrupt_install_ending(void)
{
    install(SIGINT, 1, 0);
    install(SIGTERM, 1, 0);
}

bool tn_cli_interrupted(void) { return interrupts != 0; }

bool tn_cli_interrupt_take(void)
{
    bool taken = interrupts != 0;
    interrupts = 0;
    return taken;
}
