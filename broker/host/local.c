// SPDX-License-Identifier: Apache-2.0
#include "broker/host/local.h"

#include <strings.h>

static bool slice_is(struct bx_slice s, const char *text) {
  return s.len == strlen(text) && strncasecmp(s.at, text, s.len) == 0;
}

// A dotted address of 127/8. A name that only begins like one is not.
static bool is_loopback_number(struct bx_slice s) {
  if (!bx_slice_starts(s, BX_LIT("127."))) return false;
  for (size_t i = 0; i < s.len; i++)
    if (s.at[i] != '.' && (s.at[i] < '0' || s.at[i] > '9')) return false;
  return true;
}

static struct bx_slice without_port(struct bx_slice host) {
  if (host.len > 0 && host.at[0] == '[') {
    const char *close = memchr(host.at, ']', host.len);
    return close ? (struct bx_slice){host.at, (size_t)(close + 1 - host.at)} : host;
  }
  const char *colon = memrchr(host.at, ':', host.len);
  return colon ? (struct bx_slice){host.at, (size_t)(colon - host.at)} : host;
}

static bool names_this_machine(struct bx_slice host_and_port) {
  struct bx_slice host = without_port(host_and_port);
  return slice_is(host, "localhost") || slice_is(host, "[::1]") || is_loopback_number(host);
}

bool bk_address_is_local(const char *address) {
  struct bx_slice s = bx_slice_of(address);
  return bx_slice_starts(s, BX_LIT("unix:")) || names_this_machine(s);
}

bool bk_host_is_local(struct bx_slice host) { return host.len == 0 || names_this_machine(host); }

bool bk_host_is_of(struct cf_strings origins, struct bx_slice host) {
  host = without_port(host);
  for (size_t i = 0; i < origins.count; i++) {
    if (strcmp(origins.at[i], "*") == 0) return true;
    const char *mark = strstr(origins.at[i], "://");
    struct bx_slice name = without_port(bx_slice_of(mark ? mark + 3 : ""));
    if (name.len > 0 && name.len == host.len && strncasecmp(name.at, host.at, host.len) == 0) return true;
  }
  return false;
}
