// SPDX-License-Identifier: Apache-2.0
// How every daemon starts: options read, logging set, descriptors raised.
//
//   int status;
//   struct cf_set *set = bk_daemon_start(&(struct bk_daemon){...}, argc, argv, &status);
//   if (!set) return status;
#pragma once

#include "config/config.h"

struct bk_logging {
  int level;    // enum bk_level
  int format;   // 0 text, 1 json
};

// logging.*: the section that bk_daemon_start() adds; here for what prints tables.
extern const struct cf_option bk_logging_options[];

#define BK_DAEMON_SECTIONS 16   // at most, with the added one

struct bk_daemon {
  struct cf_program program;
  const struct cf_section *sections;
  size_t count;
  const char *const *foreign;   // keys of other daemons, see config.h
  // What keys mean together: appends a line per fault, see cf_origin(). NULL: nothing to check.
  void (*check)(const struct cf_set *, struct bx_buffer *faults);
};

// The configuration in force: log and limits are set, the daemon may begin. NULL: there is nothing
// to run, *status is for exit(): 0 after --help and the like (printed to standard output), 2 after a
// fault (printed to standard error).
struct cf_set *bk_daemon_start(const struct bk_daemon *, int argc, char **argv, int *status);

// As many descriptors as the process may have, within reason.
void bk_daemon_raise_descriptors(void);
// Warns when there are not enough for so many clients, each with a connection of its own.
void bk_daemon_check_descriptors(uint64_t clients);
