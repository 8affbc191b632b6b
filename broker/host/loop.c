// SPDX-License-Identifier: Apache-2.0
// The event loop: how long it waits, what a turn is, and in which order things run.
//
// It waits on an epoll set of its own, with libuv's in it, and runs libuv only when that has something: what is frequent
// (bytes of clients) costs one system call less. libuv puts off what it is asked to watch until it runs, and
// uv_backend_timeout() says so.
#include <limits.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "broker/host/internal.h"
#include "broker/host/lag.h"

#define SPARE_FDS 8   // kept from connections: for engines, authorities, files

struct signal_watch {
  struct bx_list link;
  uv_signal_t handle;
  void (*handler)(void *context, int signo);
  void *context;
};

static void on_prepare(uv_prepare_t *prepare) { (void)prepare; }

// Hooks may come and go while they run: a marker in the list is the place to go on.
static void run_hooks(struct bk_loop *loop) {
  struct bx_list marker;
  marker.next = loop->hooks.next;
  marker.prev = &loop->hooks;
  loop->hooks.next->prev = &marker;
  loop->hooks.next = &marker;
  while (marker.next != &loop->hooks) {
    struct bx_list *l = marker.next;
    bx_list_remove(&marker);
    marker.prev = l;
    marker.next = l->next;
    l->next->prev = &marker;
    l->next = &marker;
    struct bk_turn_hook *hook = bx_container_of(l, struct bk_turn_hook, link);
    hook->turn(hook);
  }
  bx_list_remove(&marker);
}

static void flush_exchanges(struct bk_loop *loop) {
  struct bx_list todo;
  bx_list_init(&todo);
  bx_list_splice(&todo, &loop->flushing);
  for (struct bx_list *l; (l = bx_list_take(&todo));)
    bk_connection_flush(bx_container_of(l, struct bk_exchange, flush)->connection);
}

void bk_loop_reap(struct bk_loop *loop) {
  for (struct bx_list *l; (l = bx_list_take(&loop->doomed));)
    bk_connection_close_now(bx_container_of(l, struct bk_connection, doomed));
  for (struct bx_list *l; (l = bx_list_take(&loop->gone));)
    bk_connection_free(bx_container_of(l, struct bk_connection, doomed));
  bx_list_each (l, &loop->listeners) {
    struct bk_listener *listener = bx_container_of(l, struct bk_listener, link);
    if (listener->closing && listener->count == 0) bk_listener_free(listener);
  }
}

void bk_loop_begin(struct bk_loop *loop) {
  uv_update_time(&loop->uv);
  loop->now = uv_now(&loop->uv);
  loop->began = uv_hrtime();
}

// Returns how long the turn took, ms.
static bx_millis end_turn(struct bk_loop *loop) {
  bk_host_counters.turns++;
  bx_wheel_advance(&loop->wheel, loop->now);
  run_hooks(loop);
  flush_exchanges(loop);
  if (!bx_list_empty(&loop->doomed)) bk_loop_again(loop);   // what their closing wakes has a turn too
  bk_loop_reap(loop);
  loop->turn++;
  uint64_t took = uv_hrtime() - loop->began;
  bk_lag_note(&bk_host_lag, took);
  return took / 1000000;
}

static bx_millis turn(struct bk_loop *loop, int wait) {
  loop->again = false;
  if (bk_watches_wait(loop, wait) || uv_backend_timeout(&loop->uv) == 0) uv_run(&loop->uv, UV_RUN_NOWAIT);
  return end_turn(loop);
}

// How long the kernel may be waited for after a turn that took so long, ms; -1: for ever. libuv counts from where its
// clock was read last, in this turn: too short a wait is made up for by a turn that finds nothing.
static int patience(const struct bk_loop *loop, bx_millis took) {
  if (loop->again) return 0;
  int wait = uv_backend_timeout(&loop->uv);
  if (wait > 0) wait = (bx_millis)wait > took ? wait - (int)took : 0;
  bx_millis next = bx_wheel_next(&loop->wheel), now = loop->now + took;
  if (next == BX_NEVER) return wait;
  bx_millis ms = next <= now ? 0 : next - now < INT_MAX ? next - now : INT_MAX;
  return wait < 0 || (int)ms < wait ? (int)ms : wait;
}

