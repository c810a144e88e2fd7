// A driver from before cuGetProcAddress_v2, as far as ternion looks at one.
__attribute__((visibility("default"))) int cuDriverGetVersion(int *version);
int cuDriverGetVersion(int *version)
{
    *version = 11040;
    return 0;
}
