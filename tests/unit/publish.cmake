# SPDX-License-Identifier: Apache-2.0
mora_unit_test(publish_request publish)
mora_unit_test(publish_auth publish)
mora_unit_test(publish_chat api_bridge)
mora_unit_test(publish_page web_gateway)
