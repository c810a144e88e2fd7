// A header of 512 bytes, then rows: their logits and a hash of them each, so that damage is found where it is read and nothing is read
// twice.
#include "eval_baseline.h"

#include "bytes_hash.h"
#include "plain.h"
#include "report.h"
#include "units.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "baselines are written as they lie in memory, which must be little-endian"
#endif

#define MAGIC "TNLOGITS"
enum { VERSION = 1, HEADER_BYTES = 512, HASH_BYTES = 8 };

// As it lies in the file; behind it zeros, and in the last 8 bytes the hash of all before.
typedef struct file_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint32_t n_vocab, context, stride, n_windows, n_rows, puts_bos;
    uint64_t n_tokens, tokens_hash, model_hash, model_bytes, n_params;
    char model_name[64], model_type[32], version_text[32];
} file_header;
_Static_assert(sizeof(file_header) == 208, "docs/EVAL.md says where each field lies");

// False where no file is that long.
static bool size_of(uint64_t n_vocab, uint64_t n_windows, uint64_t n_rows, uint64_t *out_bytes)
{
    const uint64_t row_bytes = n_vocab * sizeof(float) + HASH_BYTES; // n_vocab is below 2^32, like the others
    uint64_t bytes;
    if (__builtin_mul_overflow(n_windows * n_rows, row_bytes, &bytes) || bytes > INT64_MAX - HEADER_BYTES) return false;
    *out_bytes = bytes + HEADER_BYTES;
    return true;
}

static void pack_header(const tn_cli_baseline_info *info, unsigned char bytes[HEADER_BYTES])
{
    file_header h = {.magic = "", .version = VERSION, .header_bytes = HEADER_BYTES, .n_vocab = info->n_vocab, .context = info->context};
    memcpy(h.magic, MAGIC, sizeof h.magic);
    h.stride = info->stride;
    h.n_windows = info->n_windows;
    h.n_rows = info->n_rows;
    h.puts_bos = info->puts_bos;
    h.n_tokens = info->n_tokens;
    h.tokens_hash = info->tokens_hash;
    h.model_hash = info->model_hash;
    h.model_bytes = info->model_bytes;
    h.n_params = info->n_params;
    memcpy(h.model_name, info->model_name, sizeof h.model_name);
    memcpy(h.model_type, info->model_type, sizeof h.model_type);
    memcpy(h.version_text, info->version, sizeof h.version_text);
    memset(bytes, 0, HEADER_BYTES);
    memcpy(bytes, &h, sizeof h);
    const uint64_t hash = tn_cli_hash(bytes, HEADER_BYTES - HASH_BYTES, 0);
    memcpy(bytes + HEADER_BYTES - HASH_BYTES, &hash, HASH_BYTES);
}

