#!/usr/bin/env bash
# Installs the build into a folder, then uses it as others do: a consumer in a folder of its own by find_package and by pkg-config, shared
# and static, in C and C++; DESTDIR; a moved tree; the program with its default model, manual pages and completions.
# usage: install_test.sh BUILD_DIR WORK_DIR CONSUMER_DIR CC CXX
set -euo pipefail
build=$1 work=$2 consumer=$3 cc=$4 cxx=$5

fail() {
    echo "install_test: $*" >&2
    exit 1
}
same() { [ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"; }
file_in() { # FOLDER PATTERN: the one file below it, or a failure
    local found
    found=$(find "$1" -path "$2" -type f)
    [ "$(printf '%s\n' "$found" | grep -c .)" -eq 1 ] || fail "$1 has not one file $2 but '$found'"
    printf '%s\n' "$found"
}

rm -rf "$work"
mkdir -p "$work/src"
cp -r "$consumer" "$work/src/consumer" # apart from the sources of ternion
consumer=$work/src/consumer

# DESTDIR: the same files below another root, and none of them knows of it.
cmake --install "$build" --prefix "$work/prefix" >/dev/null
DESTDIR=$work/stage cmake --install "$build" --prefix /opt/ternion >/dev/null
same "files below DESTDIR" "$(cd "$work/stage/opt/ternion" && find . -type f | sort)" "$(cd "$work/prefix" && find . -type f | sort)"
if grep -rlF -e "$work" -e "$build" "$work/stage/opt/ternion" --include='*.cmake' --include='*.pc' --include='*.h' --include='*.1'; then
    fail "the installed files above hold paths of the build"
fi

mv "$work/prefix" "$work/moved" # an installed tree may be moved
prefix=$work/moved

# find_package
configure() { # BUILD_FOLDER PREFIX [more]
    cmake -S "$consumer" -B "$1" -DCMAKE_PREFIX_PATH="$2" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" "${@:3}"
}
for tree in "$prefix" "$work/stage/opt/ternion"; do
    rm -rf "$work/consumer"
    configure "$work/consumer" "$tree" >/dev/null
    cmake --build "$work/consumer" >/dev/null
    want=$("$work/consumer/consumer_shared")
    for program in consumer_static consumer_cxx; do same "$program" "$("$work/consumer/$program")" "$want"; done
done
if configure "$work/other_version" "$prefix" -DWANTED_VERSION=99.0 >/dev/null 2>&1; then fail "version 99.0 is found"; fi
case $(readelf -d "$work/consumer/consumer_static") in *libternion*) fail "the static consumer needs the shared library" ;; esac

# pkg-config
PKG_CONFIG_PATH=$(dirname "$(file_in "$prefix" '*/pkgconfig/ternion.pc')")
export PKG_CONFIG_PATH
same "version of ternion.pc" "$(pkg-config --modversion ternion)" "$want"
libdir=$(pkg-config --variable=libdir ternion)
# shellcheck disable=SC2046  # flags are words
{
    "$cc" "$consumer/consumer.c" -o "$work/by_pc" $(pkg-config --cflags --libs ternion)
    # The static library, and the packages that it needs as they are: whether those have static forms is not ours to say.
    "$cc" "$consumer/consumer.c" -o "$work/by_pc_static" $(pkg-config --cflags ternion) "$libdir/libternion.a" \
        $(pkg-config --libs $(pkg-config --print-requires-private ternion)) -pthread
}
same "the program made by pkg-config" "$(LD_LIBRARY_PATH=$libdir "$work/by_pc")" "$want"
same "the static program made by pkg-config" "$("$work/by_pc_static")" "$want"

# the program
program=$prefix/bin/ternion
if [ -x "$program" ]; then
    cd / # the model is found by the program's own place
    case $("$program" --version) in "ternion $want "*) ;; *) fail "the installed program says another version" ;; esac
    case $(env -u TERNION_MODEL "$program" show --json) in
    *"\"path\": \"$prefix/share/ternion/models/"*) ;;
    *) fail "the installed program does not find its default model" ;;
    esac
    text=$(env -u TERNION_MODEL "$program" run -p "The king" -n 8 --temp 0 -q)
    [ -n "$text" ] || fail "the installed program writes nothing"
    for verb in $("$program" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
        "$program" --man "$verb" | cmp -s - "$(file_in "$prefix" "*/man1/ternion-$verb.1")" || fail "the manual page of $verb is not the program's"
    done
    if command -v man >/dev/null; then MANPATH=$prefix/share/man man -w ternion ternion-run >/dev/null || fail "man does not find the pages"; fi
    "$program" --completion-bash | cmp -s - "$(file_in "$prefix" '*/bash-completion/completions/ternion')" || fail "bash's completion is not the program's"
    "$program" --completion-zsh | cmp -s - "$(file_in "$prefix" '*/zsh/site-functions/_ternion')" || fail "zsh's completion is not the program's"
    "$program" --completion-fish | cmp -s - "$(file_in "$prefix" '*/vendor_completions.d/ternion.fish')" || fail "fish's completion is not the program's"
fi
echo "install_test: ternion $want installs, moves, and serves find_package and pkg-config"
