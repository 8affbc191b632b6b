// SPDX-License-Identifier: Apache-2.0
// "127.0.0.1:8000", "[::1]:8000", "unix:/path" to socket addresses and back.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "broker/host/internal.h"

static bool parse_port(const char *text, uint16_t *port) {
  if (*text < '0' || *text > '9') return false;
  char *end;
  unsigned long n = strtoul(text, &end, 10);
  if (*end || n > 65535) return false;
  *port = htons((uint16_t)n);
  return true;
}

static bool parse_unix(struct bk_address *a, const char *path) {
  struct sockaddr_un *un = (struct sockaddr_un *)&a->socket.storage;
  size_t len = strlen(path);
  if (len == 0 || len >= sizeof un->sun_path) return false;
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, len + 1);
  a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
  a->unix_path = path;
  return true;
}

bool bk_address_parse(struct bk_address *a, const char *text) {
  *a = (struct bk_address){0};
  if (strncmp(text, "unix:", 5) == 0) return parse_unix(a, text + 5);
  const char *colon = strrchr(text, ':');
  char host[64];
  if (!colon) return false;
  bool v6 = text[0] == '[';
  if (v6 && (colon == text || colon[-1] != ']')) return false;
  const char *begin = text + (v6 ? 1 : 0), *end = colon - (v6 ? 1 : 0);
  if (end <= begin || (size_t)(end - begin) >= sizeof host) return false;
  memcpy(host, begin, (size_t)(end - begin));
  host[end - begin] = '\0';
  if (v6) {
    a->socket.v6.sin6_family = AF_INET6;
    a->len = sizeof a->socket.v6;
    return inet_pton(AF_INET6, host, &a->socket.v6.sin6_addr) == 1 && parse_port(colon + 1, &a->socket.v6.sin6_port);
  }
  a->socket.v4.sin_family = AF_INET;
  a->len = sizeof a->socket.v4;
  if (strcmp(host, "localhost") == 0) strcpy(host, "127.0.0.1");
  return inet_pton(AF_INET, host, &a->socket.v4.sin_addr) == 1 && parse_port(colon + 1, &a->socket.v4.sin_port);
}

void bk_address_text(const struct sockaddr *address, char *out, size_t size) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    snprintf(out, size, "%s:%u", host, ntohs(v4->sin_port));
  } else if (address->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    snprintf(out, size, "[%s]:%u", host, ntohs(v6->sin6_port));
  } else {
    snprintf(out, size, "unix");
  }
}