static void folder_of(const char *path, char *folder, size_t capacity)
{
    const char *slash = strrchr(path, '/');
    snprintf(folder, capacity, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
}

static int check_room(const char *path, const tn_cli_baseline_info *info, uint64_t bytes)
{
    char folder[4096], size[24], room[24];
    struct stat status;
    struct statvfs disk;
    tn_cli_format_bytes(bytes, size, sizeof size);
    folder_of(path, folder, sizeof folder);
    const bool ordinary = stat(path, &status) != 0 || S_ISREG(status.st_mode);
    if (!ordinary || statvfs(folder, &disk) != 0) {
        tn_cli_note("baseline  %s: %s", path, size);
        return 0;
    }
    const uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    tn_cli_format_bytes(free_bytes, room, sizeof room);
    tn_cli_note("baseline  %s: %s for %" PRIu64 " rows of %u logits (%s are free)", path, size, (uint64_t)info->n_windows * info->n_rows,
                info->n_vocab, room);
    if (bytes <= free_bytes) return 0;
    return tn_cli_fail("df -h", "--save-baseline %s takes %s, but its disk has %s left: score fewer windows (--chunks), or write elsewhere",
                       path, size, room);
}

int tn_cli_baseline_create(tn_cli_baseline_writer *writer, const char *path, const tn_cli_baseline_info *info)
{
    unsigned char header[HEADER_BYTES];
    uint64_t bytes;
    if (!size_of(info->n_vocab, info->n_windows, info->n_rows, &bytes))
        return tn_cli_usage("--save-baseline: no file can hold so many rows: score fewer windows (--chunks)");
    int rc = check_room(path, info, bytes);
    if (rc == 0) rc = tn_cli_output_open(&writer->output, path);
    if (rc) return rc;
    writer->n_vocab = info->n_vocab;
    pack_header(info, header);
    return tn_cli_output_write(&writer->output, header, sizeof header);
}

int tn_cli_baseline_add(tn_cli_baseline_writer *writer, const float *row)
{
    const size_t bytes = (size_t)writer->n_vocab * sizeof *row;
    const uint64_t hash = tn_cli_hash(row, bytes, writer->n_rows++);
    const int rc = tn_cli_output_write(&writer->output, row, bytes);
    return rc ? rc : tn_cli_output_write(&writer->output, &hash, sizeof hash);
}

int tn_cli_baseline_commit(tn_cli_baseline_writer *writer) { return tn_cli_output_commit(&writer->output); }

void tn_cli_baseline_discard(tn_cli_baseline_writer *writer) { tn_cli_output_discard(&writer->output); }

static int damaged(const tn_cli_baseline_reader *reader, const char *fmt, ...) TN_PRINTF(2, 3);
static int damaged(const tn_cli_baseline_reader *reader, const char *fmt, ...)
{
    char why[200], command[600], word[400];
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(why, sizeof why, fmt, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "ternion eval -m BASE.gguf -f TEXT --save-baseline %s",
             tn_cli_shell_word(reader->path, word, sizeof word));
    return tn_cli_fail(command, "--baseline %s: %s; save it again", reader->path, why);
}

static void unpack_header(const unsigned char bytes[HEADER_BYTES], file_header *h, tn_cli_baseline_info *info)
{
    memcpy(h, bytes, sizeof *h);
    *info = (tn_cli_baseline_info){.n_vocab = h->n_vocab, .context = h->context, .stride = h->stride, .n_windows = h->n_windows};
    info->n_rows = h->n_rows;
    info->puts_bos = h->puts_bos != 0;
    info->n_tokens = h->n_tokens;
    info->tokens_hash = h->tokens_hash;
    info->model_hash = h->model_hash;
    info->model_bytes = h->model_bytes;
    info->n_params = h->n_params;
    memcpy(info->model_name, h->model_name, sizeof info->model_name - 1); // the last byte stays 0, as in the two below
    memcpy(info->model_type, h->model_type, sizeof info->model_type - 1);
    memcpy(info->version, h->version_text, sizeof info->version - 1);
}

static int read_header(tn_cli_baseline_reader *reader)
{
    unsigned char bytes[HEADER_BYTES];
    file_header h;
    uint64_t hash;
    const size_t n = fread(bytes, 1, sizeof bytes, reader->file);
    if (n < 8 || memcmp(bytes, MAGIC, 8) != 0) { // somebody's: the next step must not write over it
        const bool is_llama = n >= 8 && memcmp(bytes, "_logits_", 8) == 0;
        return tn_cli_fail("ternion eval -m BASE.gguf -f TEXT --save-baseline NEW_FILE", "--baseline %s %s; save one to another file",
                           reader->path,
                           is_llama ? "is a file of llama-perplexity, whose logits are rounded to 16 bits and which cannot be read here"
                                    : "is not a baseline of ternion");
    }
    if (n < sizeof bytes) return damaged(reader, "is cut off: its header has %zu of %d bytes", n, HEADER_BYTES);
    unpack_header(bytes, &h, &reader->info);
    if (h.version != VERSION) return damaged(reader, "has version %u of the format, but this program reads %d", h.version, VERSION);
    memcpy(&hash, bytes + HEADER_BYTES - HASH_BYTES, sizeof hash);
    if (hash != tn_cli_hash(bytes, HEADER_BYTES - HASH_BYTES, 0)) return damaged(reader, "is damaged: its header does not fit its hash");
    const bool can_be = h.header_bytes == HEADER_BYTES && h.n_vocab > 0 && h.n_vocab <= INT32_MAX && h.context >= 4 &&
                        h.context <= 1 << 30 && h.stride <= h.context && h.n_windows > 0 && h.n_rows > 0;
    if (!can_be) return damaged(reader, "is damaged: its header has sizes that nothing has");
    return 0;
}

// A file that can be measured is measured before anything is computed.
static int check_length(const tn_cli_baseline_reader *reader)
{
    struct stat status;
    uint64_t bytes;
    if (!size_of(reader->info.n_vocab, reader->info.n_windows, reader->info.n_rows, &bytes))
        return damaged(reader, "is damaged: its header has sizes that nothing has");
    if (fstat(fileno(reader->file), &status) != 0 || !S_ISREG(status.st_mode) || (uint64_t)status.st_size == bytes) return 0;
    return damaged(reader, "is %s: it has %" PRIu64 " bytes and should have %" PRIu64,
                   (uint64_t)status.st_size < bytes ? "cut off" : "too long", (uint64_t)status.st_size, bytes);
}

int tn_cli_baseline_open(tn_cli_baseline_reader *reader, const char *path)
{
    char command[600], word[500];
    reader->path = path;
    reader->file = fopen(path, "rb");
    if (!reader->file) {
        const int number = errno;
        snprintf(command, sizeof command, "ternion eval -m BASE.gguf -f TEXT --save-baseline %s",
                 tn_cli_shell_word(path, word, sizeof word));
        return tn_cli_fail(command, "--baseline %s: %s; a baseline is saved by the model that others are compared with", path,
                           strerror(number));
    }
    struct stat status;
    if (fstat(fileno(reader->file), &status) == 0 && S_ISDIR(status.st_mode))
        return tn_cli_fail("ternion eval -m BASE.gguf -f TEXT --save-baseline NEW_FILE", "--baseline %s is a directory; name a file", path);
    int rc = read_header(reader);
    if (rc == 0) rc = check_length(reader);
    if (rc) return rc;
    reader->row = malloc((size_t)reader->info.n_vocab * sizeof *reader->row + HASH_BYTES);
    return reader->row ? 0 : tn_cli_out_of_memory();
}

int tn_cli_baseline_match(const tn_cli_baseline_reader *reader, const tn_cli_baseline_info *wanted)
{
    const tn_cli_baseline_info *has = &reader->info;
    const char *path = reader->path;
    if (has->n_vocab != wanted->n_vocab)
        return tn_cli_fail(NULL,
                           "--baseline %s is of a vocabulary of %u tokens, but the model has %u: only models of one tokenizer are compared",
                           path, has->n_vocab, wanted->n_vocab);
    if (has->context != wanted->context || has->stride != wanted->stride)
        return tn_cli_fail(NULL, "--baseline %s was made with -c %u --stride %u, not with -c %u --stride %u: leave -c and --stride out",
                           path, has->context, has->stride, wanted->context, wanted->stride);
    if (has->tokens_hash != wanted->tokens_hash || has->n_tokens != wanted->n_tokens)
        return tn_cli_fail(NULL,
                           "--baseline %s is of another text or tokenizer: its text has %" PRIu64 " tokens with hash %016" PRIx64
                           ", this one %" PRIu64 " with %016" PRIx64,
                           path, has->n_tokens, has->tokens_hash, wanted->n_tokens, wanted->tokens_hash);
    if (has->n_rows != wanted->n_rows)
        return damaged(reader, "is damaged: its header has windows of %u rows, but with -c %u --stride %u they have %u", has->n_rows,
                       has->context, has->stride, wanted->n_rows);
    if (has->puts_bos != wanted->puts_bos)
        return tn_cli_fail(NULL,
                           "--baseline %s was made by a model whose windows begin with%s BOS, unlike those of this one: only models of one "
                           "tokenizer are compared",
                           path, has->puts_bos ? "" : "out");
    if (has->n_windows < wanted->n_windows)
        return tn_cli_fail(NULL, "--baseline %s has %u windows, but %u are asked for: lower --chunks", path, has->n_windows,
                           wanted->n_windows);
    return 0;
}

int tn_cli_baseline_next(tn_cli_baseline_reader *reader, const float **out_row)
{
    const size_t bytes = (size_t)reader->info.n_vocab * sizeof *reader->row;
    uint64_t hash;
    errno = 0;
    if (fread(reader->row, 1, bytes + HASH_BYTES, reader->file) != bytes + HASH_BYTES) {
        if (errno) return damaged(reader, "cannot be read: %s", strerror(errno));
        return damaged(reader, "is cut off in row %" PRIu64, reader->n_read);
    }
    memcpy(&hash, (const char *)reader->row + bytes, sizeof hash);
    if (hash != tn_cli_hash(reader->row, bytes, reader->n_read))
        return damaged(reader, "is damaged: row %" PRIu64 " does not fit its hash", reader->n_read);
    for (uint32_t i = 0; i < reader->info.n_vocab; i++) {
        if (!isfinite(reader->row[i]))
            return damaged(reader, "row %" PRIu64 " has a logit that is no finite number, of token %u", reader->n_read, i);
    }
    reader->n_read++;
    *out_row = reader->row;
    return 0;
}

void tn_cli_baseline_close(tn_cli_baseline_reader *reader)
{
    if (reader->file) fclose(reader->file);
    free(reader->row);
    memset(reader, 0, sizeof *reader);
}
