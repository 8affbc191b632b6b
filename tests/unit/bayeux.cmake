# SPDX-License-Identifier: Apache-2.0
foreach(part buffer table scan value channel wheel message topics journal outbox)
  mora_unit_test(${part} bayeux)
endforeach()

# The server, driven through support/world.h.
add_library(world STATIC support/world.c)
target_link_libraries(world PUBLIC bayeux PkgConfig::CMOCKA)
foreach(part access_seam revocation presence delivery reading verbs limits order events evidence evidence_model ack connects)
  mora_unit_test(${part} world)
endforeach()

# What every engine has to do, as transcripts: support/engine_script.h.
add_library(engine_script STATIC support/engine_script.c)
target_link_libraries(engine_script PUBLIC bayeux PkgConfig::CMOCKA)
mora_unit_test(engine engine_script)

target_compile_definitions(test_verbs PRIVATE MORA_VECTORS="${CMAKE_SOURCE_DIR}/tests/conformance/faye-vectors.jsonl")
target_link_libraries(test_verbs PRIVATE PkgConfig::JANSSON)
