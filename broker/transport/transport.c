// SPDX-License-Identifier: Apache-2.0
// The turn: server, then everything it woke, then when to come again.
#include "broker/transport/link.h"

const struct bk_metric bk_transport_metrics[] = {
#define X(field, kind, name, help) {name, help, kind, offsetof(struct bk_transport_counters, field), 0},
    BK_TRANSPORT_COUNTERS(X)
#undef X
        {0}};

// -- the turn --------------------------------------------------------------------------------------

// The loop wakes up for it; the turn that follows does the work.
static void deadline_came(struct bx_timer *timer) { (void)timer; }

static void set_deadline(struct bk_transport *t) {
  bx_millis at = bx_server_deadline(t->server);
  if (at == BX_NEVER)
    bx_wheel_cancel(bk_loop_wheel(t->loop), &t->deadline);
  else if (!t->deadline.armed || t->deadline.at != at)
    bx_wheel_set(bk_loop_wheel(t->loop), &t->deadline, at);
}

static struct bk_link *of(const struct bx_list *woken) { return bx_container_of(woken, struct bk_link, woken); }

// Before one is drained, which is a system call: what the next ones will need, each step from what the
// step before it fetched. The last ones do without.
static void fetch_ahead(const struct bx_list *todo) {
  const struct bx_list *first = todo->next, *second = first->next, *third = second->next;
  if (third == todo || second == todo || first == todo) return;
  bx_session_fetch_outbox(of(first)->connection.session);
  bx_session_fetch_ahead(of(second)->connection.session);
  bk_websocket_fetch_ahead(of(second)->websocket);
  bx_fetch_ahead((const char *)of(third) - BK_LINK_FRONT, BK_LINK_FRONT + offsetof(struct bk_link, connection.link));
}

static void drain_woken(struct bk_transport *t) {
  struct bx_list todo, *link;
  bx_list_init(&todo);
  bx_list_splice(&todo, &t->woken);
  while ((link = bx_list_take(&todo)) != NULL) {
    struct bk_link *each = of(link);
    fetch_ahead(&todo);
    each->drain(each);
  }
}

static void turn(struct bk_turn_hook *hook) {
  struct bk_transport *t = bx_container_of(hook, struct bk_transport, hook);
  bool again = bx_server_turn(t->server, bk_loop_now(t->loop));
  drain_woken(t);
  if (again || !bx_list_empty(&t->woken)) bk_loop_again(t->loop);
  set_deadline(t);
}

// -- links -----------------------------------------------------------------------------------------

void bk_link_init(struct bk_link *l, const struct bk_endpoint *endpoint, const struct bx_connection_ops *ops,
                  enum bx_connection_kind kind, const char *transport, struct bx_slice address,
                  void (*drain)(struct bk_link *)) {
  l->transport = endpoint->transport;
  l->transport->links++;
  l->drain = drain;
  bx_list_init(&l->woken);
  bx_connection_init(&l->connection, l->transport->server, ops, kind, transport, endpoint->mount, address);
}

void bk_link_fini(struct bk_link *l) {
  l->transport->links--;
  bx_list_remove(&l->woken);
  bx_connection_fini(&l->connection);
}

void bk_link_wake(struct bx_connection *c) {
  struct bk_link *l = bk_link_of(c);
  bx_list_remove(&l->woken);
  bx_list_append(&l->transport->woken, &l->woken);
}

// -- mounts ----------------------------------------------------------------------------------------

bool bk_mount_matches(struct bx_slice mount, struct bx_slice path) {
  if (bx_slice_equal(mount, BX_LIT("/"))) return true;
  if (!bx_slice_starts(path, mount)) return false;
  struct bx_slice rest = {path.at + mount.len, path.len - mount.len};
  if (rest.len == 0 || rest.at[0] == '/') return true;
  return rest.at[0] == '.' && rest.len > 1 && !memchr(rest.at + 1, '.', rest.len - 1);
}

static bool matches(void *endpoint, struct bx_slice path) {
  const struct bk_endpoint *e = endpoint;
  return bk_mount_matches(e->mount->path, path);
}

struct bk_route bk_endpoint_route(struct bk_endpoint *endpoint) {
  return (struct bk_route){
      .methods = BK_ANY_METHOD,
      .match = matches,
      .handle = bk_mount_handle,
      .upgrade = bk_socket_upgrade,
      .context = endpoint,
  };
}

// -- life ------------------------------------------------------------------------------------------

void bk_transport_init(struct bk_transport *t, struct bk_loop *loop, struct bx_server *server,
                       const struct bk_transport_options *options) {
  *t = (struct bk_transport){.loop = loop, .server = server, .options = *options, .hook.turn = turn};
  t->websocket_ops = bk_socket_ops(options->max_message);
  bx_list_init(&t->woken);
  bx_timer_init(&t->deadline, deadline_came);
  bk_loop_add_hook(loop, &t->hook);
}

void bk_transport_fini(struct bk_transport *t) {
  BX_BUG_ON(t->links > 0);
  bk_loop_remove_hook(t->loop, &t->hook);
  bx_wheel_cancel(bk_loop_wheel(t->loop), &t->deadline);
  bx_buffer_fini(&t->out);
}

void bk_transport_drain(struct bk_transport *t) {
  t->draining = true;
  bx_server_drain(t->server);
  bk_loop_again(t->loop);
}

void bk_transport_leave(struct bk_transport *t) { t->left = true; }

size_t bk_transport_connections(const struct bk_transport *t) {
  return t->counters.sockets + t->counters.polls + t->counters.streams;
}
