// SPDX-License-Identifier: Apache-2.0
// Watching sockets: an epoll set of our own, level triggered. A uv_poll_t for each socket costs 168 bytes and five more
// system calls in its life, and its memory outlives its close. libuv has a set of its own, whose descriptor is in this
// one: who waits for this one waits for both.
#include <unistd.h>

#include "broker/host/internal.h"

#define EVENTS 256
#define ROUNDS 8   // of EVENTS in one turn

// The entry of libuv's set has no watch. A watch whose memory is still there may have been closed by what was handed out
// before it.
bool bk_watches_wait(struct bk_loop *loop, int ms) {
  struct epoll_event ready[EVENTS];
  bool uv = false;
  int count = epoll_wait(loop->epoll, ready, EVENTS, ms);
  bk_loop_begin(loop);
  for (int round = 0;; count = epoll_wait(loop->epoll, ready, EVENTS, 0)) {
    for (int i = 0; i < count; i++) {
      struct bk_watch *w = ready[i].data.ptr;
      if (!w)
        uv = true;
      else if (w->fd >= 0)
        w->ready(w, ready[i].events);
    }
    if (count < EVENTS || ++round == ROUNDS) return uv;
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
  struct epoll_event event = {.events = EPOLLIN};
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  BX_BUG_ON(loop->epoll < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, uv_backend_fd(&loop->uv), &event) != 0);
}

void bk_watches_fini(struct bk_loop *loop) { close(loop->epoll); }
