// SIGINT as a flag. A signal handler can only reach static storage.
#include "interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    signal(number, SIG_DFL); // the second one kills
    interrupted = 1;
}

void tn_cli_interrupt_install(void)
{
    struct sigaction action;
    if (sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_IGN) return; // as nohup and shells ask of background jobs
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART; // a write of the answer in progress is not lost
    sigaction(SIGINT, &action, NULL);
}

bool tn_cli_interrupted(void) { return interrupted != 0; }
