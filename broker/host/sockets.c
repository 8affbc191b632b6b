// SPDX-License-Identifier: Apache-2.0
// Making sockets that listen: for one process, or for several that share an address.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/host/internal.h"

// A socket file that nobody listens on is left from a process that died: it may be replaced.
static bool unix_is_stale(const struct bk_address *a) {
  struct stat st;
  if (stat(a->unix_path, &st) != 0 || !S_ISSOCK(st.st_mode)) return false;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  bool stale = connect(fd, &a->socket.generic, a->len) != 0 && errno == ECONNREFUSED;
  close(fd);
  return stale;
}

// Nobody can connect before listen(): the file may be given its mode in between.
static int open_socket(const struct bk_address *a, unsigned mode, bool share) {
  int on = 1;
  int fd = socket(a->socket.generic.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (!a->unix_path) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!a->unix_path && share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (a->socket.generic.sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  int failed = bind(fd, &a->socket.generic, a->len);
  if (failed && errno == EADDRINUSE && a->unix_path && unix_is_stale(a)) {
    unlink(a->unix_path);
    failed = bind(fd, &a->socket.generic, a->len);
  }
  if (!failed && a->unix_path && mode) failed = chmod(a->unix_path, (mode_t)mode);
  if (!failed && listen(fd, SOMAXCONN) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

// What to do about it, behind what the system says.
static const char *advice(int error, const struct bk_address *a) {
  struct stat st;
  switch (error) {
  case EADDRINUSE:
    if (!a->unix_path) return ": another process listens there; stop it (ss -ltnp names it), or take another port";
    if (stat(a->unix_path, &st) == 0 && !S_ISSOCK(st.st_mode)) return ": a file is there that is no socket";
    return ": another process listens there";
  case EADDRNOTAVAIL: return ": no interface of this machine has the address (ip address lists them)";
  case EACCES:
    if (a->unix_path) return ": this user may not make files in the folder";
    return ": ports below 1024 need the capability CAP_NET_BIND_SERVICE";
  case ENOENT: return ": the folder does not exist";
  case EMFILE: return ": raise the limit of descriptors (ulimit -n, LimitNOFILE)";
  default: return "";
  }
}

int bk_socket_open(const struct bk_address *a, const char *asked, unsigned mode, bool share, char *error, size_t size) {
  int fd = open_socket(a, mode, share);
  int why = errno;
  if (fd < 0) snprintf(error, size, "%s: %s%s", asked, strerror(why), advice(why, a));
  return fd;
}

char *bk_socket_address(int fd, const struct bk_address *a, const char *asked) {
  if (a->unix_path) return bk_copy_text(asked);
  struct sockaddr_storage bound;
  socklen_t len = sizeof bound;
  char text[64];
  getsockname(fd, (struct sockaddr *)&bound, &len);
  bk_address_text((struct sockaddr *)&bound, text, sizeof text);
  return bk_copy_text(text);
}

bool bk_socket_find_file(const char *path, struct bk_socket_file *file) {
  struct stat st;
  if (lstat(path, &st) != 0) return false;
  *file = (struct bk_socket_file){st.st_dev, st.st_ino};
  return true;
}

void bk_socket_remove_file(const char *path, const struct bk_socket_file *file) {
  struct bk_socket_file there;
  if (bk_socket_find_file(path, &there) && there.device == file->device && there.inode == file->inode) unlink(path);
}

// -- for several processes -------------------------------------------------------------------------

// With SO_REUSEPORT a second broker would join in silently: the first socket is tried without it.
static bool is_free(const struct bk_address *a, const char *asked, char *error, size_t size) {
  if (a->unix_path) return true;
  int fd = bk_socket_open(a, asked, 0, false, error, size);
  if (fd < 0) return false;
  close(fd);
  return true;
}

static bool parse(const char *text, struct bk_address *out, char *error, size_t size) {
  if (bk_address_parse(out, text)) return true;
  snprintf(error, size, "%s: expected an address such as 127.0.0.1:8000, [::1]:8000 or unix:/path", text);
  return false;
}

bool bk_sockets_open(struct bk_sockets *s, char *error, size_t size) {
  struct bk_address address;
  char *real = bk_copy_text(s->address);
  size_t n = 0;
  bool good = parse(real, &address, error, size) && is_free(&address, real, error, size);
  for (; good && n < s->count; n++) {
    // A port that was left to the kernel is the same for all.
    good = parse(real, &address, error, size);
    if (!good) break;
    s->fds[n] = address.unix_path && n > 0 ? fcntl(s->fds[0], F_DUPFD_CLOEXEC, 3)
                                           : bk_socket_open(&address, real, s->unix_mode, true, error, size);
    good = s->fds[n] >= 0;
    if (!good) break;
    if (address.unix_path && n == 0) bk_socket_find_file(address.unix_path, &s->file);
    char *bound = bk_socket_address(s->fds[n], &address, real);
    bx_free(real);
    real = bound;
  }
  if (good) bk_info("listening", bk_s("listener", s->name), bk_s("address", real));
  while (!good && n > 0) close(s->fds[--n]);
  bx_free(real);
  return good;
}

void bk_sockets_close(const struct bk_sockets *s) {
  struct bk_address address;
  for (size_t i = 0; i < s->count; i++) close(s->fds[i]);
  if (bk_address_parse(&address, s->address) && address.unix_path) bk_socket_remove_file(address.unix_path, &s->file);
}
