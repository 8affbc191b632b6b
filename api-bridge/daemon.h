// SPDX-License-Identifier: Apache-2.0
// The life that mora-api and mora-web have in common: configuration, log, loop, listeners, drain.
//
//   struct ab_daemon d = {.program = {...}, ...};
//   int status = ab_daemon_configure(&d, sections, count, argc, argv);
//   if (status >= 0) return status;         nothing to run: answered, or a fault that was printed
//   ... parts on d.loop ...
//   if (!ab_daemon_listen(&d, addresses, &options)) ...
//   ab_daemon_run(&d);                      until a SIGTERM has drained
//   ... the parts end ...
//   ab_daemon_fini(&d);
//
// Drain: /readyz turns red, listeners stop, and the loop ends when no answer is owed and `leave` is
// done, or after AB_DRAIN_TIME. A second SIGTERM or SIGINT ends the process at once.
#pragma once

#include "bayeux/wheel.h"
#include "broker/host/gathered.h"
#include "broker/host/health.h"
#include "broker/host/http.h"
#include "broker/host/loop.h"
#include "broker/publish/owed.h"
#include "config/config.h"

enum { AB_DRAIN_TIME = 12000, AB_MAX_LISTENERS = 16, AB_GATHERED = 64 << 20 };   // ms; bytes

struct ab_daemon {
  struct cf_program program;
  const char *const *foreign;                                       // keys of other daemons, see config.h
  void (*check)(const struct cf_set *, struct bx_buffer *faults);   // as in struct bk_daemon
  const char *(*not_ready)(void *context);                          // why, for /readyz; NULL: it is ready
  bool (*leave)(void *context);   // at the end of the drain, in each turn until it returns true; NULL: at once
  void *context;

  // From here on its own.
  struct cf_set *config;
  struct bk_loop *loop;
  struct bk_health health;   // for BK_HEALTH_ROUTES
  struct bk_listener *listeners[AB_MAX_LISTENERS];
  size_t listener_count;
  struct bk_gathered gathered;
  struct bk_owed owed;   // handlers count here what drain waits for
  struct bk_turn_hook hook;
  struct bx_timer drain_timer;
};

// -1: go on, d->loop is there. Otherwise the exit status: 0, or 2 with the fault on standard error.
int ab_daemon_configure(struct ab_daemon *, const struct cf_section *sections, size_t count, int argc, char **argv);

// Prints a fault of the configuration that concerns several keys; returns 2, the exit status.
int ab_daemon_fault(const struct ab_daemon *, const char *key, const char *format, ...) BX_PRINTF(3, 4);

// Opens a listener per address, `options` without its address. False: one could not be, which was logged.
bool ab_daemon_listen(struct ab_daemon *, struct cf_strings addresses, const struct bk_listener_options *options);

void ab_daemon_run(struct ab_daemon *);

// Closes what listens. The parts behind the routes may end between this and fini.
void ab_daemon_close(struct ab_daemon *);
void ab_daemon_fini(struct ab_daemon *);
