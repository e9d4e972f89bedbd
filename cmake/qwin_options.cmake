# Compiler and linker settings every target shares.
add_library(qwin_options INTERFACE)
target_include_directories(qwin_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
# Contraction would let the compiler fuse a multiply and an add in one file and not in another: results must not depend on it.
# -Wno-restrict: GCC 12 warns inside its own std::string (its bug 105651).
target_compile_options(qwin_options INTERFACE -Wall -Wextra -Wno-psabi -Wno-restrict -ffp-contract=off -fstack-protector-strong)
# The same bytes from every checkout: no build path in the binary, and ccache hits in a fresh clone.
target_compile_options(qwin_options INTERFACE -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
target_link_options(qwin_options INTERFACE -Wl,-z,relro,-z,now)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(QWIN_X86 ON)
  target_compile_options(qwin_options INTERFACE -march=x86-64-v2 -fcf-protection)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT QWIN_SANITIZE)
  target_compile_definitions(qwin_options INTERFACE _FORTIFY_SOURCE=3)
endif()
if(QWIN_SANITIZE)
  target_compile_options(qwin_options INTERFACE -fsanitize=${QWIN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(qwin_options INTERFACE -fsanitize=${QWIN_SANITIZE})
endif()
if(QWIN_FUZZ)  # the rooms tell the fuzzer which branches an input took
  target_compile_options(qwin_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_program(MOLD mold)
if(MOLD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  target_link_options(qwin_options INTERFACE -fuse-ld=mold)
endif()

# Paths are cached relative to the checkout, so that a fresh clone, a wheel's build too, finds what an older one compiled.
find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()
