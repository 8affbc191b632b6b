// SPDX-License-Identifier: Apache-2.0
#include "broker/admin/local_publisher.h"

#include "broker/publish/direct.h"

static const char *submit(void *server, struct bx_outside_publish *p, struct bx_slice channel, struct bx_slice data,
                          struct bx_slice once) {
  return bx_server_publish(server, p, channel, data, once);
}

struct bk_publisher *bk_local_publisher_create(struct bk_loop *loop, struct bx_server *server) {
  return bk_direct_create(loop, server->engine, submit, server);
}
