# SPDX-License-Identifier: Apache-2.0
mora_unit_test(config config)
mora_unit_test(config_layers config)
mora_unit_test(config_print config)
