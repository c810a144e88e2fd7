// For programs under AddressSanitizer: the Vulkan loader calls this dlclose, so that drivers stay loaded. What they keep in static memory
// until the process ends counts as leaked where they were unloaded before, and what leaks in them has no name then.
__attribute__((visibility("default"))) int dlclose(void *library);
int dlclose(void *library)
{
    (void)library;
    return 0;
}
