// SPDX-License-Identifier: Apache-2.0
// What proxies say of those they forward: addresses, networks, X-Forwarded-For, PROXY headers. The
// first byte chooses; what is accepted must come out of its own text again.
#include "broker/host/peer.h"

#define MUST(condition) BX_BUG_ON(!(condition))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_again(const struct bk_peer *p) {
  char text[BK_PEER_TEXT];
  struct bk_peer again;
  MUST(p->family == BK_FAMILY_V4 || p->family == BK_FAMILY_V6);
  bk_peer_text(p, text, sizeof text);
  MUST(bk_peer_parse(&again, bx_slice_of(text)));
  MUST(again.family == p->family && again.port == p->port && memcmp(again.ip, p->ip, sizeof p->ip) == 0);
}

static void address(struct bx_slice text) {
  struct bk_peer p;
  if (bk_peer_parse(&p, text)) same_again(&p);
}

static void network(struct bx_slice text) {
  struct bk_network n;
  if (!bk_network_parse(&n, text) || n.family == BK_FAMILY_UNIX) return;
  struct bk_peer p = {.family = n.bits < 96 ? BK_FAMILY_V6 : BK_FAMILY_V4};
  MUST(n.bits <= 128);
  memcpy(p.ip, n.ip, sizeof p.ip);
  MUST(bk_network_has(&n, &p));
  p.ip[n.bits < 128 ? n.bits / 8 : 0] ^= 0x80 >> n.bits % 8;   // the first bit behind the prefix
  MUST(n.bits == 128 || bk_network_has(&n, &p));
}

static void forwarded(struct bx_slice header) {
  static const char *const list[] = {"10.0.0.0/8", "2001:db8::/32"};
  static const struct cf_strings networks = {list, 2};
  struct bk_proxies proxies;
  struct bk_peer p;
  MUST(bk_peer_parse(&p, BX_LIT("10.0.0.1")));
  bk_proxies_init(&proxies, networks);
  bk_peer_forwarded(&p, header, &proxies);
  same_again(&p);
  bk_proxies_fini(&proxies);
}

// However the bytes are cut, the verdict is the same.
static void header(struct bx_slice bytes) {
  struct bk_peer p = {.family = BK_FAMILY_UNIX}, q = p;
  long whole = bk_proxy_header(bytes, &p);
  MUST(whole >= -1 && whole <= (long)bytes.len && whole <= BK_PROXY_HEADER_MAX);
  if (p.family != BK_FAMILY_UNIX) same_again(&p);
  for (size_t len = 0; len < bytes.len; len++) {
    long part = bk_proxy_header((struct bx_slice){bytes.at, len}, &q);
    if (part == 0) continue;
    MUST(part == whole);
    return;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  struct bx_slice rest = {(const char *)data + 1, size - 1};
  switch (data[0] & 3) {
  case 0: address(rest); break;
  case 1: network(rest); break;
  case 2: forwarded(rest); break;
  case 3: header(rest); break;
  }
  return 0;
}
