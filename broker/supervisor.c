// SPDX-License-Identifier: Apache-2.0
#include "broker/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "broker/admin/numbers.h"
#include "broker/broker.h"
#include "broker/host/daemon.h"
#include "broker/host/log.h"
#include "broker/host/process.h"

enum {
  STEADY = 5000,      // ms: a worker that lived so long is started again at once
  PAUSE_MIN = 100,    // ms
  PAUSE_MAX = 5000,   // ms
  FIRST_FD = 3,       // of what a worker was given: the board, then sockets
  EXIT_CANNOT_START = 1,
  EXIT_CONFIGURATION = 2,
};

struct supervisor;

struct worker {
  struct supervisor *of;
  unsigned number;
  struct bk_process *process;   // NULL: not running
  bx_millis started;
  unsigned failures;   // lives in a row that were short
  bool began;          // a life of it ended otherwise than by being unable to begin
  struct bx_timer again;
};

struct supervisor {
  const struct bk_options *options;
  char **argv;
  struct bk_loop *loop;
  struct bk_board *board;
  int board_fd;
  struct bk_sockets sockets[BK_MAX_LISTENERS];
  size_t socket_count;
  struct worker *workers;
  size_t count;
  int stopping;    // the signal; 0: running
  unsigned ends;   // SIGTERM and SIGINT that came
  int status;
};

// -- sockets ---------------------------------------------------------------------------------------

static bool open_sockets(struct supervisor *s, const char *name, struct cf_strings addresses, unsigned unix_mode) {
  for (size_t i = 0; i < addresses.count; i++) {
    char error[256] = "too many addresses";
    bool good = false;
    if (s->socket_count < BK_MAX_LISTENERS) {
      struct bk_sockets *sockets = &s->sockets[s->socket_count];
      *sockets = (struct bk_sockets){.name = name,
                                     .address = addresses.at[i],
                                     .unix_mode = unix_mode,
                                     .fds = bx_alloc(s->count * sizeof(int)),
                                     .count = s->count};
      good = bk_sockets_open(sockets, error, sizeof error);
      if (good)
        s->socket_count++;
      else
        bx_free(sockets->fds);
    }
    if (good) continue;
    bk_error("listen.failed", bk_s("listener", name), bk_s("address", addresses.at[i]), bk_s("error", error));
    return false;
  }
  return true;
}

static void close_sockets(struct supervisor *s) {
  while (s->socket_count > 0) {
    struct bk_sockets *sockets = &s->sockets[--s->socket_count];
    bk_sockets_close(sockets);
    bx_free(sockets->fds);
  }
}

// -- workers ---------------------------------------------------------------------------------------

static void start(struct worker *w);

static void on_again(struct bx_timer *timer) { start(bx_container_of(timer, struct worker, again)); }

static void start_later(struct worker *w) {
  bx_millis now = bk_loop_now(w->of->loop), pause = 0;
  w->failures = now - w->started < STEADY ? w->failures + 1 : 0;
  for (unsigned i = 1; i < w->failures && pause < PAUSE_MAX; i++) pause = pause ? 2 * pause : PAUSE_MIN;
  bx_wheel_set(bk_loop_wheel(w->of->loop), &w->again, now + (pause < PAUSE_MAX ? pause : PAUSE_MAX));
}

static bool all_have_ended(const struct supervisor *s) {
  for (size_t i = 0; i < s->count; i++)
    if (s->workers[i].process) return false;
  return true;
}

static void stop(struct supervisor *s, int signo) {
  s->stopping = signo;
  close_sockets(s);
  for (size_t i = 0; i < s->count; i++) {
    bx_wheel_cancel(bk_loop_wheel(s->loop), &s->workers[i].again);
    if (s->workers[i].process) bk_process_signal(s->workers[i].process, signo);
  }
  if (all_have_ended(s)) bk_loop_stop(s->loop);
}

static void ended(void *context, struct bk_process *process, int status, int signo) {
  struct worker *w = context;
  struct supervisor *s = w->of;
  uint64_t pid = (uint64_t)bk_process_id(process), code = (uint64_t)status, by = (uint64_t)signo;
  if (s->stopping && code + by == 0)
    bk_info("worker.ended", bk_u("worker", w->number), bk_u("pid", pid), bk_u("status", code), bk_u("signal", by));
  else
    bk_warn("worker.ended", bk_u("worker", w->number), bk_u("pid", pid), bk_u("status", code), bk_u("signal", by));
  w->process = NULL;
  bk_board_retire(s->board, w->number);
  if (s->stopping) {
    if (status != 0 && s->status == 0) s->status = status;
    if (all_have_ended(s)) bk_loop_stop(s->loop);
  } else if (!w->began && (status == EXIT_CANNOT_START || status == EXIT_CONFIGURATION)) {
    s->status = status;   // it would not be otherwise the next time, and has said why
    stop(s, SIGTERM);
  } else {
    // One that ran, and finds files that were changed, and wrong, does not end those that still run.
    w->began |= status != EXIT_CANNOT_START && status != EXIT_CONFIGURATION;
    start_later(w);
  }
}

