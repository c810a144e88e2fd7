#!/usr/bin/env bash
# Installs the build into a folder, then builds and runs a consumer by find_package (shared and static) and by pkg-config.
# usage: install_test.sh BUILD_DIR WORK_DIR CONSUMER_DIR CC CXX
set -euo pipefail
build=$1 work=$2 consumer=$3 cc=$4 cxx=$5

rm -rf "$work"
cmake --install "$build" --prefix "$work/prefix" >/dev/null
mv "$work/prefix" "$work/moved" # an installed tree may be moved

cmake -S "$consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/moved" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" >/dev/null
cmake --build "$work/consumer" >/dev/null
want=$("$work/consumer/consumer_shared")
[ "$("$work/consumer/consumer_static")" = "$want" ] || { echo "install_test: static and shared differ" >&2; exit 1; }

pc=$(find "$work/moved" -name ternion.pc)
[ "$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --modversion ternion)" = "$want" ] || { echo "install_test: ternion.pc has another version than $want" >&2; exit 1; }
# shellcheck disable=SC2046  # flags are words
"$cc" "$consumer/consumer.c" -o "$work/by_pc" $(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --cflags --libs ternion)
libdir=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --variable=libdir ternion)
[ "$(LD_LIBRARY_PATH=$libdir "$work/by_pc")" = "$want" ] || { echo "install_test: the program made by pkg-config fails" >&2; exit 1; }

if [ -x "$work/moved/bin/ternion" ]; then
    "$work/moved/bin/ternion" --version >/dev/null || { echo "install_test: the installed program does not start" >&2; exit 1; }
fi
echo "install_test: ternion $want installs, moves, and serves find_package and pkg-config"
