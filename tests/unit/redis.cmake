# SPDX-License-Identifier: Apache-2.0
if(TARGET engine_redis_url)
  mora_unit_test(redis_url engine_redis_url)
endif()
if(TARGET engine_redis_core)
  mora_unit_test(relay engine_redis_core)
endif()
