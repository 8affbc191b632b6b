// SPDX-License-Identifier: Apache-2.0
// A loop, links on it with what they said, and redis-servers of the test's own. One thread: the loop
// runs until what is waited for has happened.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <cmocka.h>

#include "bayeux/buffer.h"
#include "engine-redis/link/internal.h"

struct end;

struct rig {
  uv_loop_t loop;
  struct bx_wheel wheel;
  uv_timer_t tick;
  struct end *ends[2];   // destroyed when the test is over
};
extern struct rig rig;

enum { STEP_TIMEOUT = 2000 };

void turn(void);
uint64_t give_up_at(void);   // on uv_hrtime(); generous

#define until(condition)                                                       \
  for (uint64_t give_up = give_up_at(); !(condition); turn()) {                \
    if (uv_hrtime() > give_up) fail_msg("it never came to this: " #condition); \
  }

// --- one link, and what it has said

struct end {
  struct er_link *link;
  unsigned ups, downs, replies, notices;
  bool is_up;
  char run_id[2][80];   // of the last time it was up, and the time before
  char reason[300], notice[100];
  void (*on_up)(struct end *);
  void (*on_down)(struct end *);
  void (*on_notice)(struct end *);
  void (*on_reply)(struct end *, const struct er_reply *);
  struct bx_buffer text;   // of the last reply, if that was a text or an error
};

struct how {
  bx_millis answer;   // 0: 10 s
  size_t limit;
  bool plain;   // without scripts
  bool real;    // with those of the engine
};

void start(struct end *, const char *url, struct how);
void destroy_link(struct end *);
// A command of words separated by blanks.
bool say(struct end *, const char *words);
// The same, and the text of its reply.
const char *answer(struct end *, const char *words);
void expect_reason(struct end *, const char *part);

// --- servers

struct server {
  pid_t pid;
  int port;   // 0: not used
  char folder[64], socket[96], url[64];
};
extern struct server servers[2];

int free_port(void);
void place(struct server *);
// `options`: further words for redis-server. Also starts one that was killed, in its place.
void launch(struct server *, const char *options);
void end_server(struct server *);
struct server *redis(const char *options);

// --- every test; afterwards nothing is left: no timer, no handle, no process, no file
int rig_open(void **state);
int rig_close(void **state);

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)
