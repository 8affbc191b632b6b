# SPDX-License-Identifier: Apache-2.0
foreach(part log metrics query router response chunks head frames address peer deflate gathered lag)
  mora_unit_test(${part} host)
endforeach()
target_link_libraries(test_deflate PRIVATE PkgConfig::ZLIB)
