// A file mapped for reading, safe against the file being cut short under it.
#ifndef TN_BASE_FILE_MAP_H
#define TN_BASE_FILE_MAP_H

#include "base/status.h"

// What tells a file's content from another's without reading it: whoever writes to a file changes ctime, which nobody can set back.
typedef struct tn_file_stamp {
    uint64_t device, inode, size_bytes;
    int64_t mtime_ns, ctime_ns; // since 1970
} tn_file_stamp;

// One thread opens and closes; any thread reads.
typedef struct tn_file_map {
    const uint8_t *data; // NULL for an empty file
    size_t size_bytes;
    tn_file_stamp stamp; // when it was mapped
    int64_t opened_ns;   // the same clock: a file changed just before may change again within one tick, which its stamp does not show
    int slot;            // private: place in the table that the signal handler reads
} tn_file_map;

// Maps the whole regular file read-only.  Errors: NOT_FOUND, IO (with errno and its text), OUT_OF_MEMORY.
// Pages that vanish later because somebody shortens the file read as zeros, and tn_file_map_check says so.
tn_status tn_file_map_open(const char *path, tn_file_map *out_map);
void tn_file_map_close(tn_file_map *map); // an all-zero map is fine
// Bytes [offset, offset + n) are not needed for now: their pages leave this process's memory, and are found again, usually in the page
// cache, when they are read. What lies outside of the map is left alone.   Threads: any, also while others read the same bytes.
void tn_file_map_release(const tn_file_map *map, size_t offset, size_t n);
// The map is read for long: huge pages are asked for, which the kernel gives where the file's pages lie in memory in such pieces.
void tn_file_map_want_huge(const tn_file_map *map);
// IO where a page of the file was missing when it was read, else TN_OK. `path` is for the message. Cheap: call it after each use.
tn_status tn_file_map_check(const tn_file_map *map, const char *path);

#endif
