# Names every missing library at once, in Debian's words, before find_package() stops at the first one.
find_program(DPKG_QUERY dpkg-query)
if(DPKG_QUERY)
  set(groups libraries)
  if(QWIN_TESTS)
    list(APPEND groups test)
  endif()
  execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/tools/install_dependencies.sh --check ${groups}
    RESULT_VARIABLE failed ERROR_VARIABLE report)
  if(failed)
    message(WARNING "${report}")
  endif()
endif()
