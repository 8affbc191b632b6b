# SPDX-License-Identifier: Apache-2.0
foreach(part buffer table scan value channel wheel)
  mora_unit_test(${part} bayeux)
endforeach()

# The server, driven through support/world.h.
add_library(world STATIC support/world.c)
target_link_libraries(world PUBLIC bayeux PkgConfig::CMOCKA)
foreach(part reading)
  mora_unit_test(${part} world)
endforeach()
