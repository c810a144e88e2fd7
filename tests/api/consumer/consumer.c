// Prints the version of the library that it is linked with.
#include <stdio.h>
#include <ternion/ternion.h>

int main(void)
{
    printf("%s\n", tn_version());
    return 0;
}
