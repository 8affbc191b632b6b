// SPDX-License-Identifier: Apache-2.0
// Configuration, log, loop, listeners, drain of the two gateways.
#include "api-bridge/daemon.h"

#include "broker/host/daemon.h"
#include "broker/host/log.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void reasons(void *context, struct bk_health *h) {
  struct ab_daemon *d = context;
  const char *why = d->owed.draining ? "draining" : d->not_ready(d->context);
  if (why) bk_health_reason(h, why);
}

int ab_daemon_configure(struct ab_daemon *d, const struct cf_section *sections, size_t count, int argc, char **argv) {
  const struct bk_daemon start = {
      .program = d->program, .sections = sections, .count = count, .foreign = d->foreign, .check = d->check};
  int status = 0;
  d->config = bk_daemon_start(&start, argc, argv, &status);
  if (!d->config) return status;
  bk_info("start", bk_s("version", MORA_VERSION));
  d->loop = bk_loop_create();
  d->gathered.limit = AB_GATHERED;
  d->health = (struct bk_health){.reasons = reasons, .context = d};
  return -1;
}

int ab_daemon_fault(const struct ab_daemon *d, const char *key, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: %s: ", cf_origin(d->config, key), key);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  return 2;
}

// -- running ---------------------------------------------------------------------------------------

bool ab_daemon_listen(struct ab_daemon *d, struct cf_strings addresses, const struct bk_listener_options *options) {
  for (size_t i = 0; i < addresses.count; i++) {
    struct bk_listener_options each = *options;
    char error[256] = "too many addresses";
    each.address = addresses.at[i];
    each.gathered = &d->gathered;
    struct bk_listener *l = NULL;
    if (d->listener_count < AB_MAX_LISTENERS) l = bk_listener_open(d->loop, &each, error, sizeof error);
    if (!l) {
      bk_error("listen.failed", bk_s("listener", each.name), bk_s("address", each.address), bk_s("error", error));
      return false;
    }
    d->listeners[d->listener_count++] = l;
  }
  return true;
}

static void look_whether_drained(struct bk_turn_hook *hook) {
  struct ab_daemon *d = bx_container_of(hook, struct ab_daemon, hook);
  if (d->owed.draining && d->owed.count == 0 && (!d->leave || d->leave(d->context))) bk_loop_stop(d->loop);
}

static void drain_is_over(struct bx_timer *t) {
  struct ab_daemon *d = bx_container_of(t, struct ab_daemon, drain_timer);
  bk_warn("drain.cut_short", bk_u("requests", d->owed.count));
  bk_loop_stop(d->loop);
}

static void on_signal(void *context, int signo) {
  struct ab_daemon *d = context;
  if (d->owed.draining) _exit(128 + signo);
  d->owed.draining = true;
  bk_info("draining", bk_u("requests", d->owed.count));
  for (size_t i = 0; i < d->listener_count; i++) bk_listener_stop(d->listeners[i]);
  bx_wheel_set(bk_loop_wheel(d->loop), &d->drain_timer, bk_loop_now(d->loop) + AB_DRAIN_TIME);
}

// Nothing is read again; by itself SIGHUP would end the process.
static void on_hangup(void *context, int signo) {
  (void)context;
  (void)signo;
  bk_info("reload.nothing");
}

void ab_daemon_run(struct ab_daemon *d) {
  bx_timer_init(&d->drain_timer, drain_is_over);
  d->hook.turn = look_whether_drained;
  bk_loop_add_hook(d->loop, &d->hook);
  bk_loop_on_signal(d->loop, SIGTERM, on_signal, d);
  bk_loop_on_signal(d->loop, SIGINT, on_signal, d);
  bk_loop_on_signal(d->loop, SIGHUP, on_hangup, d);
  bk_loop_run(d->loop);
  bx_wheel_cancel(bk_loop_wheel(d->loop), &d->drain_timer);
  bk_loop_remove_hook(d->loop, &d->hook);
}

void ab_daemon_close(struct ab_daemon *d) {
  while (d->listener_count > 0) bk_listener_close(d->listeners[--d->listener_count]);
}

void ab_daemon_fini(struct ab_daemon *d) {
  ab_daemon_close(d);
  bk_info("stop", bk_u("requests", d->owed.count));
  bk_loop_destroy(d->loop);
  cf_free(d->config);
}
