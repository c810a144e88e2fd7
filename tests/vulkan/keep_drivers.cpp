// For programs under AddressSanitizer: the Vulkan loader calls this dlclose, so that drivers stay loaded. What they keep in static memory
// until the process ends counts as leaked where they were unloaded before, and what leaks in them has no name then.
extern "C" __attribute__((visibility("default"))) int dlclose(void *);
int dlclose(void *) { return 0; }
