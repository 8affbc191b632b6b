# SPDX-License-Identifier: Apache-2.0
# What every target is compiled with. An include names its layer: the only include root is the
# repository's.
add_library(mora_flags INTERFACE)
target_include_directories(mora_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(mora_flags INTERFACE _GNU_SOURCE MORA_VERSION="${PROJECT_VERSION}")
target_compile_options(mora_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith
  -Wwrite-strings -Wundef -Wimplicit-fallthrough -fno-strict-aliasing -fno-common)

if(MORA_WERROR)
  target_compile_options(mora_flags INTERFACE -Werror)
endif()
if(MORA_SANITIZE)
  target_compile_options(mora_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(mora_flags INTERFACE -fsanitize=address,undefined)
endif()
if(MORA_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "The fuzz targets need clang: cmake --preset fuzz.")
  endif()
  if(NOT MORA_COVERAGE)   # there they only read their corpora again
    target_compile_options(mora_flags INTERFACE -fsanitize=fuzzer-no-link)
  endif()
endif()
if(MORA_COVERAGE)
  target_compile_options(mora_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(mora_flags INTERFACE -fprofile-instr-generate)
endif()
if(MORA_HARDEN)
  target_compile_options(mora_flags INTERFACE -fstack-protector-strong -fstack-clash-protection -fPIE -D_FORTIFY_SOURCE=2)
  target_link_options(mora_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
