// SPDX-License-Identifier: Apache-2.0
// Listening sockets: accepting can be limited, stopped and shared between processes.
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/host/internal.h"
#include "broker/host/local.h"

#define ACCEPTS_PER_EVENT 64
#define RESUME_AFTER 100    // ms without accepting when the process is out of descriptors
#define ANSWER_TIME 30000   // ms, see http.h
#define UNSENT 65536        // bytes not yet on their way that the kernel takes for a peer which does not read

static void on_resume(struct bx_timer *timer) {
  struct bk_listener *l = bx_container_of(timer, struct bk_listener, resume);
  bk_watch_set(l->loop, &l->watch, EPOLLIN);
}

// With a reset: the kernel keeps nothing of it.
static void turn_away(int fd) {
  struct linger at_once = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

// What is set here its connections have from the start.
static void set_options(int fd) {
  int on = 1, unsent = UNSENT;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

static void accept_one(struct bk_listener *l, int fd, const struct sockaddr_storage *from) {
  struct bk_peer peer;
  bk_peer_of_socket(&peer, (const struct sockaddr *)from);
  if (l->gate && !l->gate->admit(l->gate->context, &peer)) {
    turn_away(fd);
    bk_host_counters.accept_refused++;
    return;
  }
  if (fd >= l->loop->max_fds) {
    close(fd);
    bk_host_counters.accept_failures++;
    return;
  }
  bk_connection_create(l, fd, &peer);
}

static void rest(struct bk_listener *l, bx_millis time) {
  bk_watch_set(l->loop, &l->watch, 0);
  bx_wheel_set(&l->loop->wheel, &l->resume, bk_loop_now(l->loop) + time);
}

static bool waits(struct bk_listener *l) {
  bx_millis time = l->gate ? l->gate->wait(l->gate->context) : 0;
  if (time == 0) return false;
  bk_host_counters.accept_pauses++;
  rest(l, time);
  return true;
}

static void out_of_descriptors(struct bk_listener *l) {
  bx_millis now = bk_loop_now(l->loop);
  if (bk_host_counters.accept_failures++ == 0 || now >= l->failure_logged + 1000) {
    bk_warn("accept_failed", bk_s("listener", l->name), bk_s("error", strerror(errno)),
            bk_s("hint", "raise the limit of descriptors (ulimit -Hn, LimitNOFILE= of systemd)"));
    l->failure_logged = now;
  }
  rest(l, RESUME_AFTER);
}

static void on_acceptable(struct bk_watch *watch, uint32_t events) {
  struct bk_listener *l = bx_container_of(watch, struct bk_listener, watch);
  (void)events;
  for (int i = 0; i < ACCEPTS_PER_EVENT && watch->fd >= 0; i++) {
    if (waits(l)) return;
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    int fd = accept4(watch->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      accept_one(l, fd, &from);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      out_of_descriptors(l);
      return;
    } else if (errno == EAGAIN) {
      return;
    }   // else that connection went away again: the next one
  }
}

struct bk_listener *bk_listener_open(struct bk_loop *loop, const struct bk_listener_options *o, char *error,
                                     size_t size) {
  struct bk_address address;
  if (!bk_address_parse(&address, o->address)) {
    snprintf(error, size, "%s: expected an address such as 127.0.0.1:8000, [::1]:8000 or unix:/path", o->address);
    return NULL;
  }
  bool tls = o->tls && !address.unix_path;
  if (tls && !bk_tls_open(o->tls)) {
    snprintf(error, size, "%s: TLS could not be set up", o->address);
    return NULL;
  }
  int fd = o->fd;
  if (fd == 0 && (fd = bk_socket_open(&address, o->address, o->unix_mode, false, error, size)) < 0) return NULL;
  if (!address.unix_path) set_options(fd);
  struct bk_listener *l = bx_alloc(sizeof *l);
  l->loop = loop;
  l->name = bk_copy_text(o->name);
  l->address = bk_socket_address(fd, &address, o->address);
  if (address.unix_path && o->fd == 0) {
    l->unix_path = bk_copy_text(address.unix_path);
    bk_socket_find_file(l->unix_path, &l->unix_file);
  }
  l->tls = tls ? o->tls : NULL;
  l->deflate = o->deflate;
  l->proxies = o->proxies;
  l->proxy_protocol = o->proxy_protocol && o->proxies;
  l->routes = o->routes;
  l->gate = o->gate;
  if (!address.unix_path && bk_address_is_local(l->address)) l->names = o->names;
  l->names_key = o->names_key;
  l->max_body = o->max_body;
  l->gathered = o->gathered;
  l->max_head = o->max_head ? o->max_head : BK_MAX_HEAD;
  l->header_time = o->header_time;
  l->idle_time = o->idle_time ? o->idle_time : o->header_time;
  l->answer_time = o->answer_time ? o->answer_time : ANSWER_TIME;
  bx_list_init(&l->connections);
  bx_list_append(&loop->listeners, &l->link);
  bx_timer_init(&l->resume, on_resume);
  BX_BUG_ON(!bk_watch_open(loop, &l->watch, fd, EPOLLIN, on_acceptable));
  if (o->fd > 0) return l;
  if (tls)
    bk_info("listening", bk_s("listener", l->name), bk_s("address", l->address), bk_s("protocol", "tls"));
  else
    bk_info("listening", bk_s("listener", l->name), bk_s("address", l->address));
  return l;
}

const char *bk_listener_name(const struct bk_listener *l) { return l->name; }
const char *bk_listener_address(const struct bk_listener *l) { return l->address; }
size_t bk_listener_connections(const struct bk_listener *l) { return l->count; }

void bk_listener_stop(struct bk_listener *l) {
  if (l->watch.fd < 0) return;
  bx_wheel_cancel(&l->loop->wheel, &l->resume);
  bk_watch_close(l->loop, &l->watch);
  if (l->unix_path) bk_socket_remove_file(l->unix_path, &l->unix_file);
}

void bk_listener_begin_close(struct bk_listener *l) {
  bk_listener_stop(l);
  l->closing = true;
  bx_list_each (link, &l->connections) bk_connection_doom(bx_container_of(link, struct bk_connection, link));
}

void bk_listener_close(struct bk_listener *l) {
  struct bk_loop *loop = l->loop;
  bk_listener_begin_close(l);
  if (!loop->running) bk_loop_reap(loop);
}

void bk_listener_free(struct bk_listener *l) {
  bx_list_remove(&l->link);
  bx_free(l->name);
  bx_free(l->address);
  bx_free(l->unix_path);
  bx_free(l);
}
