// SPDX-License-Identifier: Apache-2.0
#include "broker/host/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "broker/host/internal.h"

// Not MORA_: those are keys of the configuration.
#define VARIABLE "_MORA_WORKER"

enum { FIRST_FD = 3, MAX_FDS = 64 };

struct bk_process {
  uv_process_t handle;
  void (*ended)(void *context, struct bk_process *, int status, int signo);
  void *context;
};

static void free_process(uv_handle_t *handle) { bx_free(handle->data); }

static void on_exit_of(uv_process_t *handle, int64_t status, int signo) {
  struct bk_process *p = handle->data;
  p->ended(p->context, p, (int)status, signo);
  uv_close((uv_handle_t *)handle, free_process);
}

// The environment as it is, and one variable more.
static char **environment(char *more) {
  size_t n = 0;
  while (environ[n]) n++;
  char **all = bx_alloc((n + 2) * sizeof *all);
  memcpy(all, environ, n * sizeof *all);
  all[n] = more;
  return all;
}

struct bk_process *bk_process_start(struct bk_loop *loop, const struct bk_process_options *o, char *error,
                                    size_t size) {
  struct bk_process *p = bx_alloc(sizeof *p);
  uv_stdio_container_t stdio[FIRST_FD + MAX_FDS];
  char variable[80];
  BX_BUG_ON(o->fd_count > MAX_FDS);
  snprintf(variable, sizeof variable, VARIABLE "=%u:%zu:%d", o->number, o->fd_count, getpid());
  for (int i = 0; i < FIRST_FD; i++) stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = i};
  for (size_t i = 0; i < o->fd_count; i++)
    stdio[FIRST_FD + i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = o->fds[i]};
  char **env = environment(variable);
  const uv_process_options_t options = {
      .exit_cb = on_exit_of,
      .file = "/proc/self/exe",
      .args = o->argv,
      .env = env,
      .flags = UV_PROCESS_DETACHED,
      .stdio = stdio,
      .stdio_count = (int)(FIRST_FD + o->fd_count),
  };
  p->handle.data = p;
  p->ended = o->ended;
  p->context = o->context;
  int failed = uv_spawn(&loop->uv, &p->handle, &options);
  bx_free(env);
  if (!failed) return p;
  snprintf(error, size, "%s", uv_strerror(failed));
  uv_close((uv_handle_t *)&p->handle, free_process);
  return NULL;
}

int bk_process_id(const struct bk_process *p) { return p->handle.pid; }
void bk_process_signal(struct bk_process *p, int signo) { uv_process_kill(&p->handle, signo); }

bool bk_process_given(struct bk_given *given) {
  const char *text = getenv(VARIABLE);
  char *end;
  if (!text) return false;
  given->number = (unsigned)strtoul(text, &end, 10);
  if (*end != ':') return false;
  given->fd_count = strtoul(end + 1, &end, 10);
  if (*end != ':') return false;
  int parent = (int)strtol(end + 1, NULL, 10);
  unsetenv(VARIABLE);
  if (given->fd_count > MAX_FDS) return false;
  for (size_t i = 0; i < given->fd_count; i++) fcntl(FIRST_FD + (int)i, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) raise(SIGTERM);   // it died before that
  return true;
}
