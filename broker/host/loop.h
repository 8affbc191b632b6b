// SPDX-License-Identifier: Apache-2.0
// The event loop of a daemon: one thread; epoll for its own sockets, and libuv for what others bring along.
//
// A turn: what happened is handed out (bytes, connections; then what libuv has); then timers, and every turn hook
// once, in the order in which they were added; then what asked to be freed is freed. Nothing is
// freed under a running callback.
//
// Lifetime: create, add listeners and hooks, run; bk_loop_stop() makes run return when the turn is
// over; destroy closes what is left and asserts that the loop closed clean.
#pragma once

#include "bayeux/base.h"
#include "bayeux/wheel.h"

struct uv_loop_s;
struct bk_loop;

struct bk_loop *bk_loop_create(void);
void bk_loop_run(struct bk_loop *);
void bk_loop_stop(struct bk_loop *);
// One turn that waits for nothing, for who has a loop of his own.
void bk_loop_turn(struct bk_loop *);
void bk_loop_destroy(struct bk_loop *);

// Runs inside this loop; nobody else runs it. Its clock is at bk_loop_now() or ahead, never behind.
struct uv_loop_s *bk_loop_uv(struct bk_loop *);

// Milliseconds, monotonic; read once per turn, so equal for everything in it.
bx_millis bk_loop_now(const struct bk_loop *);
// Milliseconds since 1970.
uint64_t bk_wall_clock(void);

// Timers of everything on this loop. Set with bx_wheel_set(bk_loop_wheel(l), t, bk_loop_now(l) + ms):
// the loop looks at the wheel at the end of every turn.
struct bx_wheel *bk_loop_wheel(struct bk_loop *);

// Called once at the end of every turn. The struct is the caller's, until removed. May add and
// remove hooks.
struct bk_turn_hook {
  struct bx_list link;
  void (*turn)(struct bk_turn_hook *);
};
void bk_loop_add_hook(struct bk_loop *, struct bk_turn_hook *);
void bk_loop_remove_hook(struct bk_loop *, struct bk_turn_hook *);

// Another turn follows without waiting for the kernel.
void bk_loop_again(struct bk_loop *);

// The loop takes the signal (SIGTERM, SIGINT, SIGHUP) for as long as it runs.
void bk_loop_on_signal(struct bk_loop *, int signo, void (*handler)(void *context, int signo), void *context);
// SIGHUP ends a process that does not take it: one that begins lets it wait until the loop takes it, and
// bk_loop_destroy() lets it wait for ever.
void bk_loop_hold_hangups(bool hold);
