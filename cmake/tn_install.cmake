# What "cmake --install" puts where: headers, both libraries, the CMake package, the .pc file, the program with its manual pages,
# completions and default model.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ternion)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ternion DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# Two export sets: users of the shared library need none of the packages that the static one links.
set_target_properties(ternion_static PROPERTIES EXPORT_NAME static)
install(TARGETS ternion EXPORT ternion-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS ternion_static EXPORT ternion-static-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT ternion-targets NAMESPACE ternion:: DESTINATION ${package_dir})
install(EXPORT ternion-static-targets NAMESPACE ternion:: DESTINATION ${package_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ternion-config.cmake.in ${PROJECT_BINARY_DIR}/ternion-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/ternion-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/ternion-config.cmake ${PROJECT_BINARY_DIR}/ternion-config-version.cmake DESTINATION ${package_dir})

# From the .pc file to the prefix, however deep the library folder is (Debian: lib/x86_64-linux-gnu).
file(RELATIVE_PATH TN_PC_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/ternion.pc.in ${PROJECT_BINARY_DIR}/ternion.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/ternion.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET ternion_tool)
  set_target_properties(ternion_tool PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
  install(TARGETS ternion_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/ternion/models
    FILES_MATCHING PATTERN "*.gguf" PATTERN "README.md")

  get_property(pages GLOBAL PROPERTY TN_PAGES)
  if(pages)
    get_property(completions GLOBAL PROPERTY TN_COMPLETIONS)
    list(GET completions 0 bash)
    list(GET completions 1 zsh)
    list(GET completions 2 fish)
    install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${bash} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME ternion)
    install(FILES ${zsh} DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${fish} DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
  endif()
endif()
