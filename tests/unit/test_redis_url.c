// SPDX-License-Identifier: Apache-2.0
// engine.url: what is read, what is refused and in which words, and that no password is shown.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine-redis/url.h"

struct good {
  const char *text, *user, *password, *host, *path;
  unsigned port, db;
  const char *shown;
};

static const struct good goods[] = {
    {"redis://h:1", NULL, NULL, "h", NULL, 1, 0, "redis://h:1/0"},
    {"redis://h", NULL, NULL, "h", NULL, 6379, 0, "redis://h:6379/0"},
    {"redis://h/", NULL, NULL, "h", NULL, 6379, 0, "redis://h:6379/0"},
    {"redis://127.0.0.1:65535/15", NULL, NULL, "127.0.0.1", NULL, 65535, 15, "redis://127.0.0.1:65535/15"},
    {"redis://[::1]:7000/2", NULL, NULL, "::1", NULL, 7000, 2, "redis://[::1]:7000/2"},
    {"redis://[fe80::1%eth0]", NULL, NULL, "fe80::1%eth0", NULL, 6379, 0, "redis://[fe80::1%eth0]:6379/0"},
    {"redis://u:p@redis-1.example.org:1/3", "u", "p", "redis-1.example.org", NULL, 1, 3,
     "redis://redis-1.example.org:1/3"},
    {"redis://:p@h:1", NULL, "p", "h", NULL, 1, 0, "redis://h:1/0"},
    {"redis://u:a:b@c/d@h:1", "u", "a:b@c/d", "h", NULL, 1, 0, "redis://h:1/0"},
    {"redis://u%3a:%40%2F%3f%23@h:1/9", "u:", "@/?#", "h", NULL, 1, 9, "redis://h:1/9"},
    {"redis+unix:///run/redis.sock", NULL, NULL, NULL, "/run/redis.sock", 0, 0, "redis+unix:///run/redis.sock?db=0"},
    {"redis+unix:///a%20b?db=7", NULL, NULL, NULL, "/a b", 0, 7, "redis+unix:///a b?db=7"},
    {"redis+unix:///a@b/c", NULL, NULL, NULL, "/a@b/c", 0, 0, "redis+unix:///a@b/c?db=0"},
    {"redis+unix://u:p@/s?db=1", "u", "p", NULL, "/s", 0, 1, "redis+unix:///s?db=1"},
    {"redis+sentinel://a/m", NULL, NULL, NULL, NULL, 0, 0, "redis+sentinel://a:26379/m?db=0"},
    {"redis+sentinel://u:p/@a:1,[::1]:2,c/m?db=3", "u", "p/", NULL, NULL, 0, 3,
     "redis+sentinel://a:1,[::1]:2,c:26379/m?db=3"},
};

static bool same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

static void read_and_shown(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof goods / sizeof *goods; i++) {
    const struct good *g = &goods[i];
    struct er_url first, u;
    const char *wrong = er_url_parse(&first, bx_slice_of(g->text));
    if (wrong) fail_msg("%s: %s", g->text, wrong);
    er_url_copy(&u, &first);
    er_url_fini(&first);
    if (!same(u.user, g->user) || !same(u.password, g->password) || !same(u.place.host, g->host) ||
        !same(u.path, g->path) || u.place.port != g->port || u.db != g->db)
      fail_msg("%s: user %s password %s host %s path %s port %u db %u", g->text, u.user, u.password, u.place.host,
               u.path, u.place.port, u.db);
    struct bx_buffer shown = {0};
    er_url_show(&u, &shown);
    if (!bx_slice_equal(bx_buffer_view(&shown), bx_slice_of(g->shown)))
      fail_msg("%s is shown as %.*s", g->text, (int)shown.len, shown.at);
    bx_buffer_fini(&shown);
    er_url_fini(&u);
  }
}

static const char *const bads[][2] = {
    {"", "redis://host:port"},
    {"redis:/h:1", "redis://host:port"},
    {"REDIS://h:1", "redis://host:port"},
    {"http://h:1", "redis://host:port"},
    {"rediss://h:1", "TLS sidecar"},
    {"redis+sentinel://", "the name of the primary"},
    {"redis+sentinel://a:1,b:2", "the name of the primary"},
    {"redis+sentinel://a:1,b:2/", "the name of the primary"},
    {"redis+sentinel:///m", "a host"},
    {"redis+sentinel://1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,0,1/m", "more than 16"},
    {"redis+sentinel://a:1,/m", "a host"},
    {"redis+sentinel://a:x/m", "a port"},
    {"redis+sentinel://u@a:1/m", "a user without a password"},
    {"redis+sentinel://a:1/m?dd=0", "only ?db"},
    {"redis+sentinel://a:1/m?db=x", "only ?db"},
    {"redis://", "a host"},
    {"redis://:1", "a host"},
    {"redis://h:", "a port"},
    {"redis://h:0", "a port"},
    {"redis://h:65536", "a port"},
    {"redis://h:1x", "a port"},
    {"redis://h:123456", "a port"},
    {"redis://::1", "a host"},
    {"redis://[::1", "["},
    {"redis://[::1]6379", "host:port"},
    {"redis://[::1]:", "a port"},
    {"redis://[]:1", "a host"},
    {"redis://h:1/x", "a database"},
    {"redis://h:1/65536", "a database"},
    {"redis://h:1/1/2", "a database"},
    {"redis://h:1?db=1", "no ?"},
    {"redis://h:1#x", "no ?"},
    {"redis://u@h:1", "without a password"},
    {"redis://u:@h:1", "an empty password"},
    {"redis://u:%4@h:1", "a password"},
    {"redis://u:%zz@h:1", "a password"},
    {"redis://u:%00@h:1", "a password"},
    {"redis://%:p@h:1", "a user"},
    {"redis://a b:1", "blanks"},
    {"redis://a\tb:1", "blanks"},
    {"redis://h,i:1", "letters"},
    {"redis+unix://", "redis+unix:///path"},
    {"redis+unix:///", "redis+unix:///path"},
    {"redis+unix://run/x", "redis+unix:///path"},
    {"redis+unix:///x?db=", "?db="},
    {"redis+unix:///x?db=1&a=2", "?db="},
    {"redis+unix:///x?a=1", "?db="},
    {"redis+unix:///x%", "a path"},
};

static void refused(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
    struct er_url u;
    const char *wrong = er_url_parse(&u, bx_slice_of(bads[i][0]));
    if (!wrong || !strstr(wrong, bads[i][1])) fail_msg("%s: %s", bads[i][0], wrong ? wrong : "is good");
    assert_null(u.place.host);
    assert_int_equal(u.sentinel_count, 0);
    assert_null(u.password);
  }
}

static void lengths(void **state) {
  (void)state;
  struct er_url u;
  char text[700];
  struct bx_slice at;
  memset(text, 'x', sizeof text);
  memcpy(text, "redis+unix:///", 14);
  at = (struct bx_slice){text, 13 + 107};
  assert_null(er_url_parse(&u, at));
  assert_int_equal(strlen(u.path), 107);
  er_url_fini(&u);
  at.len++;
  assert_string_equal(er_url_parse(&u, at), "a path that is too long for a unix socket");
  memcpy(text, "redis://xxxxxx", 14);
  at.len = 512;
  assert_null(er_url_parse(&u, at));
  er_url_fini(&u);
  at.len = 513;
  assert_string_equal(er_url_parse(&u, at), "longer than 512 bytes");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(read_and_shown),
      cmocka_unit_test(refused),
      cmocka_unit_test(lengths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
