# CUDA kernels: compiled where nvcc is found, embedded as fatbins, one for each .cu file. Nothing of CUDA is linked.
find_program(TN_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS /usr/local/cuda/bin)
set(TN_CUDA_ARCHS "75;80;86;89;90;100;120" CACHE STRING "Architectures that kernels are compiled for")
set(TN_CUDA_PTX "100" CACHE STRING "Architecture of the PTX that drivers compile for devices without code of their own; empty: none")
set(TN_CUDA_KERNELS OFF) # whether this build has them
find_package(Python3 QUIET COMPONENTS Interpreter)
option(TN_ENABLE_CUDA_KERNELS "Compile the CUDA kernels, where nvcc is found" ON)
if(TN_ENABLE_CUDA_KERNELS AND TN_NVCC AND NOT CMAKE_CROSSCOMPILING)
  unset(TN_NVCC_VERSION)
  execute_process(COMMAND ${TN_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
  if(text MATCHES "release ([0-9]+)\\.([0-9]+)")
    set(TN_NVCC_VERSION ${CMAKE_MATCH_1}.${CMAKE_MATCH_2})
    math(EXPR TN_CUDA_VERSION "${CMAKE_MATCH_1} * 1000 + ${CMAKE_MATCH_2} * 10") # as drivers count
  endif()
  if(NOT TN_NVCC_VERSION)
    message(WARNING "${TN_NVCC} --version does not say which release it is: ternion is built without CUDA kernels")
  elseif(TN_NVCC_VERSION VERSION_LESS 12.8) # which knows sm_120
    message(WARNING "nvcc ${TN_NVCC_VERSION} is too old for the CUDA kernels, which need 12.8: ternion is built without them")
  elseif(NOT Python3_EXECUTABLE)
    message(WARNING "python3 was not found, which builds the CUDA kernels: ternion is built without them")
  else()
    set(TN_CUDA_KERNELS ON)
  endif()
endif()

# tn_add_cuda_kernels(<folder> <sources folder>): adds the table of images to a folder's objects. The images themselves lie in build/cuda,
# for tests.
function(tn_add_cuda_kernels folder sources)
  if(NOT TN_CUDA_KERNELS)
    target_sources(tn_${folder} PRIVATE cuda_image_none.c)
    return()
  endif()
  file(GLOB kernels CONFIGURE_DEPENDS ${sources}/*.cu)
  file(GLOB headers CONFIGURE_DEPENDS ${sources}/*.cuh ${sources}/*.h)
  set(out ${PROJECT_BINARY_DIR}/cuda)
  file(MAKE_DIRECTORY ${out})
  list(JOIN TN_CUDA_ARCHS "," archs)
  set(ptx)
  set(ptx_number 0)
  if(TN_CUDA_PTX)
    set(ptx --ptx ${TN_CUDA_PTX})
    string(REGEX MATCH "^[0-9]+" ptx_number "${TN_CUDA_PTX}")
  endif()
  list(TRANSFORM TN_CUDA_ARCHS REPLACE "[a-z]$" "" OUTPUT_VARIABLE known) # 90a is for devices that are 90
  list(JOIN known ", " numbers)
  set(images)
  set(externs)
  set(entries)
  foreach(kernel ${kernels})
    cmake_path(GET kernel STEM name)
    set(archs_here ${archs})
    set(ptx_here ${ptx})
    set(only 0)
    if(name MATCHES "_wgmma$") # products of warpgroups, which sm_90a alone has
      if(NOT 90 IN_LIST known)
        continue()
      endif()
      set(archs_here 90a)
      set(ptx_here)
      set(only 90)
    endif()
    add_custom_command(OUTPUT ${out}/${name}.fatbin
      COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/build_cuda.py --nvcc ${TN_NVCC} --include ${PROJECT_SOURCE_DIR}/src --archs ${archs_here} ${ptx_here}
              --out ${out}/${name}.fatbin ${kernel}
      DEPENDS ${PROJECT_SOURCE_DIR}/scripts/build_cuda.py ${kernel} ${headers} ${PROJECT_SOURCE_DIR}/src/base/exact_math.h
      COMMENT "Compiling CUDA kernels: ${name}" VERBATIM)
    list(APPEND images ${out}/${name}.fatbin)
    string(APPEND externs "IMAGE(${name})\n")
    string(APPEND entries "    {\"${name}\", tn_cuda_image_${name}, tn_cuda_image_end_${name}, ${only}},\n")
  endforeach()
  set(table ${CMAKE_CURRENT_BINARY_DIR}/cuda_images.c)
  file(CONFIGURE OUTPUT ${table} @ONLY CONTENT [[
// Made by cmake/tn_cuda.cmake: the fatbins, taken in by the assembler.
#include "cuda/cuda_image.h"

#define IMAGE(name)                                                                                                    \
    __asm__(".pushsection .rodata\n.balign 64\n.global tn_cuda_image_" #name "\n.hidden tn_cuda_image_" #name "\n"     \
            "tn_cuda_image_" #name ":\n.incbin \"@out@/" #name ".fatbin\"\n.global tn_cuda_image_end_" #name "\n"      \
            ".hidden tn_cuda_image_end_" #name "\ntn_cuda_image_end_" #name ":\n.byte 0\n.popsection");                 \
    extern const unsigned char tn_cuda_image_##name[], tn_cuda_image_end_##name[];
@externs@
const tn_cuda_image tn_cuda_images[] = {
@entries@};
const uint32_t tn_cuda_n_images = sizeof tn_cuda_images / sizeof *tn_cuda_images;
static const uint32_t archs[] = {@numbers@, 0};
const tn_cuda_built tn_cuda_images_built = {archs, @ptx_number@, @TN_CUDA_VERSION@};
]])
  set_source_files_properties(${table} PROPERTIES OBJECT_DEPENDS "${images}")
  target_sources(tn_${folder} PRIVATE ${table})
endfunction()
