# SPDX-License-Identifier: Apache-2.0
foreach(part buffer table scan value channel wheel)
  mora_unit_test(${part} bayeux)
endforeach()
