// Base of the public API: status codes, the last error, logging, progress, version.
#ifndef TERNION_BASE_H
#define TERNION_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TN_API               __attribute__((visibility("default")))
#define TN_NODISCARD         __attribute__((warn_unused_result))
#define TN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TN_API
#define TN_NODISCARD
#define TN_PRINTF(fmt, args)
#endif

// Initialisers of parameter structs: struct_size is set, every other field is zero, which means its default.
#ifdef __cplusplus
#define TN_PARAMS_INIT(type)                                                                                                               \
    ([] {                                                                                                                                  \
        type tn_new_params{};                                                                                                              \
        tn_new_params.struct_size = sizeof(type);                                                                                          \
        return tn_new_params;                                                                                                              \
    }())
#else
#define TN_PARAMS_INIT(type)                                                                                                               \
    {                                                                                                                                      \
        .struct_size = sizeof(type)                                                                                                        \
    }
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define TN_VERSION_MAJOR 0
#define TN_VERSION_MINOR 1
#define TN_VERSION_PATCH 0

// Pointers: a function that returns tn_status answers INVALID_ARGUMENT where a handle, a required array or an out pointer is NULL;
// parameter structs may be NULL where it says so. Other functions need valid pointers, but destroy and close take NULL.

// Returns the version of the library as "major.minor.patch". Never NULL.   Threads: any.
TN_API const char *tn_version(void);

// Every status, its number and what it means for the caller.
#define TN_STATUS_LIST(X)                                                                                                                  \
    X(OK, 0, "success")                                                                                                                    \
    X(INVALID_ARGUMENT, 1, "an argument is wrong: correct the call")                                                                       \
    X(OUT_OF_MEMORY, 2, "memory could not be had: free some or ask for less")                                                              \
    X(NOT_FOUND, 3, "the named thing does not exist: check the name")                                                                      \
    X(IO, 4, "the operating system refused a file operation: see the message")                                                             \
    X(BAD_FILE, 5, "the file is damaged or not what it claims to be: get another copy")                                                    \
    X(UNSUPPORTED, 6, "valid, but not supported here: see the message for what is")                                                        \
    X(UNAVAILABLE, 7, "no such device or driver on this host: skip it")                                                                    \
    X(DEVICE_LOST, 8, "the device stopped answering: plan again without it")                                                               \
    X(CANCELLED, 9, "the caller asked to stop")                                                                                            \
    X(LIMIT, 10, "a limit of the model or session is reached: see the message")                                                            \
    X(POISON, 11, "a value left the range of the exact mode: the sequence is unusable")                                                    \
    X(INTERNAL, 12, "a bug in ternion: please report it")

typedef enum tn_status {
#define TN_STATUS_ENUM(name, number, text) TN_##name = number,
    TN_STATUS_LIST(TN_STATUS_ENUM)
#undef TN_STATUS_ENUM
} tn_status;

// Returns the name of a status ("BAD_FILE") or "UNKNOWN".   Threads: any.
TN_API const char *tn_status_name(tn_status status);
// Returns what the status means for the caller, one line.   Threads: any.
TN_API const char *tn_status_text(tn_status status);

// What is known of the last failure in this thread. Fixed size: making it allocates nothing.
typedef struct tn_error {
    tn_status status;   // TN_OK where nothing failed yet
    int native_code;    // errno, CUresult or VkResult; 0 where there is none
    int line;           // of `file`, in ternion's source
    const char *file;   // static text
    char device[32];    // name of the device, "" where none is involved
    char message[1024]; // one line: what, where, what to do next; control characters are escaped
} tn_error;

// Returns the record of the calling thread's last failed call. Valid until its next failing call.   Threads: any.
TN_API const tn_error *tn_error_last(void);

typedef enum tn_log_level { TN_LOG_ERROR = 1, TN_LOG_WARN = 2, TN_LOG_INFO = 3, TN_LOG_DEBUG = 4 } tn_log_level;

// Where the library's text goes. All zero: warnings and errors to stderr.
typedef struct tn_log {
    void (*write)(void *user, tn_log_level level, const char *message); // message: one line without newline; NULL: stderr
    void *user;
    tn_log_level level_max; // 0: TN_LOG_WARN
} tn_log;

// Told about long work. `update` returns false to cancel; the call in progress then returns TN_CANCELLED.
typedef struct tn_progress {
    bool (*update)(void *user, const char *stage, uint64_t done, uint64_t total); // NULL: nobody is told
    void *user;
} tn_progress;

#ifdef __cplusplus
}
#endif
#endif
