// Files are one by their device and number, files to come by their folder and name.
#include "same_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

// The same for two files that are not there yet: one name in one folder.
static bool same_new_file(const char *a, const char *b)
{
    struct stat status[2];
    const char *paths[] = {a, b}, *names[2];
    for (int i = 0; i < 2; i++) {
        char folder[4096] = ".";
        const char *slash = strrchr(paths[i], '/');
        names[i] = slash ? slash + 1 : paths[i];
        if (slash) snprintf(folder, sizeof folder, "%.*s", (int)(slash - paths[i] + 1), paths[i]);
        if (stat(folder, &status[i]) != 0) return strcmp(a, b) == 0;
    }
    return strcmp(names[0], names[1]) == 0 && status[0].st_dev == status[1].st_dev && status[0].st_ino == status[1].st_ino;
}

bool tn_cli_same_file(const char *a, const char *b)
{
    struct stat first, second;
    if (!a || !b || strcmp(a, "-") == 0 || strcmp(b, "-") == 0) return false;
    bool first_exists = stat(a, &first) == 0, second_exists = stat(b, &second) == 0;
    if (!first_exists && !second_exists) return same_new_file(a, b);
    return first_exists && second_exists && S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}
