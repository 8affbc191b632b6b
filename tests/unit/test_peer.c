// SPDX-License-Identifier: Apache-2.0
// Addresses of peers, networks, X-Forwarded-For and PROXY headers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/peer.h"

static const char *text_of(const struct bk_peer *p) {
  static char text[BK_PEER_TEXT];
  bk_peer_text(p, text, sizeof text);
  return text;
}

static struct bk_peer peer_of(const char *text) {
  struct bk_peer p;
  if (!bk_peer_parse(&p, bx_slice_of(text))) fail_msg("%s should be an address", text);
  return p;
}

static void addresses(void **state) {
  (void)state;
  static const char *const same[] = {
      "10.1.2.3",       "10.1.2.3:80", "0.0.0.0",  "255.255.255.255:65535",
      "2001:db8::1",    "::",          "[::1]:80", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "[2001:db8::1]:1"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
    struct bk_peer p = peer_of(same[i]);
    assert_string_equal(text_of(&p), same[i]);
  }
  struct bk_peer p = peer_of("[2001:DB8::1]");
  assert_string_equal(text_of(&p), "2001:db8::1");
  p = peer_of("[::ffff:10.1.2.3]:5");   // a dual-stack proxy writes it so
  assert_string_equal(text_of(&p), "10.1.2.3:5");
  assert_int_equal(p.family, BK_FAMILY_V4);
  static const char *const bad[] = {"",           "unknown",        "10.1.2",          "10.1.2.3:",
                                    "10.1.2.3:x", "10.1.2.3:65536", "10.1.2.3:000080", "10.1.2.3 ",
                                    " 10.1.2.3",  "_hidden",        "[10.1.2.3]",      "[::1",
                                    "[::1]80",    "[::1]:",         "::1]:80",         "1:2",
                                    "[]",         "1.2.3.4:5:6",    "fe80::1%eth0",    "[",
                                    ":"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (bk_peer_parse(&p, bx_slice_of(bad[i]))) fail_msg("%s should be no address", bad[i]);
}

static bool has(const char *network, const char *peer) {
  struct bk_network n;
  struct bk_peer p = {.family = BK_FAMILY_UNIX};
  if (!bk_network_parse(&n, bx_slice_of(network))) fail_msg("%s should be a network", network);
  if (strcmp(peer, "unix") != 0) p = peer_of(peer);
  return bk_network_has(&n, &p);
}

static void networks(void **state) {
  (void)state;
  assert_true(has("10.0.0.0/8", "10.255.0.1"));
  assert_false(has("10.0.0.0/8", "11.0.0.0"));
  assert_true(has("10.0.0.0/8", "[::ffff:10.1.1.1]"));
  assert_true(has("192.0.2.7", "192.0.2.7:99"));
  assert_false(has("192.0.2.7", "192.0.2.6"));
  assert_true(has("192.0.2.6/31", "192.0.2.7"));
  assert_true(has("0.0.0.0/0", "1.2.3.4"));
  assert_false(has("0.0.0.0/0", "::1"));
  assert_true(has("::/0", "2001:db8::1"));
  assert_false(has("::/0", "1.2.3.4"));
  assert_true(has("2001:db8:8000::/33", "2001:db8:ffff::1"));
  assert_false(has("2001:db8:8000::/33", "2001:db8:7fff::1"));
  assert_true(has("::1", "::1"));
  assert_true(has("unix", "unix"));
  assert_false(has("unix", "127.0.0.1"));
  assert_false(has("0.0.0.0/0", "unix"));
  static const char *const bad[] = {"",
                                    "/8",
                                    "10.0.0.0/",
                                    "10.0.0.0/33",
                                    "10.0.0.0/x",
                                    "10.0.0.1/8",
                                    "::/129",
                                    "::1/127",
                                    "[::1]",
                                    "10.0.0.0:80",
                                    "10/8",
                                    "localhost",
                                    "unix:/x",
                                    "*",
                                    "::ffff:10.0.0.0/104",
                                    "10.0.0.0/8/8",
                                    "10.0.0.0/-1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (!bk_network_check(bx_slice_of(bad[i]))) fail_msg("%s should be no network", bad[i]);
}

static const char *forwarded(const char *socket, const char *header) {
  static const char *const list[] = {"10.0.0.0/8", "2001:db8::/32", "unix"};
  struct bk_proxies proxies;
  struct bk_peer p = {.family = BK_FAMILY_UNIX};
  if (strcmp(socket, "unix") != 0) p = peer_of(socket);
  bk_proxies_init(&proxies, (struct cf_strings){list, 3});
  bk_peer_forwarded(&p, bx_slice_of(header), &proxies);
  bk_proxies_fini(&proxies);
  return text_of(&p);
}

static void x_forwarded_for(void **state) {
  (void)state;
  assert_string_equal(forwarded("10.0.0.1:5", "192.0.2.7"), "192.0.2.7");
  assert_string_equal(forwarded("unix", "192.0.2.7:80"), "192.0.2.7:80");
  assert_string_equal(forwarded("10.0.0.1:5", "  \t2001:dead::1\t "), "2001:dead::1");
  // Only the right-most address that no proxy of ours has was seen by one of ours.
  assert_string_equal(forwarded("10.0.0.1:5", "1.1.1.1, 192.0.2.7"), "192.0.2.7");
  assert_string_equal(forwarded("10.0.0.1:5", "1.1.1.1, 192.0.2.7, 10.9.9.9,[2001:db8::5]:1"), "192.0.2.7");
  assert_string_equal(forwarded("10.0.0.1:5", "10.0.0.3,10.0.0.2"), "10.0.0.3");
  // An untrusted peer may say what it likes.
  assert_string_equal(forwarded("192.0.2.1:5", "1.1.1.1"), "192.0.2.1:5");
  assert_string_equal(forwarded("192.0.2.1:5", "1.1.1.1, 10.0.0.1"), "192.0.2.1:5");
  // No address: what is known by then.
  assert_string_equal(forwarded("10.0.0.1:5", ""), "10.0.0.1:5");
  assert_string_equal(forwarded("10.0.0.1:5", ","), "10.0.0.1:5");
  assert_string_equal(forwarded("10.0.0.1:5", "1.1.1.1, unknown"), "10.0.0.1:5");
  assert_string_equal(forwarded("10.0.0.1:5", "1.1.1.1,, 10.0.0.2"), "10.0.0.2");
}

// What the header makes of 9.9.9.9:9, and how long it is.
static const char *proxied(struct bx_slice bytes, long expected) {
  struct bk_peer p = peer_of("9.9.9.9:9");
  for (size_t len = 0; expected > 0 && len < (size_t)expected; len++) {
    char *exactly = bx_alloc(len + 1);   // so that a sanitizer sees a step too far
    memcpy(exactly, bytes.at, len);
    exactly = bx_realloc(exactly, len ? len : 1);
    assert_int_equal(bk_proxy_header((struct bx_slice){exactly, len}, &p), 0);
    bx_free(exactly);
  }
  assert_string_equal(text_of(&p), "9.9.9.9:9");
  assert_int_equal(bk_proxy_header(bytes, &p), expected);
  return text_of(&p);
}

#define V1(text) ((struct bx_slice){(text), sizeof(text) - 1})

static void version_1(void **state) {
  (void)state;
  assert_string_equal(proxied(V1("PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\nGET /"), 41), "192.0.2.7:56324");
  assert_string_equal(proxied(V1("PROXY TCP6 2001:dead::1 ::1 56324 443\r\n"), 39), "[2001:dead::1]:56324");
  assert_string_equal(proxied(V1("PROXY UNKNOWN\r\n"), 15), "9.9.9.9:9");
  assert_string_equal(proxied(V1("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"), 35), "9.9.9.9:9");
  static const char *const bad[] = {"GET / HTTP/1.1\r\n",
                                    "PROXY\r\n",
                                    "PROXY \r\n",
                                    "PROXY TCP4\r\n",
                                    "PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
                                    "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
                                    "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
                                    "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
                                    "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
                                    "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
                                    "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
                                    "PROXY TCP4 ::1 ::1 1 2\r\n",
                                    "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
                                    "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
                                    "PROXYTCP4",
                                    "\r\n\r\nX"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_string_equal(proxied(bx_slice_of(bad[i]), -1), "9.9.9.9:9");
  char endless[200];
  memset(endless, ' ', sizeof endless);
  memcpy(endless, "PROXY UNKNOWN", 13);
  proxied((struct bx_slice){endless, sizeof endless}, -1);
}

static size_t version_2_header(char *out, unsigned command, unsigned family, const char *addresses, size_t len,
                               size_t extra) {
  memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
  out[12] = (char)command;
  out[13] = (char)family;
  out[14] = (char)((len + extra) >> 8);
  out[15] = (char)(len + extra);
  if (len) memcpy(out + 16, addresses, len);
  memset(out + 16 + len, 3, extra);
  return 16 + len + extra;
}

static void version_2(void **state) {
  (void)state;
  static const char v4[] = {(char)192, 0, 2, 7, 10, 0, 0, 1, (char)0xdc, 4, 1, (char)0xbb};
  static const char v6[36] = {0x20, 1, (char)0xde, (char)0xad, [15] = 1, [31] = 1, [32] = 0x12, 0x34, 0, 80};
  char h[BK_PROXY_HEADER_MAX + 64] = {0};
  size_t len = version_2_header(h, 0x21, 0x11, v4, sizeof v4, 0);
  assert_string_equal(proxied((struct bx_slice){h, len + 5}, (long)len), "192.0.2.7:56324");
  len = version_2_header(h, 0x21, 0x11, v4, sizeof v4, 100);
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "192.0.2.7:56324");
  len = version_2_header(h, 0x21, 0x21, v6, sizeof v6, 0);
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "[2001:dead::1]:4660");
  len = version_2_header(h, 0x20, 0x11, v4, sizeof v4, 0);   // LOCAL: the proxy itself, a health check
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "9.9.9.9:9");
  len = version_2_header(h, 0x20, 0x00, NULL, 0, 0);
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "9.9.9.9:9");
  len = version_2_header(h, 0x21, 0x31, v6, sizeof v6, 180);   // unix
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "9.9.9.9:9");
  len = version_2_header(h, 0x21, 0x11, v4, sizeof v4 - 1, 0);   // too short for its family
  proxied((struct bx_slice){h, len}, -1);
  static const unsigned char bad[][2] = {{0x11, 0x11}, {0x31, 0x11}, {0x22, 0x11}, {0x21, 0x41}, {0x21, 0x13}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    len = version_2_header(h, bad[i][0], bad[i][1], v4, sizeof v4, 0);
    proxied((struct bx_slice){h, len}, -1);
  }
  len = version_2_header(h, 0x21, 0x11, v4, sizeof v4, BK_PROXY_HEADER_MAX - 16 - sizeof v4);
  assert_string_equal(proxied((struct bx_slice){h, len}, (long)len), "192.0.2.7:56324");
  len = version_2_header(h, 0x21, 0x11, v4, sizeof v4, BK_PROXY_HEADER_MAX - 15 - sizeof v4);
  proxied((struct bx_slice){h, len}, -1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(addresses), cmocka_unit_test(networks),
                                     cmocka_unit_test(x_forwarded_for), cmocka_unit_test(version_1),
                                     cmocka_unit_test(version_2)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
