// Output files under a temporary name, and standard output with its errors.
#include "output.h"

#include "plain.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tn_cli_cannot_write(const char *path, int number)
{
    const char *full = number == ENOSPC   ? "no space is left on its disk"
                       : number == EDQUOT ? "no space is left in your quota of its disk"
                       : number == EFBIG  ? "no space is left below the size that a file may have (ulimit -f)"
                                          : NULL;
    if (full) return tn_cli_fail("df -h", "cannot write %s: %s; free some or write elsewhere", path, full);
    if (number == EPIPE) return tn_cli_fail(NULL, "cannot write %s: whoever read it has gone", path);
    char command[600] = "ls -ld .", folder[4096], word[500];
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) + 2 < sizeof folder) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
        snprintf(command, sizeof command, "ls -ld %s", tn_cli_shell_word(folder, word, sizeof word));
    }
    return tn_cli_fail(command, "cannot write %s: %s; check the name, its folder and your rights", path, strerror(number));
}

// Where the bytes go at first: beside an ordinary file. What exists and is not one (/dev/full, a pipe) must not be renamed over.
static int name_temporary(tn_cli_output *output, const char *path)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    output->path = exists && S_ISREG(status.st_mode) ? realpath(path, NULL) : strdup(path);
    if (!output->path) return tn_cli_out_of_memory();
    if (exists && !S_ISREG(status.st_mode)) return 0;
    size_t capacity = strlen(output->path) + 32;
    output->temporary = malloc(capacity);
    if (!output->temporary) return tn_cli_out_of_memory();
    snprintf(output->temporary, capacity, "%s.tmp.%ld", output->path, (long)getpid());
    return 0;
}

int tn_cli_output_open(tn_cli_output *output, const char *path)
{
    if (strcmp(path, "-") == 0) {
        output->stream = stdout;
        output->path = strdup("standard output");
        return output->path ? 0 : tn_cli_out_of_memory();
    }
    int rc = name_temporary(output, path);
    if (rc) return rc;
    output->stream = fopen(output->temporary ? output->temporary : output->path, output->temporary ? "wbx" : "wb");
    if (output->stream) return 0;
    int number = errno;
    free(output->temporary); // nothing to remove
    output->temporary = NULL;
    return tn_cli_cannot_write(path, number);
}

int tn_cli_output_write(tn_cli_output *output, const void *bytes, size_t n)
{
    errno = 0;
    return fwrite(bytes, 1, n, output->stream) == n ? 0 : tn_cli_cannot_write(output->path, errno);
}

int tn_cli_output_commit(tn_cli_output *output)
{
    errno = 0;
    bool good = fflush(output->stream) == 0;
    int number = errno;
    if (output->stream != stdout && fclose(output->stream) != 0 && good) {
        good = false;
        number = errno;
    }
    output->stream = NULL;
    if (!good) return tn_cli_cannot_write(output->path, number);
    if (output->temporary && rename(output->temporary, output->path) != 0) return tn_cli_cannot_write(output->path, errno);
    free(output->temporary);
    output->temporary = NULL;
    return 0;
}

void tn_cli_output_discard(tn_cli_output *output)
{
    if (output->stream && output->stream != stdout) fclose(output->stream);
    if (output->temporary) unlink(output->temporary);
    free(output->temporary);
    free(output->path);
    memset(output, 0, sizeof *output);
}

int tn_cli_print(const char *bytes, size_t n)
{
    errno = 0;
    return fwrite(bytes, 1, n, stdout) == n && fflush(stdout) == 0 ? 0 : tn_cli_cannot_write("standard output", errno);
}

int tn_cli_print_plain(const char *bytes, size_t n)
{
    char line[1024];
    int rc = 0;
    for (size_t at = 0; at < n && rc == 0;) {
        size_t len = 0;
        while (at + len < n && len < sizeof line / 4 - 4 && bytes[at + len] != '\n' && bytes[at + len] != '\t') len++;
        while (at + len < n && ((unsigned char)bytes[at + len] & 0xc0) == 0x80) len++; // the rest of a character
        tn_cli_plain(bytes + at, len, line, sizeof line);
        rc = tn_cli_print(line, strlen(line));
        at += len;
        if (rc == 0 && at < n && (bytes[at] == '\n' || bytes[at] == '\t')) rc = tn_cli_print(bytes + at++, 1);
    }
    return rc;
}

int tn_cli_close_stdout(void)
{
    bool failed_before = ferror(stdout) != 0; // then a message is out already, or printf lost it
    errno = 0;
    bool closed = fclose(stdout) == 0;
    if (closed && !failed_before) return 0;
    return tn_cli_cannot_write("standard output", errno ? errno : EIO);
}
