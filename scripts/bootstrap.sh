#!/usr/bin/env bash
# Installs what ternion needs and this machine lacks (Debian, Ubuntu); silent and quick where nothing is missing.
# usage: scripts/bootstrap.sh [build] [test] [bench] [lint] [check] [arm] [pages]     no set: build and test
set -euo pipefail

# What is asked for -> the package that has it.  cmd: a program; pc: a pkg-config module; rt: clang's sanitizer and fuzzer runtimes; dir: a
# folder; inc: a header; lib: a shared library; icd: a Vulkan driver; layer: a Vulkan layer.
build="cmd:gcc=gcc cmd:g++=g++ cmd:cmake=cmake cmd:make=make cmd:ninja=ninja-build cmd:pkg-config=pkg-config
       pc:hwloc=libhwloc-dev pc:jansson=libjansson-dev pc:libxxhash=libxxhash-dev pc:libutf8proc=libutf8proc-dev pc:libedit=libedit-dev
       cmd:python3=python3 cmd:glslangValidator=glslang-tools inc:vulkan/vulkan_core.h=libvulkan-dev inc:volk.h=libvulkan-volk-dev"
test="$build cmd:python3=python3 cmd:nm=binutils cmd:xz=xz-utils cmd:tmux=tmux pc:gtest_main=libgtest-dev pc:libpcre2-8=libpcre2-dev
      cmd:spirv-val=spirv-tools lib:libvulkan.so.1=libvulkan1 icd:lvp=mesa-vulkan-drivers layer:khronos_validation=vulkan-validationlayers"
bench="pc:benchmark=libbenchmark-dev"
lint="cmd:clang-format=clang-format cmd:python3=python3"
arm="$test cmd:aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu cmd:aarch64-linux-gnu-g++=g++-aarch64-linux-gnu cmd:qemu-aarch64=qemu-user
     dir:/usr/src/googletest=googletest"
pages="cmd:groff=groff cmd:mandoc=mandoc cmd:zsh=zsh cmd:fish=fish"
check="$pages cmd:clang=clang cmd:clang-tidy=clang-tidy cmd:qemu-x86_64=qemu-user rt:asan=libclang-rt-14-dev"

needs=""
for set in "${@:-test}"; do
    case "$set" in
    build) needs="$needs $build" ;;
    test) needs="$needs $test" ;;
    bench) needs="$needs $bench" ;;
    lint) needs="$needs $lint" ;;
    check) needs="$needs $check" ;;
    arm) needs="$needs $arm" ;;
    pages) needs="$needs $pages" ;;
    *)
        echo "bootstrap: unknown set '$set'; known are: build test bench lint check arm pages" >&2
        exit 2
        ;;
    esac
done

has() {
    local name=${1#*:}
    case "$1" in
    cmd:*) command -v "$name" >/dev/null ;;
    pc:*) pkg-config --exists "$name" 2>/dev/null ;;
    dir:*) [ -d "$name" ] ;;
    inc:*) [ -e "/usr/include/$name" ] || [ -e "/usr/local/include/$name" ] ;;
    lib:*) ldconfig -p 2>/dev/null | grep -q "$name" || PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -q "$name" ;;
    icd:*) compgen -G "/usr/share/vulkan/icd.d/${name}_icd*.json" >/dev/null ;;
    layer:*) compgen -G "/usr/share/vulkan/explicit_layer.d/*${name}*.json" >/dev/null ;;
    rt:*) command -v clang >/dev/null && [ -e "$(clang -print-file-name="libclang_rt.$name-$(uname -m).a")" ] ;;
    esac
}

missing=""
for need in $needs; do
    package=${need#*=}
    case " $missing " in *" $package "*) continue ;; esac
    has "${need%%=*}" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "bootstrap: missing:$missing (names of Debian packages). This system has no apt-get: install them with its own package manager, then run this again." >&2
    exit 1
fi
as_root=""
if [ "${EUID}" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "bootstrap: missing:$missing. Install them as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
echo "bootstrap: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # $missing is a list of words
if ! { $as_root apt-get update -q && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "bootstrap: apt-get failed (its last lines are above). Install by hand: apt-get install$missing" >&2
    exit 1
fi
for need in $needs; do
    has "${need%%=*}" || { echo "bootstrap: ${need#*=} is installed, but ${need%%=*} is still not found: see PATH and PKG_CONFIG_PATH" >&2; exit 1; }
done
echo "bootstrap: done"
