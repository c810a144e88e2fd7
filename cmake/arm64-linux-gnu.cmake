# Cross-compiles for Linux on AArch64 with Debian's gcc; programs run under qemu-user. The libraries come from the folder that
# scripts/arm64_sysroot.sh fills (build/arm64-sysroot, or TN_ARM64_SYSROOT in the environment).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

if(DEFINED ENV{TN_ARM64_SYSROOT})
  set(TN_ARM64_SYSROOT $ENV{TN_ARM64_SYSROOT})
else()
  get_filename_component(TN_ARM64_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/arm64-sysroot ABSOLUTE)
endif()
set(ENV{PKG_CONFIG_LIBDIR} ${TN_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${TN_ARM64_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${TN_ARM64_SYSROOT})
# Before the compiler's own folders: the last of those is this system's /usr/include, whose headers are another processor's.
set(headers ${TN_ARM64_SYSROOT}/usr/include ${TN_ARM64_SYSROOT}/usr/include/aarch64-linux-gnu)
set(CMAKE_C_STANDARD_INCLUDE_DIRECTORIES ${headers})
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES ${headers})
# Libraries that those libraries need.
add_link_options(LINKER:-rpath-link,${TN_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu)

set(CMAKE_FIND_ROOT_PATH ${TN_ARM64_SYSROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY BOTH) # pkg-config hands out paths that have the root already
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE BOTH)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=${TN_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu -cpu max)
