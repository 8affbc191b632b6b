// SPDX-License-Identifier: Apache-2.0
// The loop itself: turns, hooks, time, signals, and the end of listeners.
#include "tests/component/harness.h"

#include <signal.h>
#include <unistd.h>
#include <uv.h>

#include "broker/host/metrics.h"

static struct bk_loop *loop;
static char trail[256];

static void mark(char c) {
  size_t len = strlen(trail);
  check(len < sizeof trail - 1);
  trail[len] = c;
  trail[len + 1] = '\0';
}

static void begin(void) {
  loop = bk_loop_create();
  trail[0] = '\0';
}

static void end(const char *expected) {
  bk_loop_destroy(loop);
  if (strcmp(trail, expected) != 0) fprintf(stderr, "expected %s, got %s\n", expected, trail);
  check(strcmp(trail, expected) == 0);
}

// -- hooks -------------------------------------------------------------------------------------

static struct bk_turn_hook hooks[4];
static int turns;

static void on_a(struct bk_turn_hook *h) { (void)h, mark('a'); }
static void on_b(struct bk_turn_hook *h) {
  (void)h;
  mark('b');
  if (++turns == 1) {
    bk_loop_add_hook(loop, &hooks[3]);      // in this turn still
    bk_loop_remove_hook(loop, &hooks[2]);   // not any more
    bk_loop_again(loop);
  } else if (turns == 2) {
    bk_loop_remove_hook(loop, &hooks[1]);   // itself
    bk_loop_again(loop);
  }
}
static void on_c(struct bk_turn_hook *h) { (void)h, mark('c'); }
static void on_d(struct bk_turn_hook *h) {
  (void)h;
  mark('d');
  if (strlen(trail) > 6)
    bk_loop_stop(loop);
  else
    bk_loop_again(loop);
}

static void hooks_run_once_a_turn_in_order(void) {
  begin();
  turns = 0;
  hooks[0].turn = on_a;
  hooks[1].turn = on_b;
  hooks[2].turn = on_c;
  hooks[3].turn = on_d;
  for (int i = 0; i < 3; i++) bk_loop_add_hook(loop, &hooks[i]);
  bk_loop_run(loop);
  end("abdabdad");
}

// -- time --------------------------------------------------------------------------------------

static struct bx_timer timers[3];
static bx_millis fired[3];

static void on_timer(struct bx_timer *t) {
  size_t n = (size_t)(t - timers);
  fired[n] = bk_loop_now(loop);
  mark((char)('0' + n));
  if (n == 2) bk_loop_stop(loop);
}

static void timers_fire_in_order_and_not_before_their_time(void) {
  static const bx_millis after[3] = {30, 0, 60};
  begin();
  bx_millis now = bk_loop_now(loop);
  for (int i = 0; i < 3; i++) {
    bx_timer_init(&timers[i], on_timer);
    bx_wheel_set(bk_loop_wheel(loop), &timers[i], now + after[i]);
  }
  bk_loop_run(loop);
  for (int i = 0; i < 3; i++) check(fired[i] >= now + after[i]);
  end("102");
}

static bx_millis seen;
static void look(struct bx_timer *t) {
  (void)t;
  seen = bk_loop_now(loop);
  usleep(20000);
  check(bk_loop_now(loop) == seen);
}
static void look_again(struct bk_turn_hook *h) {
  (void)h;
  if (!seen) return;
  check(bk_loop_now(loop) == seen);
  bk_loop_stop(loop);
}

static void now_is_the_same_all_turn_long(void) {
  begin();
  seen = 0;
  hooks[0].turn = look_again;
  bk_loop_add_hook(loop, &hooks[0]);
  bx_timer_init(&timers[0], look);
  bx_wheel_set(bk_loop_wheel(loop), &timers[0], bk_loop_now(loop) + 5);
  bk_loop_run(loop);
  end("");
}

static void on_last(struct bk_turn_hook *h) {
  (void)h;
  mark('h');
  bx_wheel_set(bk_loop_wheel(loop), &timers[0], bk_loop_now(loop));   // set by the last hook: still soon
}
static void stop(struct bx_timer *t) {
  (void)t;
  mark('t');
  bk_loop_stop(loop);
}
static void a_timer_set_at_the_end_of_a_turn_counts(void) {
  begin();
  hooks[0].turn = on_last;
  bx_timer_init(&timers[0], stop);
  bk_loop_add_hook(loop, &hooks[0]);
  bk_loop_run(loop);
  bx_wheel_cancel(bk_loop_wheel(loop), &timers[0]);
  end("hth");
}

// -- signals -----------------------------------------------------------------------------------

static void on_signal(void *context, int signo) {
  check(context == &trail);
  mark(signo == SIGHUP ? 'h' : 'u');
  if (signo == SIGUSR1) bk_loop_stop(loop);
}
static void raise_both(struct bx_timer *t) {
  (void)t;
  raise(SIGPIPE);   // ignored
  raise(SIGHUP);
  raise(SIGUSR1);
}
static void signals_come_from_the_loop(void) {
  begin();
  bk_loop_on_signal(loop, SIGHUP, on_signal, &trail);
  bk_loop_on_signal(loop, SIGUSR1, on_signal, &trail);
  bx_timer_init(&timers[0], raise_both);
  bx_wheel_set(bk_loop_wheel(loop), &timers[0], bk_loop_now(loop) + 1);
  bk_loop_run(loop);
  end("hu");
}

// -- libuv -------------------------------------------------------------------------------------

static struct {
  uv_poll_t poll;
  uv_timer_t timer;
  int pipe[2];
} uv;

