// SPDX-License-Identifier: Apache-2.0
// Watching sockets: an epoll set of our own, level triggered, itself watched by libuv. A uv_poll_t for
// each socket costs 168 bytes and five more system calls in its life, and its memory outlives its close.
#include <unistd.h>

#include "broker/host/internal.h"

#define EVENTS 256
#define ROUNDS 8   // of EVENTS in one turn

// A watch whose memory is still there may have been closed by what was handed out before it.
static void on_events(uv_poll_t *poll, int status, int events) {
  struct bk_loop *loop = poll->data;
  struct epoll_event ready[EVENTS];
  int count = EVENTS;
  (void)status;
  (void)events;
  bk_loop_begin(loop);
  for (int round = 0; round < ROUNDS && count == EVENTS; round++) {
    count = epoll_wait(loop->epoll, ready, EVENTS, 0);
    for (int i = 0; i < count; i++) {
      struct bk_watch *w = ready[i].data.ptr;
      if (w->fd >= 0) w->ready(w, ready[i].events);
    }
  }
}

static bool control(struct bk_loop *loop, int operation, struct bk_watch *w) {
  struct epoll_event event = {.events = w->events, .data.ptr = w};
  return epoll_ctl(loop->epoll, operation, w->fd, &event) == 0;
}

bool bk_watch_open(struct bk_loop *loop, struct bk_watch *w, int fd, uint32_t events,
                   void (*ready)(struct bk_watch *, uint32_t)) {
  *w = (struct bk_watch){.fd = fd, .events = events, .ready = ready};
  return control(loop, EPOLL_CTL_ADD, w);
}

void bk_watch_set(struct bk_loop *loop, struct bk_watch *w, uint32_t events) {
  if (w->fd < 0 || w->events == events) return;
  w->events = events;
  BX_BUG_ON(!control(loop, EPOLL_CTL_MOD, w));
}

// A listening socket may be open in other processes, too: closing it would not take it off the set.
void bk_watch_close(struct bk_loop *loop, struct bk_watch *w) {
  if (w->fd < 0) return;
  (void)control(loop, EPOLL_CTL_DEL, w);
  close(w->fd);
  w->fd = -1;
}

void bk_watches_init(struct bk_loop *loop) {
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  BX_BUG_ON(loop->epoll < 0 || uv_poll_init(&loop->uv, &loop->poll, loop->epoll) != 0);
  loop->poll.data = loop;
  uv_poll_start(&loop->poll, UV_READABLE, on_events);
}

void bk_watches_fini(struct bk_loop *loop) {
  uv_close((uv_handle_t *)&loop->poll, NULL);
  close(loop->epoll);
}
