#!/usr/bin/env bash
# Runs a program under Vulkan's validation layer, synchronisation validation included; any message of the layer is a failure.
# usage: validation.sh PROGRAM [ARGUMENT]...
set -euo pipefail
: "${1:?usage: validation.sh PROGRAM [ARGUMENT]...}"
if ! compgen -G '/usr/share/vulkan/explicit_layer.d/*khronos_validation*.json' >/dev/null; then
    [ -z "${CI:-}" ] || { echo "the validation layer is not installed, and has to be here: scripts/bootstrap.sh test"; exit 1; }
    echo "[  SKIPPED ] the validation layer is not installed: scripts/bootstrap.sh test (0 ms)"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/vk_layer_settings.txt" <<SETTINGS
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn,perf
khronos_validation.log_filename = stdout
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
SETTINGS
export VK_LAYER_SETTINGS_PATH="$folder" VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
status=0
"$@" >"$folder/out" || status=$?
cat "$folder/out"
if grep -q 'msgNum: ' "$folder/out"; then # in each message of the layer, in nothing else
    echo "validation: the layer has something to say of $1"
    exit 1
fi
exit "$status"
