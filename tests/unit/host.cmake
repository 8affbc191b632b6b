# SPDX-License-Identifier: Apache-2.0
foreach(part log metrics query router chunks head frames address peer)
  mora_unit_test(${part} host)
endforeach()
