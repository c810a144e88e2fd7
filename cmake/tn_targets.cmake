# How every object, kernel, test and tool of ternion is compiled.

# Exact mode: no contraction anywhere, no fast-math, f32 in SSE registers (docs/design/0001-numerics.md).
add_library(tn_flags INTERFACE)
target_compile_options(tn_flags INTERFACE
  -ffp-contract=off -fno-fast-math -fno-strict-aliasing
  -Wall -Wextra -Wpedantic -Wshadow -Wvla -Wundef -Wpointer-arith -Wwrite-strings
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wsign-conversion>
  $<$<BOOL:${TN_WARNINGS_AS_ERRORS}>:-Werror>
  -fstack-protector-strong)
set(TN_SANITIZE "" CACHE STRING "Sanitizers: address,undefined or thread")
if(NOT TN_SANITIZE) # sanitizers bring checks of their own, which fortified calls would hide
  target_compile_options(tn_flags INTERFACE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
target_compile_definitions(tn_flags INTERFACE _GNU_SOURCE)
target_include_directories(tn_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_link_options(tn_flags INTERFACE -ffp-contract=off)
# After all other flags of a target: options that a target inherits follow its own.
if(TN_EXTRA_C_FLAGS)
  separate_arguments(TN_EXTRA_C_FLAGS_LIST UNIX_COMMAND "${TN_EXTRA_C_FLAGS}")
  target_compile_options(tn_flags INTERFACE "$<$<COMPILE_LANGUAGE:C>:${TN_EXTRA_C_FLAGS_LIST}>")
endif()

if(TN_SANITIZE)
  add_compile_options(-fsanitize=${TN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU") # kernels are so long with checks that a fifth of their time is the allocation of registers by loops
    add_compile_options($<$<COMPILE_LANGUAGE:C>:-fira-region=one>)
  endif()
  add_link_options(-fsanitize=${TN_SANITIZE})
  # C++ is tests and benches alone. There these checks, at every call of a member, take as long to compile as all else; what is not a test is C,
  # and has all of them. A null pointer ends a test without them, too.
  if(TN_SANITIZE MATCHES "undefined")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize=null,alignment,vptr>)
  endif()
  if(TN_SANITIZE MATCHES "address")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-address-use-after-scope>)
  endif()
endif()

# tn_add_objects(<folder> <sources>...): the private objects of one folder of src/, part of the library.
function(tn_add_objects folder)
  add_library(tn_${folder} OBJECT ${ARGN})
  target_link_libraries(tn_${folder} PRIVATE tn_flags)
  set_property(GLOBAL APPEND PROPERTY TN_OBJECT_FOLDERS tn_${folder})
endfunction()

# tn_add_kernels(<folder> <isa flags as one string> <sources>...): files of a folder that are compiled for an ISA.
function(tn_add_kernels folder flags)
  target_sources(tn_${folder} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS "${flags}")
endfunction()

# tn_hash_files(<out> <patterns>...): sets `out` to a hash of the files that the patterns name; CMake runs again when one changes.
function(tn_hash_files out)
  file(GLOB files CONFIGURE_DEPENDS ${ARGN})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
  set(hashes "")
  foreach(file ${files})
    file(SHA256 ${file} hash)
    string(APPEND hashes ${hash})
  endforeach()
  string(SHA256 hash "${hashes}")
  set(${out} ${hash} PARENT_SCOPE)
endfunction()

# tn_keep_drivers(<target>): a program that may load a Vulkan driver; under AddressSanitizer it never unloads it (keep_drivers.c says why).
function(tn_keep_drivers target)
  if(TN_ENABLE_VULKAN AND TN_SANITIZE MATCHES "address")
    if(NOT TARGET tn_kept_drivers)
      add_library(tn_kept_drivers OBJECT ${PROJECT_SOURCE_DIR}/tests/support/keep_drivers.c)
    endif()
    target_link_libraries(${target} PRIVATE tn_kept_drivers)
    target_link_options(${target} PRIVATE LINKER:--export-dynamic-symbol=dlclose)
  endif()
endfunction()

# What most tests include, compiled once for all of them: a third of the time that the tests take to compile. Not with clang, whose builds so show an
# include that is missing; not with ccache, which keeps objects itself and does without precompiled headers.
file(REAL_PATH "${CMAKE_CXX_COMPILER}" compiler)
set(precompile OFF)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT CMAKE_CROSSCOMPILING AND NOT "${compiler};${CMAKE_CXX_COMPILER_LAUNCHER}" MATCHES "ccache")
  set(precompile ON)
endif()
option(TN_TEST_PCH "Precompile the headers that most tests include" ${precompile})

# tn_use_test_headers(<target> <options>): a program of tests that begins with the headers as they are precompiled with its options.
function(tn_use_test_headers target options)
  string(MAKE_C_IDENTIFIER "tn_test_headers${options}" headers)
  if(NOT TARGET ${headers}) # a program, since programs and libraries differ in flags that the headers must have been compiled with
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/${headers}.cpp CONTENT "// The precompiled headers of tests are this program's.\n")
    add_executable(${headers} ${PROJECT_BINARY_DIR}/${headers}.cpp)
    target_link_libraries(${headers} PRIVATE tn_flags tn_gtest)
    target_compile_options(${headers} PRIVATE ${options})
    target_precompile_headers(${headers} PRIVATE <gtest/gtest.h> <algorithm> <cmath> <cstring> <filesystem> <fstream> <functional> <limits> <map>
      <memory> <random> <set> <sstream> <string> <thread> <vector>)
  endif()
  target_precompile_headers(${target} REUSE_FROM ${headers})