static void start(struct worker *w) {
  struct supervisor *s = w->of;
  int fds[1 + BK_MAX_LISTENERS] = {s->board_fd};
  char error[128];
  for (size_t i = 0; i < s->socket_count; i++) fds[1 + i] = s->sockets[i].fds[w->number];
  w->started = bk_loop_now(s->loop);
  w->process = bk_process_start(s->loop,
                                &(struct bk_process_options){.argv = s->argv,
                                                             .number = w->number,
                                                             .fds = fds,
                                                             .fd_count = 1 + s->socket_count,
                                                             .ended = ended,
                                                             .context = w},
                                error, sizeof error);
  if (w->process) {
    bk_info("worker.started", bk_u("worker", w->number), bk_u("pid", (uint64_t)bk_process_id(w->process)));
  } else {
    bk_error("worker.failed", bk_u("worker", w->number), bk_s("error", error));
    start_later(w);
  }
}

// -- signals ---------------------------------------------------------------------------------------

static void on_end(void *context, int signo) {
  struct supervisor *s = context;
  if (s->ends++ == 0 && s->stopping) return;   // asked to before: they do
  if (!s->stopping) bk_info("drain", bk_u("workers", s->count));
  stop(s, signo);   // the second one ends the workers at once
}

// Several workers may ask at the same time, each for a client of its own.
static void on_drain(void *context, int signo) {
  struct supervisor *s = context;
  (void)signo;
  if (s->stopping) return;
  bk_info("drain", bk_u("workers", s->count));
  stop(s, SIGTERM);
}

// A worker that has not begun yet would die of it, and will read its files as they are now.
static void on_hangup(void *context, int signo) {
  struct supervisor *s = context;
  for (size_t i = 0; i < s->count; i++)
    if (s->workers[i].process && atomic_load(&s->board->slots[i].begun))
      bk_process_signal(s->workers[i].process, signo);
}

// -- life ------------------------------------------------------------------------------------------

static void run(struct supervisor *s) {
  bk_info("start", bk_s("version", MORA_VERSION), bk_u("workers", s->count));
  bk_loop_on_signal(s->loop, SIGTERM, on_end, s);
  bk_loop_on_signal(s->loop, SIGINT, on_end, s);
  bk_loop_on_signal(s->loop, SIGHUP, on_hangup, s);
  bk_loop_on_signal(s->loop, BK_DRAIN_SIGNAL, on_drain, s);
  for (size_t i = 0; i < s->count; i++) start(&s->workers[i]);
  bk_loop_run(s->loop);
  bk_info("stop", bk_u("workers", 0));
}

int bk_supervise(const struct bk_options *options, char **argv) {
  struct supervisor s = {.options = options, .argv = argv, .count = options->workers};
  s.loop = bk_loop_create();
  s.workers = bx_alloc(s.count * sizeof *s.workers);
  for (size_t i = 0; i < s.count; i++) {
    s.workers[i] = (struct worker){.of = &s, .number = (unsigned)i};
    bx_timer_init(&s.workers[i].again, on_again);
  }
  s.board = bk_board_create(s.count, &s.board_fd);
  BX_BUG_ON(!s.board);   // a few kilobytes
  if (open_sockets(&s, "broker", options->listen, bk_mode_read(options->socket_mode)) &&
      open_sockets(&s, "admin", options->admin_listen, 0))
    run(&s);
  else
    s.status = EXIT_CANNOT_START;
  close_sockets(&s);
  bk_loop_destroy(s.loop);
  bk_board_close(s.board);
  close(s.board_fd);
  bx_free(s.workers);
  return s.status;
}

bool bk_worker_init(struct bk_worker *w) {
  static int fds[BK_MAX_LISTENERS];
  struct bk_given given;
  if (!bk_process_given(&given) || given.fd_count == 0) return false;
  for (size_t i = 1; i < given.fd_count; i++) fds[i - 1] = FIRST_FD + (int)i;
  *w = (struct bk_worker){given.number, fds, given.fd_count - 1, bk_board_open(FIRST_FD)};
  BX_BUG_ON(!w->board);
  bk_loop_hold_hangups(true);
  atomic_store(&w->board->slots[w->number].begun, true);
  return true;
}
