// SPDX-License-Identifier: Apache-2.0
// The event loop: when a turn ends, what runs then, and in which order.
//
// The end of a turn is libuv's prepare phase, directly before it waits: everything that happened
// (timers, sockets, closed handles) has been handed out by then.
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

static void on_wake(uv_timer_t *timer) { (void)timer; }
static void on_again(uv_idle_t *idle) { uv_idle_stop(idle); }

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

static void set_timer(struct bk_loop *loop) {
  bx_millis next = bx_wheel_next(&loop->wheel);
  if (next == BX_NEVER) {
    uv_timer_stop(&loop->timer);
    return;
  }
  bx_millis now = uv_now(&loop->uv);
  uv_timer_start(&loop->timer, on_wake, next > now ? next - now : 0, 0);
}

static void on_prepare(uv_prepare_t *prepare) {
  struct bk_loop *loop = prepare->data;
  bk_host_counters.turns++;
  bk_loop_begin(loop);
  bx_wheel_advance(&loop->wheel, bk_loop_now(loop));
  run_hooks(loop);
  flush_exchanges(loop);
  if (!bx_list_empty(&loop->doomed)) bk_loop_again(loop);   // what their closing wakes has a turn too
  bk_loop_reap(loop);
  set_timer(loop);
  loop->turn++;
  loop->now_known = false;
  bk_lag_note(&bk_host_lag, uv_hrtime() - loop->began);
  loop->began = 0;
}

void bk_loop_begin(struct bk_loop *loop) {
  if (loop->began == 0) loop->began = uv_hrtime();
}

struct bk_loop *bk_loop_create(void) {
  struct bk_loop *loop = bx_alloc(sizeof *loop);
  signal(SIGPIPE, SIG_IGN);
  BX_BUG_ON(uv_loop_init(&loop->uv) != 0);
  uv_prepare_init(&loop->uv, &loop->prepare);
  uv_timer_init(&loop->uv, &loop->timer);
  uv_idle_init(&loop->uv, &loop->again);
  loop->prepare.data = loop;
  uv_prepare_start(&loop->prepare, on_prepare);
  bx_list_init(&loop->hooks);
  bx_list_init(&loop->signals);
  bx_list_init(&loop->listeners);
  bx_list_init(&loop->doomed);
  bx_list_init(&loop->gone);
  bx_list_init(&loop->flushing);
  bx_wheel_init(&loop->wheel, uv_now(&loop->uv));
  loop->input = bx_alloc(BK_INPUT);
  loop->max_fds = getdtablesize() - SPARE_FDS;
  bk_watches_init(loop);
  return loop;
}

void bk_loop_run(struct bk_loop *loop) {
  loop->running = true;
  uv_run(&loop->uv, UV_RUN_DEFAULT);
  loop->running = false;
}

void bk_loop_stop(struct bk_loop *loop) { uv_stop(&loop->uv); }

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
  uv_close((uv_handle_t *)&loop->prepare, NULL);
  uv_close((uv_handle_t *)&loop->timer, NULL);
  uv_close((uv_handle_t *)&loop->again, NULL);
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

// Read when first asked for in a turn, so that the turn's callbacks agree.
bx_millis bk_loop_now(const struct bk_loop *loop) {
  struct bk_loop *l = (struct bk_loop *)loop;
  if (!l->now_known) {
    l->now = uv_now(&l->uv);
    l->now_known = true;
    bk_loop_begin(l);
  }
  return l->now;
}

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

void bk_loop_again(struct bk_loop *loop) { uv_idle_start(&loop->again, on_again); }

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
  uv_unref((uv_handle_t *)&w->handle);
  bx_list_append(&loop->signals, &w->link);
}