endfunction()

# Programs that have slow or long tests alone, for presets that run these.
add_custom_target(tn_slow_tests)

# tn_add_test_part(<name> <file>): a file that several programs of tests have, compiled once: $<TARGET_OBJECTS:name> among their sources.
function(tn_add_test_part name file)
  add_library(${name} OBJECT ${file})
  target_link_libraries(${name} PRIVATE tn_flags tn_gtest)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
endfunction()

# The label of whole tests that run under AddressSanitizer in `make check` only; parts of a program are named by LONG.
set(TN_LONG "")
if(TN_SANITIZE MATCHES "address")
  set(TN_LONG long)
endif()

# Whole programs that are: what they run of the C code, others run too (docs/TESTING.md).
set(TN_LONG_TESTS runtime_lanes_test runtime_batcher_stress_test runtime_calibrate_gpu_test
  cli_compare_test cli_compare_cuda_test cli_exact_test cli_exact_gpu_test cli_vulkan_test
  cuda_selftest_test cuda_fast_test cuda_bench_test cuda_command_test cuda_cli_loss_test cuda_session_loss_test cuda_exact_test
  vk_selftest_test vk_mirror_test vk_shape_test vk_weights_test vk_command_test vk_session_loss_test vk_session_fault_test vk_cli_loss_test)

# The longest, and what others wait for: without figures of an earlier run ctest begins with them, so that none is left to run alone at the end.
set(TN_LONGEST_TESTS conformance_test golden_vulkan_test vk_selftest_test vk_step_fault_test cli_test cli_bench_test cli_oom_test tokenizer_test
  runtime_oom_test runtime_batcher_test runtime_batcher_stress_test convert_test golden_exact_test golden_variants_test sampler_test)

