// The folder of packed weights: names, who may write, and how much it holds.
#ifndef TN_RUNTIME_PACK_CACHE_FOLDER_H
#define TN_RUNTIME_PACK_CACHE_FOLDER_H

#include "base/status.h"

// "<folder>/<hash of place>.tnpack<suffix>". Returns owned.
tn_status tn_pack_folder_path(const char *folder, const char *place, size_t place_len, const char *suffix, char **out_path);
// OK where the file belongs to this user, or to root, and nobody else may write to it: what is mapped is computed with.
// Errors: NOT_FOUND, UNSUPPORTED.
tn_status tn_pack_folder_check_owner(const char *path);
// Makes or opens the file and locks it against other processes, until *out_fd is closed or the process ends, however that comes about.
// Errors: UNAVAILABLE (another process has it), IO.
tn_status tn_pack_folder_lock(const char *path, int *out_fd);
// Marks the file as used now.
void tn_pack_folder_touch(const char *path);
// Removes files left by writers that died, and the least recently used others while all are more than max_bytes (0: no limit). `keep`
// stays.
void tn_pack_folder_trim(const char *folder, const char *keep, uint64_t max_bytes);

#endif
