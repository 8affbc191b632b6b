// SPDX-License-Identifier: Apache-2.0
// Names become addresses in libuv's pool. A request cannot be stopped once it runs, and a resolver may
// take half a minute: so a link has one request at most, and an attempt that finds one under way waits
// for that.
#include <netdb.h>
#include <stdio.h>

#include "engine-redis/link/internal.h"

struct er_resolve {
  uv_getaddrinfo_t request;
  struct er_link *link;   // NULL: destroyed
  bool wanted;
};

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
  struct er_resolve *r = bx_container_of(request, struct er_resolve, request);
  struct er_link *link = r->link;
  bool wanted = link && r->wanted;
  bx_free(r);
  if (link) link->resolve = NULL;
  if (!wanted) {
    uv_freeaddrinfo(found);
    return;
  }
  er_link_enter(link);
  if (status == 0) {
    link->addresses = link->next_address = found;
    er_steps_answer(link, NULL);
  } else {
    uv_freeaddrinfo(found);
    er_link_fault(link, "resolve: %s: %s", link->place->host, uv_strerror(status));
  }
  er_link_leave(link);
}

void er_resolve_start(struct er_link *link) {
  if (link->resolve) {
    link->resolve->wanted = true;
    return;
  }
  struct er_resolve *r = bx_alloc(sizeof *r);
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  char port[8];
  snprintf(port, sizeof port, "%u", link->place->port);
  r->link = link;
  r->wanted = true;
  int error = uv_getaddrinfo(link->loop, &r->request, on_resolved, link->place->host, port, &hints);
  if (error) {
    bx_free(r);
    er_link_fault(link, "resolve: %s: %s", link->place->host, uv_strerror(error));
    return;
  }
  link->resolve = r;
}

void er_resolve_abandon(struct er_link *link) {
  if (link->resolve) link->resolve->wanted = false;
}

void er_resolve_detach(struct er_link *link) {
  if (!link->resolve) return;
  link->resolve->link = NULL;
  uv_cancel((uv_req_t *)&link->resolve->request);
  link->resolve = NULL;
}

void er_resolve_forget(struct er_link *link) {
  uv_freeaddrinfo(link->addresses);
  link->addresses = link->next_address = NULL;
}
