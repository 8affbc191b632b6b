# SPDX-License-Identifier: Apache-2.0
mora_unit_test(config config)
mora_unit_test(config_layers config)
mora_unit_test(config_print config)

# Needs the tables of all daemons, and the page that it keeps in step with them.
if(TARGET web_gateway AND TARGET broker AND EXISTS ${CMAKE_SOURCE_DIR}/docs/configuration.md)
  mora_unit_test(config_reference web_gateway broker)
  target_compile_definitions(test_config_reference PRIVATE MORA_SOURCE="${CMAKE_SOURCE_DIR}")
endif()
