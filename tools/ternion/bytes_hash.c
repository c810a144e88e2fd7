// XXH64 of the xxHash library.
#include "bytes_hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

uint64_t tn_cli_hash(const void *bytes, size_t n, uint64_t seed) { return XXH64(bytes, n, seed); }

static bool hash_stream(FILE *file, char *piece, size_t capacity, XXH64_state_t *state)
{
    size_t n;
    XXH64_reset(state, 0);
    while ((n = fread(piece, 1, capacity, file)) > 0) XXH64_update(state, piece, n);
    return !ferror(file);
}

bool tn_cli_hash_file(const char *path, uint64_t *out_hash)
{
    enum { PIECE = 1 << 20 };
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    char *piece = malloc(PIECE);
    XXH64_state_t *state = XXH64_createState();
    const bool good = piece && state && hash_stream(file, piece, PIECE, state);
    const int number = piece && state ? errno : ENOMEM;
    if (good) *out_hash = XXH64_digest(state);
    XXH64_freeState(state);
    free(piece);
    fclose(file);
    errno = number;
    return good;
}

tn_cli_hasher *tn_cli_hasher_create(void)
{
    XXH64_state_t *state = XXH64_createState();
    if (state) XXH64_reset(state, 0);
    return (tn_cli_hasher *)state;
}

void tn_cli_hasher_destroy(tn_cli_hasher *hasher) { XXH64_freeState((XXH64_state_t *)hasher); }

void tn_cli_hasher_add(tn_cli_hasher *hasher, const void *bytes, size_t n) { XXH64_update((XXH64_state_t *)hasher, bytes, n); }

uint64_t tn_cli_hasher_value(const tn_cli_hasher *hasher) { return XXH64_digest((const XXH64_state_t *)hasher); }
