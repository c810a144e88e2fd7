// Runs a fuzz target over files and folders of files: the fuzzers' seeds as an ordinary test, with any compiler.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path, size_t *count);

// The input gets exactly its size from the heap, so that a sanitizer sees one byte too many.
static int replay_file(const char *path, size_t size, size_t *count)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size == 0 ? 1 : size);
    int failed = file == NULL || data == NULL || fread(data, 1, size, file) != size;
    if (failed) {
        fprintf(stderr, "cannot read %s\n", path);
    } else {
        LLVMFuzzerTestOneInput(data, size);
        ++*count;
    }
    if (file != NULL) fclose(file);
    free(data);
    return failed;
}

static int replay_folder(const char *path, size_t *count)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
        return 1;
    }
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL && !failed; entry = readdir(folder)) {
        char inner[4096];
        if (entry->d_name[0] == '.') continue;
        int n = snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        failed = n < 0 || (size_t)n >= sizeof inner || replay(inner, count);
    }
    closedir(folder);
    return failed;
}

static int replay(const char *path, size_t *count)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        fprintf(stderr, "cannot find %s\n", path);
        return 1;
    }
    return S_ISDIR(info.st_mode) ? replay_folder(path, count) : replay_file(path, (size_t)info.st_size, count);
}

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; ++i) {
        if (replay(argv[i], &count)) return 1;
    }
    printf("%zu inputs\n", count);
    return count == 0; // a test that ran nothing is no test
}
