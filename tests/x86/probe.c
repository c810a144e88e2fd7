// Executes one instruction of the level that its argument names, so that a test can see whether the processor ends it.
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *level = argc == 2 ? argv[1] : "";
    if (strcmp(level, "sse41") == 0) {
        __asm__ volatile("pminuw %%xmm0, %%xmm0" : : : "xmm0");
    } else if (strcmp(level, "avx2") == 0) {
        __asm__ volatile("vpaddb %%ymm0, %%ymm0, %%ymm0" : : : "xmm0");
    } else if (strcmp(level, "avx512bw") == 0) {
        __asm__ volatile("vpaddb %%zmm0, %%zmm0, %%zmm0" : : : "xmm0");
    } else {
        fprintf(stderr, "usage: probe sse41|avx2|avx512bw\n");
        return 2;
    }
    return 0;
}
