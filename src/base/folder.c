// Making folders.
#include "base/folder.h"

#include "base/alloc.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

tn_status tn_folder_make(const char *folder, const char *what)
{
    char *path;
    TN_TRY(tn_strdup(folder, strlen(folder), &path));
    int error = 0;
    for (char *at = path + (path[0] != '\0'); error == 0; at++) {
        if (*at != '/' && *at != '\0') continue;
        const char was = *at;
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST) error = errno;
        *at = was;
        if (was == '\0') break;
    }
    tn_free(path);
    if (error == 0) return TN_OK;
    return tn_fail_native(TN_IO, error, "%.400s: the folder for %s could not be made: %s", folder, what, strerror(error));
}
