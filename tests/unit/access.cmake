# SPDX-License-Identifier: Apache-2.0
mora_unit_test(quota access)
