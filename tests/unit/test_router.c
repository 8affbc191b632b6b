// SPDX-License-Identifier: Apache-2.0
// Which route a request takes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/host/internal.h"

static void handle(void *context, struct bk_exchange *x) { (void)context, (void)x; }
static const struct bk_websocket_ops *upgrade(void *context, struct bk_exchange *x, void **user) {
  (void)context, (void)x, (void)user;
  return NULL;
}
static bool matches(void *context, struct bx_slice path) { return bx_slice_starts(path, bx_slice_of(context)); }
static char mount[] = "/mount";

static const struct bk_route routes[] = {
    {.methods = BK_GET, .path = "/a", .handle = handle},
    {.methods = BK_POST, .path = "/a", .handle = handle},
    {.methods = BK_GET, .path = "/rooms/:room", .handle = handle},
    {.methods = BK_GET, .path = "/rooms/:room/users/:user", .handle = handle, .upgrade = upgrade},
    {.methods = BK_GET | BK_PUT, .match = matches, .handle = handle, .context = mount},
    {.path = "/socket", .upgrade = upgrade},
    {0},
};

static int find(enum bk_method method, const char *path, struct bx_slice *parameters) {
  int status;
  const struct bk_route *r = bk_router_find(routes, method, bx_slice_of(path), parameters, &status);
  return r ? (int)(r - routes) : -status;
}

static int find_upgrade(const char *path) {
  int status;
  struct bx_slice parameters[BK_MAX_PARAMETERS];
  const struct bk_route *r = bk_router_find_upgrade(routes, bx_slice_of(path), parameters, &status);
  return r ? (int)(r - routes) : -status;
}

static void paths_and_methods(void **state) {
  (void)state;
  struct bx_slice p[BK_MAX_PARAMETERS];
  assert_int_equal(find(BK_GET, "/a", p), 0);
  assert_int_equal(find(BK_POST, "/a", p), 1);
  assert_int_equal(find(BK_DELETE, "/a", p), -405);
  assert_int_equal(find(BK_GET, "/a/", p), -404);
  assert_int_equal(find(BK_GET, "/A", p), -404);
  assert_int_equal(find(BK_GET, "", p), -404);
  assert_int_equal(find(BK_PUT, "/mountain", p), 4);
  assert_int_equal(find(BK_POST, "/mount/x", p), -405);
  assert_int_equal(find(BK_GET, "/socket", p), -404);   // nothing but an upgrade there
}

static void parameters(void **state) {
  (void)state;
  struct bx_slice p[BK_MAX_PARAMETERS];
  assert_int_equal(find(BK_GET, "/rooms/r1", p), 2);
  assert_true(bx_slice_equal(p[0], BX_LIT("r1")));
  assert_int_equal(find(BK_GET, "/rooms/r1/users/u2", p), 3);
  assert_true(bx_slice_equal(p[0], BX_LIT("r1")));
  assert_true(bx_slice_equal(p[1], BX_LIT("u2")));
  assert_int_equal(find(BK_GET, "/rooms/", p), -404);
  assert_int_equal(find(BK_GET, "/rooms//users/u2", p), -404);
  assert_int_equal(find(BK_GET, "/rooms/r1/users", p), -404);
  assert_int_equal(find(BK_GET, "/rooms/r1/users/u2/x", p), -404);
}

static void parameters_by_name(void **state) {
  (void)state;
  struct bk_exchange x = {.route = &routes[3], .parameters = {BX_LIT("r1"), BX_LIT("u2")}};
  assert_true(bx_slice_equal(bk_exchange_parameter(&x, "room"), BX_LIT("r1")));
  assert_true(bx_slice_equal(bk_exchange_parameter(&x, "user"), BX_LIT("u2")));
  assert_int_equal(bk_exchange_parameter(&x, "roo").len, 0);
  assert_int_equal(bk_exchange_parameter(&x, "users").len, 0);
  x.route = &routes[4];
  assert_int_equal(bk_exchange_parameter(&x, "room").len, 0);
}

static void upgrades(void **state) {
  (void)state;
  assert_int_equal(find_upgrade("/socket"), 5);
  assert_int_equal(find_upgrade("/rooms/r/users/u"), 3);
  assert_int_equal(find_upgrade("/a"), -400);
  assert_int_equal(find_upgrade("/nowhere"), -404);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(paths_and_methods),
      cmocka_unit_test(parameters),
      cmocka_unit_test(parameters_by_name),
      cmocka_unit_test(upgrades),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
