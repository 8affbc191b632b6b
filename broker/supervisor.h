// SPDX-License-Identifier: Apache-2.0
// broker.workers = N: one process that owns the listening sockets, and N that serve them.
//
// The supervisor opens every socket, by TCP one per worker and address, and never closes one while it
// runs: connections that reach a worker which has just died wait for the next one. The admin listener's
// sockets are shared likewise, and whichever worker answers, answers for all (admin/numbers.h, and the
// engine for what the nodes know). It starts a worker again that has ended, at once the first time and
// with growing pauses when it keeps ending. Signals are passed on; it ends when the last worker has.
//
// Workers are nodes of their own, and meet in Redis like nodes on other machines.
#pragma once

#include <signal.h>

#include "broker/options.h"

// Drains, as the first SIGTERM does; to the supervisor, or where there are no workers. It may come often.
#define BK_DRAIN_SIGNAL SIGUSR1

// The whole life of the supervisor: the exit status.
int bk_supervise(const struct bk_options *, char **argv);

// What a worker was given by its supervisor.
struct bk_board;
struct bk_worker {
  unsigned number;   // from 0
  const int *fds;    // of broker.listen in their order, then of admin.listen
  size_t fd_count;
  struct bk_board *board;   // of numbers
};
// True in a worker. Before anything else is done.
bool bk_worker_init(struct bk_worker *);
