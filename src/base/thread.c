// Starting threads.
#include "base/thread.h"

#include <signal.h>
#include <stdio.h>

int tn_thread_start(const char *name, void *(*run)(void *arg), void *arg, pthread_t *out_thread)
{
    sigset_t blocked, old;
    sigfillset(&blocked);
    const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &old); // the new thread has it from its first instruction
    const int error = pthread_create(out_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error == 0) {
        char cut[16];
        snprintf(cut, sizeof cut, "%.15s", name);
        pthread_setname_np(*out_thread, cut);
    }
    return error;
}
