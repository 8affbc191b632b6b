// SPDX-License-Identifier: Apache-2.0
#include "broker/host/daemon.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/host/log.h"
#include "broker/host/loop.h"

// Where a limit is practically none, tables sized by it would be gigabytes.
#define MAX_DESCRIPTORS (1 << 20)
#define MIN_DESCRIPTORS 64

static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const formats[] = {"text", "json", NULL};

const struct cf_option bk_logging_options[] = {
    {.key = "logging.level",
     .type = CF_ENUM,
     .offset = offsetof(struct bk_logging, level),
     .standard = "\"info\"",
     .choices = levels,
     .doc = "The least important events that are logged: debug, info, warn or error."},
    {.key = "logging.format",
     .type = CF_ENUM,
     .offset = offsetof(struct bk_logging, format),
     .standard = "\"text\"",
     .choices = formats,
     .doc = "text for people, json for log collectors: one object a line."},
    {0}};

void bk_daemon_raise_descriptors(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlim_t wanted = limit.rlim_max < MAX_DESCRIPTORS ? limit.rlim_max : MAX_DESCRIPTORS;
  if (limit.rlim_cur == wanted) return;
  limit.rlim_cur = wanted;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) bk_warn("descriptors_not_raised", bk_u("wanted", wanted));
}

// Below that the loop, listeners, engine and log take all there are. True when there are enough.
static bool enough_descriptors(struct bx_buffer *fault) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= MIN_DESCRIPTORS) return true;
  bx_buffer_printf(fault,
                   "the process may have %ju descriptors, and needs %d at least, and one for each client: raise "
                   "the limit (ulimit -n, LimitNOFILE)\n",
                   (uintmax_t)limit.rlim_cur, MIN_DESCRIPTORS);
  return false;
}

void bk_daemon_check_descriptors(uint64_t clients) {
  enum { OURS = 64 };   // listeners, Redis, logs, admin
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= clients + OURS) return;
  bk_warn("descriptors.low", bk_u("limit", limit.rlim_cur), bk_u("wanted", clients + OURS),
          bk_s("hint", "raise it (ulimit -Hn, LimitNOFILE= of systemd), or lower limits.clients"));
}

static int print(FILE *to, struct bx_buffer *text, int status) {
  fwrite(text->at, 1, text->len, to);
  bx_buffer_fini(text);
  return fflush(to) == 0 ? status : 1;
}

struct cf_set *bk_daemon_start(const struct bk_daemon *d, int argc, char **argv, int *status) {
  struct cf_section sections[BK_DAEMON_SECTIONS];
  struct bk_logging logging;
  enum cf_action action;
  struct bx_buffer text = {0};
  BX_BUG_ON(d->count >= BK_DAEMON_SECTIONS);
  bk_loop_hold_hangups(true);   // until the loop takes them
  memcpy(sections, d->sections, d->count * sizeof *sections);
  sections[d->count] = (struct cf_section){bk_logging_options, &logging};
  struct cf_set *set = cf_load(sections, d->count + 1, d->foreign, argc, argv, environ, &action, &text);
  if (set && d->check && (action == CF_RUN || action == CF_CHECK)) d->check(set, &text);
  if (!set || text.len > 0) {
    cf_free(set);
    *status = print(stderr, &text, 2);
    return NULL;
  }
  if (action != CF_RUN) {
    cf_answer(set, action, &d->program, &text);
    cf_free(set);
    *status = print(stdout, &text, 0);
    return NULL;
  }
  bk_log_configure((enum bk_level)logging.level, logging.format == 1);
  bk_daemon_raise_descriptors();
  if (!enough_descriptors(&text)) {
    cf_free(set);
    *status = print(stderr, &text, 1);
    return NULL;
  }
  bx_buffer_fini(&text);
  return set;
}
