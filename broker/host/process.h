// SPDX-License-Identifier: Apache-2.0
// A child that runs this same program with the same arguments, and descriptors that it is given.
//
// The child knows that it is one by a variable, see bk_process_given(). It leads a process group of its
// own, so that Ctrl-C reaches the parent alone, and gets SIGTERM when the parent dies.
#pragma once

#include "bayeux/base.h"
#include "broker/host/loop.h"

struct bk_process;

struct bk_process_options {
  char **argv;       // as main() got it
  unsigned number;   // the child's
  const int *fds;    // it finds them as 3, 4, ...
  size_t fd_count;
  // It has ended: by `signo`, or with `status` when that is 0. The pointer is dead when this returns.
  void (*ended)(void *context, struct bk_process *, int status, int signo);
  void *context;
};

// NULL: the reason is in `error`. Must end before the loop does.
struct bk_process *bk_process_start(struct bk_loop *, const struct bk_process_options *, char *error, size_t size);
int bk_process_id(const struct bk_process *);
void bk_process_signal(struct bk_process *, int signo);

// In a child, once, before anything else: true, and what it was given. The descriptors do not reach
// children of its own.
struct bk_given {
  unsigned number;
  size_t fd_count;   // descriptors 3, 4, ...
};
bool bk_process_given(struct bk_given *);
