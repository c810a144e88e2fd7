// Threads of the library.
#ifndef TN_BASE_THREAD_H
#define TN_BASE_THREAD_H

#include <pthread.h>

// Starts a thread that leaves the process' signals to others; only faults that it causes itself reach it. `name` is cut at 15 characters.
// Returns 0 or an errno value.
int tn_thread_start(const char *name, void *(*run)(void *arg), void *arg, pthread_t *out_thread);

#endif