# tn_add_test(<name> LABELS <labels> SOURCES <files> [COMPUTES] [LIBS <libs>] [TIMEOUT <s>] [ARGS <arguments>] [LONG <tests>] [SLOW <tests>]):
# a GoogleTest program over the library's insides.
# COMPUTES: its own C++ takes time to run, as oracles over many numbers do, and is optimised; the presets do not optimise other tests, which
# compile sooner so. LONG: patterns of tests that under AddressSanitizer are a ctest test of their own, <name>_long, with the label long:
# repetitions that run the code of the others once more, with other numbers of threads or in other pieces. SLOW: tests that are <name>_slow, with
# the label slow, in every build. <name> itself has all the rest. A program that is long or slow as a whole is not built by default.
function(tn_add_test name)
  cmake_parse_arguments(ARG "COMPUTES" "TIMEOUT" "LABELS;SOURCES;LIBS;DEFINITIONS;ARGS;LONG;SLOW" ${ARGN})
  if(name IN_LIST TN_LONG_TESTS)
    list(APPEND ARG_LABELS ${TN_LONG})
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ternion_static tn_flags tn_gtest ${ARG_LIBS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${name} PRIVATE TN_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TN_BINARY_DIR="${PROJECT_BINARY_DIR}" ${ARG_DEFINITIONS})
  set(options)
  if(ARG_COMPUTES)
    set(options -O1)
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)
  endif()
  if("${ARG_LABELS}" MATCHES "slow|long")
    set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    add_dependencies(tn_slow_tests ${name})
  endif()
  if(TN_TEST_PCH AND NOT "${ARG_SOURCES}" MATCHES "[.]c(;|$)") # CMake would have it precompiled for C too
    tn_use_test_headers(${name} "${options}")
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  if(TN_SANITIZE MATCHES "thread") # many times slower, above all with more threads than cores
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 6")
  endif()
  if(CMAKE_CROSSCOMPILING) # an emulator runs it
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 6")
  endif()
  tn_keep_drivers(${name}) # whatever lists devices may load one
  # Nothing that a test runs writes to the user's cache.
  set(modification "XDG_CACHE_HOME=set:${PROJECT_BINARY_DIR}/test-cache")
  foreach(kind slow long)
    string(TOUPPER ${kind} tests)
    list(JOIN ARG_${tests} ":" tests)
    if(NOT tests OR (kind STREQUAL "long" AND NOT TN_SANITIZE MATCHES "address"))
      continue()
    endif()
    add_test(NAME ${name}_${kind} COMMAND ${name} --gtest_filter=${tests})
    set_tests_properties(${name}_${kind} PROPERTIES LABELS "${ARG_LABELS};${kind}" TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT_MODIFICATION ${modification})
    if(ARG_ARGS MATCHES "--gtest_filter=.*-") # which ends in tests that are left out
      string(APPEND ARG_ARGS ":${tests}")
    elseif(ARG_ARGS MATCHES "--gtest_filter=")
      string(APPEND ARG_ARGS "-${tests}")
    else()
      list(APPEND ARG_ARGS "--gtest_filter=-${tests}")
    endif()
  endforeach()
  add_test(NAME ${name} COMMAND ${name} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} ENVIRONMENT_MODIFICATION ${modification})
  if(name IN_LIST TN_LONGEST_TESTS)
    set_tests_properties(${name} PROPERTIES COST 100)
  endif()
  if(CMAKE_CROSSCOMPILING) # death tests execute the program once more, and without its emulator
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "GTEST_FILTER=-*DeathTest.*")
  endif()
endfunction()

# tn_add_shaders(<folder> <list> <sources folder>): compiles the shaders of a list into one C file of the folder's objects. The modules
# themselves lie in build/spirv, for tests.
function(tn_add_shaders folder list sources)
  set(spirv ${PROJECT_BINARY_DIR}/spirv)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/vk_shaders.c)
  file(GLOB files CONFIGURE_DEPENDS ${sources}/*.comp ${sources}/*.glsl ${sources}/*.h)
  add_custom_command(OUTPUT ${out}
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/build_shaders.py --list ${list} --sources ${sources} --include ${PROJECT_SOURCE_DIR}/src
            --glslang ${TN_GLSLANG} --spirv ${spirv} --out ${out}
    DEPENDS ${PROJECT_SOURCE_DIR}/scripts/build_shaders.py ${list} ${files}
    COMMENT "Compiling shaders" VERBATIM)
  target_sources(tn_${folder} PRIVATE ${out})
endfunction()
