// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/reference/listen.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

int listen_on(unsigned port, const char *program) {
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof address;
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
    perror(program);
    exit(1);
  }
  getsockname(fd, (struct sockaddr *)&address, &len);
  printf("listening %u\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}
