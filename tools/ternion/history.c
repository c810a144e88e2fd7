// The history file: a line an entry, appended as it is typed, so that programs side by side keep each other's. It is cut when it is
// read and has become twice as long as it should be.
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Makes the folders of `path`, for its owner alone.
static bool make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool there = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!there) return false;
    }
    return true;
}

bool tn_cli_history_path(char *path, size_t capacity)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    bool has_state = state && state[0] == '/'; // relative ones are to be ignored, says the XDG specification
    if (!has_state && (!home || home[0] != '/')) return false;
    int n = has_state ? snprintf(path, capacity, "%s/ternion/history", state)
                      : snprintf(path, capacity, "%s/.local/state/ternion/history", home);
    return n > 0 && (size_t)n < capacity && make_folders(path);
}

// Keeps the last TN_CLI_HISTORY_MAX lines of `n_lines`. The file stays as it is where that fails.
static void shorten(const char *path, FILE *in, size_t n_lines)
{
    char temporary[4200], *line = NULL;
    size_t capacity = 0, at = 0;
    snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!out) {
        if (fd >= 0) {
            close(fd);
            unlink(temporary);
        }
        return;
    }
    rewind(in);
    bool good = true;
    while (good && getline(&line, &capacity, in) >= 0) {
        if (at++ + TN_CLI_HISTORY_MAX >= n_lines) good = fputs(line, out) >= 0;
    }
    free(line);
    good = fclose(out) == 0 && good;
    if (!good || rename(temporary, path) != 0) unlink(temporary);
}

void tn_cli_history_load(const char *path, void (*each)(void *user, const char *line), void *user)
{
    char *line = NULL;
    size_t capacity = 0, n_lines = 0, at = 0;
    FILE *in = fopen(path, "re");
    if (!in) return;
    while (getline(&line, &capacity, in) >= 0) n_lines++;
    rewind(in);
    while (getline(&line, &capacity, in) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        if (at++ + TN_CLI_HISTORY_MAX >= n_lines && line[0]) each(user, line);
    }
    if (n_lines > 2 * TN_CLI_HISTORY_MAX) shorten(path, in, n_lines);
    free(line);
    fclose(in);
}

int tn_cli_history_append(const char *path, const char *line)
{
    size_t n = strlen(line);
    char *copy = malloc(n + 2);
    if (!copy) return ENOMEM;
    for (size_t i = 0; i < n; i++) copy[i] = line[i] == '\n' || line[i] == '\r' ? ' ' : line[i];
    copy[n] = '\n';
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), number = fd < 0 ? errno : 0;
    if (fd >= 0) {
        ssize_t written = write(fd, copy, n + 1); // one call, so that lines of two programs do not mix
        if (written != (ssize_t)(n + 1)) number = written < 0 ? errno : EIO;
        if (close(fd) != 0 && number == 0) number = errno;
    }
    free(copy);
    return number;
}
