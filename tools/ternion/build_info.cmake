# Writes build_info.h: the commit, and its date, that the program was made from. Run at every build; touches the file only where it changes.
set(commit unknown)
set(number 0)
set(date "")
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE_DIR}/.git)
  execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} rev-parse --short=9 HEAD OUTPUT_VARIABLE out RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(commit ${out})
  endif()
  execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} rev-list --count HEAD OUTPUT_VARIABLE out RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(number ${out})
  endif()
  execute_process(COMMAND ${GIT} -C ${SOURCE_DIR} log -1 --format=%cs OUTPUT_VARIABLE out RESULT_VARIABLE failed
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT failed)
    set(date ${out})
  endif()
endif()
set(text "// The commit that the program was made from; written by build_info.cmake.
#ifndef TERNION_TOOL_BUILD_INFO_H
#define TERNION_TOOL_BUILD_INFO_H

#define TN_BUILD_COMMIT \"${commit}\"
#define TN_BUILD_NUMBER ${number}
#define TN_BUILD_DATE   \"${date}\" // empty where unknown
#define TN_BUILD_TYPE   \"${BUILD_TYPE}\"

#endif
")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
