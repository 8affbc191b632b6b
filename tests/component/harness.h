// SPDX-License-Identifier: Apache-2.0
// A loop with one listener on a free port, and a client in a thread of its own that talks to it with
// blocking sockets. The two meet in a pipe of letters: the server notes what happened, the client
// waits for it. A check that fails aborts, whichever thread it is in; so does a wait over DEADLINE.
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "bayeux/buffer.h"
#include "broker/host/http.h"
#include "broker/host/loop.h"

#define DEADLINE 20   // seconds; generous, never reached by a test that passes

#define check(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, __func__, #condition); \
      abort();                                                                              \
    }                                                                                       \
  } while (0)

struct harness {
  struct bk_loop *loop;
  struct bk_listener *listener;
  int port;
  const char *unix_path;
  int notes[2];
  uv_async_t stop;
  uv_async_t call;
  void (*called)(struct harness *);
  void (*client)(struct harness *);
  void *state;   // the test's
};

// address NULL: 127.0.0.1:0
void harness_open(struct harness *, const struct bk_route *routes, const char *address);
void harness_options(struct harness *, const struct bk_route *routes, struct bk_listener_options);
// Runs the loop until `client` has returned.
void harness_run(struct harness *, void (*client)(struct harness *));
void harness_close(struct harness *);

// Server: something happened.
void harness_note(struct harness *, char letter);
// Client: waits until exactly this letter comes next.
void harness_await(struct harness *, char letter);
// Client: runs `f` in the loop's thread.
void harness_call(struct harness *, void (*f)(struct harness *));

// "unix:" and a socket in a new folder; the second removes the folder.
void unix_address(char *address, size_t size);
void unix_address_done(const char *address);

// Sockets of the client.
int dial(struct harness *);
void send_text(int fd, const char *text);
void send_bytes(int fd, const void *at, size_t len);
void read_exactly(int fd, void *at, size_t len);
// 0 at the end of the stream, -1 after a reset; else a number of bytes.
int read_some(int fd, void *at, size_t len);
void close_with_reset(int fd);

// One HTTP answer, with its head and its body (by content-length or chunks).
struct answer {
  int status;
  char head[8192];
  char *body;
  size_t len;
};
void read_answer(int fd, struct answer *);
void read_head(int fd, struct answer *);
bool read_chunk(int fd, struct bx_buffer *out);   // false: the last
bool head_has(const struct answer *, const char *line);
void answer_free(struct answer *);

// In main(argc, argv): all tests, or those that are named.
#define run_test(f)                                                             \
  do {                                                                          \
    bool wanted = argc < 2;                                                     \
    for (int n = 1; n < argc; n++) wanted = wanted || strcmp(argv[n], #f) == 0; \
    if (wanted) fprintf(stderr, "- %s\n", #f);                                  \
    if (wanted) f();                                                            \
  } while (0)
