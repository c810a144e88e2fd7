// Logits that another program wrote, a row at a time, so that a file may be larger than memory.
#include "compare_external.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tn_cli_external_logits {
    char *path;
    int fd;
    uint32_t n_vocab;
    uint64_t n_rows;
    float row[];
};

tn_cli_external_kind tn_cli_external_kind_of(const char *path)
{
    const size_t n = strlen(path);
    if (n > 6 && strcmp(path + n - 6, ".jsonl") == 0) return TN_EXTERNAL_BENCH;
    if (n > 4 && strcmp(path + n - 4, ".f32") == 0) return TN_EXTERNAL_LOGITS;
    return TN_EXTERNAL_UNKNOWN;
}

// Its size must be that of whole rows: a file of another vocabulary, or one that was cut, is not read with shifted rows.
static int check_size(tn_cli_external_logits *l)
{
    struct stat status;
    const uint64_t row_bytes = (uint64_t)l->n_vocab * sizeof(float);
    if (fstat(l->fd, &status) != 0) return tn_cli_fail(NULL, "cannot read %s: %s", l->path, strerror(errno));
    if (!S_ISREG(status.st_mode)) return tn_cli_fail(NULL, "%s is no ordinary file; logits must be in one", l->path);
    const uint64_t size = (uint64_t)status.st_size;
    if (size == 0) return tn_cli_fail(NULL, "%s is empty; f32 logits, [rows][%u], are wanted", l->path, l->n_vocab);
    if (size % row_bytes != 0)
        return tn_cli_fail(
            NULL, "%s has %llu bytes, which are no whole rows of %u f32 logits (%llu bytes each): it is cut, or of another vocabulary",
            l->path, (unsigned long long)size, l->n_vocab, (unsigned long long)row_bytes);
    l->n_rows = size / row_bytes;
    return 0;
}

int tn_cli_external_logits_open(const char *path, uint32_t n_vocab, tn_cli_external_logits **out_logits)
{
    *out_logits = NULL;
    if (n_vocab == 0) return tn_cli_fail(NULL, "%s: the model has no vocabulary to compare with", path);
    tn_cli_external_logits *l = calloc(1, sizeof *l + (size_t)n_vocab * sizeof(float));
    if (!l) return tn_cli_out_of_memory();
    l->fd = -1;
    l->n_vocab = n_vocab;
    l->path = strdup(path);
    int rc = l->path ? 0 : tn_cli_out_of_memory();
    if (rc == 0 && (l->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) rc = tn_cli_fail("ls -l", "cannot open %s: %s", path, strerror(errno));
    if (rc == 0) rc = check_size(l);
    if (rc == 0) {
        *out_logits = l;
        return 0;
    }
    tn_cli_external_logits_close(l);
    return rc;
}

void tn_cli_external_logits_close(tn_cli_external_logits *logits)
{
    if (!logits) return;
    if (logits->fd >= 0) close(logits->fd);
    free(logits->path);
    free(logits);
}

uint64_t tn_cli_external_logits_count(const tn_cli_external_logits *logits) { return logits->n_rows; }

// The whole row, whatever pieces the system gives.
static int read_bytes(const tn_cli_external_logits *l, uint64_t i, unsigned char *out)
{
    const size_t n = (size_t)l->n_vocab * sizeof(float);
    for (size_t at = 0; at < n;) {
        const ssize_t got = pread(l->fd, out + at, n - at, (off_t)(i * n + at));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return tn_cli_fail(NULL, "cannot read %s: %s", l->path, strerror(errno));
        if (got == 0) return tn_cli_fail(NULL, "%s became shorter while it was read, in row %llu", l->path, (unsigned long long)i);
        at += (size_t)got;
    }
    return 0;
}

static float little_endian(const unsigned char *bytes)
{
    const uint32_t bits = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int tn_cli_external_logits_row(tn_cli_external_logits *logits, uint64_t i, const float **out_row)
{
    *out_row = NULL;
    if (i >= logits->n_rows)
        return tn_cli_fail(NULL, "%s has %llu rows, and row %llu is wanted: it is of fewer tokens", logits->path,
                           (unsigned long long)logits->n_rows, (unsigned long long)i);
    int rc = read_bytes(logits, i, (unsigned char *)logits->row);
    if (rc) return rc;
    for (uint32_t k = 0; k < logits->n_vocab; k++) {
        logits->row[k] = little_endian((const unsigned char *)&logits->row[k]);
        if (!isfinite(logits->row[k]))
            return tn_cli_fail(NULL, "%s, row %llu: the logit of token %u is %s; finite f32 numbers are wanted", logits->path,
                               (unsigned long long)i, k, isnan(logits->row[k]) ? "no number (NaN)" : "infinite");
    }
    *out_row = logits->row;
    return 0;
}

json_t *tn_cli_external_logits_subject(const tn_cli_external_logits *logits)
{
    const char *slash = strrchr(logits->path, '/'), *base = slash ? slash + 1 : logits->path;
    const size_t n = strlen(base);
    json_t *name = tn_cli_json_text(base, n > 4 && strcmp(base + n - 4, ".f32") == 0 ? n - 4 : n);
    json_t *subject =
        json_pack("{s:o, s:s, s:s, s:n, s:n, s:[], s:n, s:n, s:[], s:n, s:n, s:n, s:[], s:{s:o, s:I}}", "name", name, "kind", "external",
                  "status", "ok", "reason", "device", "placement", "placement_text", "accuracy", "speed", "memory", "energy", "limits",
                  "ops", "source", "file", tn_cli_json_text(logits->path, strlen(logits->path)), "n_rows", (json_int_t)logits->n_rows);
    return subject;
}