struct bk_loop *bk_loop_create(void) {
  struct bk_loop *loop = bx_alloc(sizeof *loop);
  signal(SIGPIPE, SIG_IGN);
  BX_BUG_ON(uv_loop_init(&loop->uv) != 0);
  bx_list_init(&loop->hooks);
  bx_list_init(&loop->signals);
  bx_list_init(&loop->listeners);
  bx_list_init(&loop->doomed);
  bx_list_init(&loop->gone);
  bx_list_init(&loop->flushing);
  uv_prepare_init(&loop->uv, &loop->alive);
  uv_prepare_start(&loop->alive, on_prepare);
  bk_loop_begin(loop);
  bx_wheel_init(&loop->wheel, loop->now);
  loop->input = bx_alloc(BK_INPUT);
  loop->max_fds = getdtablesize() - SPARE_FDS;
  bk_watches_init(loop);
  return loop;
}

void bk_loop_run(struct bk_loop *loop) {
  bx_millis took = 0;
  loop->running = loop->again = true;   // hooks may have what was begun before
  while (!loop->stopping) took = turn(loop, patience(loop, took));
  loop->running = loop->stopping = false;
}

void bk_loop_turn(struct bk_loop *loop) { (void)turn(loop, 0); }

void bk_loop_stop(struct bk_loop *loop) { loop->stopping = true; }

static void free_signal(uv_handle_t *handle) {
  bx_free(bx_container_of((uv_signal_t *)handle, struct signal_watch, handle));
}

void bk_loop_destroy(struct bk_loop *loop) {
  if (!loop) return;
  BX_BUG_ON(loop->running);
  bx_list_each (l, &loop->listeners) bk_listener_begin_close(bx_container_of(l, struct bk_listener, link));
  bk_loop_reap(loop);
  bk_watches_fini(loop);
  bk_loop_hold_hangups(true);
  for (struct bx_list *l; (l = bx_list_take(&loop->signals));)
    uv_close((uv_handle_t *)&bx_container_of(l, struct signal_watch, link)->handle, free_signal);
  uv_close((uv_handle_t *)&loop->alive, NULL);
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  BX_BUG_ON(!bx_list_empty(&loop->listeners));
  BX_BUG_ON(uv_loop_close(&loop->uv) != 0);
  bx_buffer_fini(&loop->scratch);
  bx_free(loop->input);
  bk_deflate_destroy(loop->deflate);
  bx_free(loop);
}

struct uv_loop_s *bk_loop_uv(struct bk_loop *loop) {
  return &loop->uv;
}

bx_millis bk_loop_now(const struct bk_loop *loop) { return loop->now; }

uint64_t bk_wall_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct bx_wheel *bk_loop_wheel(struct bk_loop *loop) {
  return &loop->wheel;
}

void bk_loop_add_hook(struct bk_loop *loop, struct bk_turn_hook *hook) { bx_list_append(&loop->hooks, &hook->link); }

void bk_loop_remove_hook(struct bk_loop *loop, struct bk_turn_hook *hook) {
  (void)loop;
  bx_list_remove(&hook->link);
}

void bk_loop_again(struct bk_loop *loop) { loop->again = true; }

void bk_loop_hold_hangups(bool hold) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static void on_signal(uv_signal_t *handle, int signo) {
  struct signal_watch *w = handle->data;
  w->handler(w->context, signo);
}

void bk_loop_on_signal(struct bk_loop *loop, int signo, void (*handler)(void *, int), void *context) {
  struct signal_watch *w = bx_alloc(sizeof *w);
  w->handler = handler;
  w->context = context;
  w->handle.data = w;
  uv_signal_init(&loop->uv, &w->handle);
  BX_BUG_ON(uv_signal_start(&w->handle, on_signal, signo) != 0);
  if (signo == SIGHUP) bk_loop_hold_hangups(false);
  bx_list_append(&loop->signals, &w->link);
}