static void on_uv_closed(uv_handle_t *handle) {
  (void)handle;
  mark('c');
  bk_loop_stop(loop);
}
static void on_uv_timer(uv_timer_t *timer) {
  mark('t');
  uv_close((uv_handle_t *)timer, on_uv_closed);
}
static void on_uv_poll(uv_poll_t *poll, int status, int events) {
  char byte;
  check(status == 0 && events == UV_READABLE && read(uv.pipe[0], &byte, 1) == 1);
  mark(byte);
  if (byte == 'b') {
    uv_close((uv_handle_t *)poll, NULL);
    uv_timer_start(&uv.timer, on_uv_timer, 20, 0);
  }
}
static void on_watched(struct bx_timer *t) {
  (void)t;
  mark('w');
  check(write(uv.pipe[1], "b", 1) == 1);
}
// libuv does not tell the kernel at once: the byte that is there before the loop waits must not wait with it.
static void begin_to_watch(struct bx_timer *t) {
  (void)t;
  check(uv_poll_start(&uv.poll, UV_READABLE, on_uv_poll) == 0);
  bx_wheel_set(bk_loop_wheel(loop), &timers[1], bk_loop_now(loop) + 20);
}

static void libuv_runs_when_it_has_something(void) {
  begin();
  check(pipe(uv.pipe) == 0 && write(uv.pipe[1], "a", 1) == 1);
  check(uv_poll_init(bk_loop_uv(loop), &uv.poll, uv.pipe[0]) == 0);
  check(uv_timer_init(bk_loop_uv(loop), &uv.timer) == 0);
  bx_timer_init(&timers[0], begin_to_watch);
  bx_timer_init(&timers[1], on_watched);
  bx_wheel_set(bk_loop_wheel(loop), &timers[0], bk_loop_now(loop) + 5);
  bk_loop_run(loop);
  close(uv.pipe[0]);
  close(uv.pipe[1]);
  end("awbtc");
}

// Handles that do nothing (here a timer that was never started), or none, are nothing to run for.
static void a_loop_with_nothing_to_do_sleeps(void) {
  uv_timer_t idle;
  begin();
  check(uv_timer_init(bk_loop_uv(loop), &idle) == 0);
  bx_timer_init(&timers[0], stop);
  bx_wheel_set(bk_loop_wheel(loop), &timers[0], bk_loop_now(loop) + 200);
  uint64_t before = bk_host_counters.turns;
  bk_loop_run(loop);
  check(bk_host_counters.turns - before < 10);
  uv_close((uv_handle_t *)&idle, NULL);
  end("t");
}

// -- listeners ---------------------------------------------------------------------------------

static void on_ended(struct bk_exchange *x, enum bk_arrival arrival) {
  struct harness *h = bk_exchange_user(x);
  check(arrival == BK_ARRIVAL_NONE);
  harness_note(h, 'e');
}
static const struct bk_exchange_ops ops = {.ended = on_ended};

static void on_hold(void *context, struct bk_exchange *x) {
  bk_exchange_hold(x, &ops, *(struct harness **)context);
  harness_note(*(struct harness **)context, 'h');
}

static void on_close_listener(void *context, struct bk_exchange *x) {
  struct harness *h = *(struct harness **)context;
  bk_exchange_respond(x, &(struct bk_response){.status = 200});
  bk_listener_close(h->listener);   // from inside a handler of its own
  harness_note(h, 'l');
}

static struct harness *current;
static const struct bk_route routes[] = {
    {.methods = BK_GET, .path = "/hold", .handle = on_hold, .context = &current},
    {.methods = BK_GET, .path = "/close", .handle = on_close_listener, .context = &current},
    {0},
};

static void client_closes_listener(struct harness *h) {
  char byte;
  struct answer a;
  int held = dial(h), silent = dial(h), fd = dial(h);
  send_text(held, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_await(h, 'h');
  send_text(fd, "GET /close HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_await(h, 'l');
  harness_await(h, 'e');   // at the end of that turn
  read_answer(fd, &a);
  check(a.status == 200);
  answer_free(&a);
  check(read_some(fd, &byte, 1) <= 0);
  check(read_some(held, &byte, 1) <= 0);
  check(read_some(silent, &byte, 1) <= 0);
  close(fd);
  close(held);
  close(silent);
}

static void a_listener_may_be_closed_from_inside(void) {
  struct harness h = {0};
  current = &h;
  harness_open(&h, routes, NULL);
  harness_run(&h, client_closes_listener);
  harness_close(&h);
  check(bk_host_counters.open == 0);
}

static int kept;
static void client_holds(struct harness *h) {
  kept = dial(h);
  send_text(kept, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_await(h, 'h');
}

static void a_listener_closed_outside_has_ended_all(void) {
  struct harness h = {0};
  current = &h;
  harness_open(&h, routes, NULL);
  harness_run(&h, client_holds);
  bk_listener_close(h.listener);
  harness_await(&h, 'e');   // before it returned
  harness_close(&h);
  close(kept);
}

static void nothing_at_all(void) {
  begin();
  end("");
  bk_loop_destroy(NULL);
}

int main(int argc, char **argv) {
  run_test(hooks_run_once_a_turn_in_order);
  run_test(timers_fire_in_order_and_not_before_their_time);
  run_test(now_is_the_same_all_turn_long);
  run_test(a_timer_set_at_the_end_of_a_turn_counts);
  run_test(signals_come_from_the_loop);
  run_test(libuv_runs_when_it_has_something);
  run_test(a_loop_with_nothing_to_do_sleeps);
  run_test(a_listener_may_be_closed_from_inside);
  run_test(a_listener_closed_outside_has_ended_all);
  run_test(nothing_at_all);
  return 0;
}
