# Runs the program to write its manual pages and completions into OUTPUT/man and OUTPUT/completions.
# cmake -DRUN=<program, and the emulator before it> -DVERBS=<list> -DOUTPUT=<folder> -P make_pages.cmake
function(write file)
  execute_process(COMMAND ${RUN} ${ARGN} OUTPUT_FILE ${OUTPUT}/${file} RESULT_VARIABLE failed)
  if(failed)
    file(REMOVE ${OUTPUT}/${file})
    list(JOIN ARGN " " arguments)
    message(FATAL_ERROR "ternion ${arguments} failed (${failed}), so ${file} cannot be made")
  endif()
endfunction()

file(MAKE_DIRECTORY ${OUTPUT}/man ${OUTPUT}/completions)
write(man/ternion.1 --man)
foreach(verb IN LISTS VERBS)
  write(man/ternion-${verb}.1 --man ${verb})
endforeach()
write(completions/ternion.bash --completion-bash)
write(completions/_ternion --completion-zsh)
write(completions/ternion.fish --completion-fish)
