# SPDX-License-Identifier: Apache-2.0
mora_unit_test(redis_model redis_model)
mora_unit_test(engine_redis engine_script redis_model engine_redis_core)
