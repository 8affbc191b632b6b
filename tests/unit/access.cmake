# SPDX-License-Identifier: Apache-2.0
mora_unit_test(quota access)
mora_unit_test(rules permission)
mora_unit_test(tokens permission)
target_link_libraries(test_tokens PRIVATE PkgConfig::OPENSSL)
mora_unit_test(authority access)
