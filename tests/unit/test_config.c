// SPDX-License-Identifier: Apache-2.0
// Values: every type, every way to get one wrong, and the message that says so.
#include "tests/unit/test_config.h"

static void defaults(void **state) {
  (void)state;
  struct attempt a;
  load_good(&a, NOTHING, ARGUMENTS());
  assert_int_equal(a.action, CF_RUN);
  assert_string_equal(a.t.text, "hello");
  assert_null(a.t.plain);
  assert_null(a.t.secret);
  assert_true(a.t.flag);
  assert_int_equal(a.t.number, 4);
  assert_int_equal(a.t.duration, 60000);
  assert_int_equal(a.t.size, 65536);
  assert_int_equal(a.t.mode, 0);
  assert_int_equal(a.t.list.count, 2);
  assert_string_equal(a.t.list.at[1], "b");
  assert_int_equal(a.t.secrets.count, 0);
  assert_int_equal(a.t.any.len, 0);
  same_text(a.t.rules, "[]");
  assert_string_equal(cf_origin(a.set, "app.text"), "default");
  done(&a);
}

static void every_type(void **state) {
  (void)state;
  struct attempt a;
  write_file("mora.json", "{\"app\": {\"text\": \"x\\u00e9\\n\", \"plain\": \"\", \"flag\": false, \"number\": 64,\n"
                          "\"deep\": {\"timeout\": \"5s\", \"message_size\": \"1GB\"},\n"
                          "\"list\": [], \"listen\": [\"[::1]:0\", \"unix:/run/m\"],\n"
                          "\"any\": [1.10, {\"b\": 1,  \"a\": \"\\ud800\"}], \"rules\": [{}], \"table\": {\"x\": 1}},\n"
                          "\"engine\": {\"type\": \"redis\"},\n"
                          "\"admin\": {\"token\": \"t\", \"passwords\": [\"p\", \"q\"]}}");
  load_good(&a, NOTHING, ARGUMENTS("--config", "mora.json"));
  assert_string_equal(a.t.text, "x\xc3\xa9\n");
  assert_string_equal(a.t.plain, "");
  assert_false(a.t.flag);
  assert_int_equal(a.t.number, 64);
  assert_int_equal(a.t.duration, 5000);
  assert_int_equal(a.t.size, 1u << 30);
  assert_int_equal(a.t.mode, 1);
  assert_int_equal(a.t.list.count, 0);
  assert_int_equal(a.t.addresses.count, 2);
  assert_string_equal(a.t.addresses.at[1], "unix:/run/m");
  assert_string_equal(a.t.secret, "t");
  assert_string_equal(a.t.secrets.at[1], "q");
  same_text(a.t.any, "[1.10, {\"b\": 1,  \"a\": \"\\ud800\"}]");
  same_text(a.t.table, "{\"x\": 1}");
  assert_string_equal(cf_origin(a.set, "app.deep.timeout"), "mora.json:2");
  assert_string_equal(cf_origin(a.set, "admin.token"), "mora.json:6");
  done(&a);
}

static void units(void **state) {
  (void)state;
  static const struct {
    const char *setting;
    uint64_t duration, size;
  } good[] = {
      {"app.deep.timeout=250ms", 250, 65536},         {"app.deep.timeout=10m", 600000, 65536},
      {"app.deep.timeout=1h", 3600000, 65536},        {"app.deep.timeout=0s", 0, 65536},
      {"app.deep.timeout=\"7s\"", 7000, 65536},       {"app.deep.message_size=1024B", 60000, 1024},
      {"app.deep.message_size=3MB", 60000, 3u << 20},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    struct attempt a;
    load_good(&a, NOTHING, ARGUMENTS("--set", good[i].setting));
    assert_int_equal(a.t.duration, good[i].duration);
    assert_int_equal(a.t.size, good[i].size);
    done(&a);
  }
}

#define DURATION \
  "--set: app.deep.timeout: expected a duration with its unit (ms, s, m, h, d), such as \"30s\", at most 1h; found "
#define SIZE                                                                                                      \
  "--set: app.deep.message_size: expected a size with its unit (B, KB, MB, GB), such as \"64KB\", at least 1KB; " \
  "found "
#define NUMBER "--set: app.number: expected a whole number without a unit, at least 1, at most 64; found "

static void bad_units(void **state) {
  (void)state;
  refused_set("app.deep.timeout=60", DURATION "60\n");
  refused_set("app.deep.timeout=0", DURATION "0\n");
  refused_set("app.deep.timeout=\"60\"", DURATION "\"60\"\n");
  refused_set("app.deep.timeout=5sec", DURATION "\"5sec\"\n");
  refused_set("app.deep.timeout=5 s", DURATION "\"5 s\"\n");
  refused_set("app.deep.timeout=1.5s", DURATION "\"1.5s\"\n");
  refused_set("app.deep.timeout=-5s", DURATION "\"-5s\"\n");
  refused_set("app.deep.timeout=s", DURATION "\"s\"\n");
  refused_set("app.deep.timeout=", DURATION "\"\"\n");
  refused_set("app.deep.timeout=64KB", DURATION "\"64KB\"\n");
  refused_set("app.deep.timeout=2h", DURATION "\"2h\"\n");
  refused_set("app.deep.timeout=1d", DURATION "\"1d\"\n");
  refused_set("app.deep.timeout=18446744073709551616s", DURATION "\"18446744073709551616s\"\n");
  refused_set("app.deep.timeout=18446744073709552s", DURATION "\"18446744073709552s\"\n");   // 64 bits and 384 ms
  refused_set("app.deep.message_size=65536", SIZE "65536\n");
  refused_set("app.deep.message_size=64kb", SIZE "\"64kb\"\n");
  refused_set("app.deep.message_size=64K", SIZE "\"64K\"\n");
  refused_set("app.deep.message_size=100B", SIZE "\"100B\"\n");
  refused_set("app.number=5s", NUMBER "\"5s\"\n");
  refused_set("app.number=\"5\"", NUMBER "\"5\"\n");
  refused_set("app.number=5.0", NUMBER "5.0\n");
  refused_set("app.number=1e1", NUMBER "1e1\n");
  refused_set("app.number=-1", NUMBER "-1\n");
  refused_set("app.number=0", NUMBER "0\n");
  refused_set("app.number=65", NUMBER "65\n");
  refused_set("app.number=18446744073709551617", NUMBER "18446744073709551617\n");   // 64 bits and 1
  refused_set("app.number=18446744073709551621", NUMBER "18446744073709551621\n");   // 64 bits and 5
}

static void wrong_types(void **state) {
  (void)state;
  refused_file("{\n \"app\": {\n  \"text\": 5\n }\n}", "mora.json:3: app.text: expected a text; found 5\n");
  refused_file("{\"app\": {\"text\":\n {}}}", "mora.json:2: app.text: expected a text; found an object\n");
  refused_file("{\"app\": {\"flag\": \"true\"}}", "mora.json:1: app.flag: expected true or false; found \"true\"\n");
  refused_file("{\"app\": {\"list\": [\"a\",\n\n 5]}}",
               "mora.json:3: app.list: expected a text or a list of texts; found 5\n");
  refused_file("{\"app\": {\"list\": {}}}",
               "mora.json:1: app.list: expected a text or a list of texts; found an object\n");
  refused_file("{\"app\": {\"table\": [1]}}", "mora.json:1: app.table: expected an object; found a list\n");
  refused_file("{\"app\":\n5}", "mora.json:1: app: expected an object that holds its keys\n");
  refused_file("[]", "mora.json:1: expected an object such as {\"broker\": {...}}\n");
  refused_set("app.text=5", "--set: app.text: expected a text; found 5; in double quotes it is a text\n");
  refused_set("app.flag=1", "--set: app.flag: expected true or false; found 1\n");
  refused_set("app=5", "--set: app: expected an object that holds its keys\n");
  refused_set("app={\"text\"}", "--set: app: expected an object; what was given is not JSON\n");
  refused_set("app.table={x}",
              "--set: app.table: expected an object; found \"{x}\"; it is not JSON and was taken for a text\n");
  refused_set("app.text=\"a\\u0000b\"",
              "--set: app.text: expected a text without NUL characters; found \"a\\u0000b\"\n");
  refused_set("app.text=\xff", "--set: app.text: expected UTF-8 text\n");
}

static void choices(void **state) {
  (void)state;
  refused_set("engine.type=rediss",
              "--set: engine.type: expected one of \"memory\", \"redis\"; found \"rediss\"; did you mean \"redis\"?\n");
  refused_set("engine.type=kafka", "--set: engine.type: expected one of \"memory\", \"redis\"; found \"kafka\"\n");
  refused_set("engine.type=1", "--set: engine.type: expected one of \"memory\", \"redis\"; found 1\n");
}

// The row's own check names the item at fault by its line.
static void checks(void **state) {
  (void)state;
  refused_file("{\"app\": {\"listen\": [\"127.0.0.1:1\",\n\"127.0.0.1\"]}}",
               "mora.json:2: app.listen: expected an address: \"127.0.0.1:8000\", \"[::1]:8000\" or \"unix:/path\"; "
               "found \"127.0.0.1\"\n");
  refused_file("{\"app\": {\"rules\": [{\"a\": 1},\n{\"a\": 2},\n{\"a\": \"bad\"}]}}",
               "mora.json:3: app.rules: expected rules that are not bad; found an object\n");
  refused_file("{\"app\": {\"rules\": [\"good\",\n\"bad\"]}}",
               "mora.json:2: app.rules: expected rules that are not bad; found \"bad\"\n");
  refused_set("app.rules=bad", "--set: app.rules: expected rules that are not bad; found \"bad\"\n");
}

static void lists_of_one(void **state) {
  (void)state;
  struct attempt a;
  write_file("mora.json", "{\"app\": {\"list\": \"x\", \"rules\": {\"a\": 1}}, \"admin\": {\"passwords\": \"p\"}}");
  load_good(&a, VARIABLES("MORA_APP__LISTEN=[::1]:8000"), ARGUMENTS("--config", "mora.json"));
  assert_int_equal(a.t.list.count, 1);
  assert_string_equal(a.t.list.at[0], "x");
  assert_int_equal(a.t.addresses.count, 1);
  assert_string_equal(a.t.addresses.at[0], "[::1]:8000");
  assert_int_equal(a.t.secrets.count, 1);
  same_text(a.t.rules, "[{\"a\": 1}]");
  done(&a);
}

static void secrets_stay_secret(void **state) {
  (void)state;
  refused_set("admin.token=12345",
              "--set: admin.token: expected a text; found a value that is no text; in double quotes it is a text\n");
  refused_set("admin.token=", "--set: admin.token: expected a secret that is not empty; found a text\n");
  refused_set("admin.passwords=[\"p\", \"\"]",
              "--set: admin.passwords: expected a secret that is not empty; found a text\n");
  refused_set("admin.token=***", "--set: admin.token: expected the secret itself: *** stands for one when a "
                                 "configuration is printed; found a text\n");
  refused_set("engine.url=redis://u:***@h/0",
              "--set: engine.url: expected the secret itself: *** stands for one when a "
              "configuration is printed; found \"redis://***@h/0\"\n");
  refused_set("app.listen=redis:\\/\\/u:pa/ss@h:1/0@x",
              "--set: app.listen: expected an address: \"127.0.0.1:8000\", \"[::1]:8000\" or \"unix:/path\"; found "
              "\"redis:\\\\/\\\\/u:pa/ss@h:1/0@x\"\n");
  refused_set("app.listen=redis://u:pa/ss@h:1/0",
              "--set: app.listen: expected an address: \"127.0.0.1:8000\", \"[::1]:8000\" or \"unix:/path\"; found "
              "\"redis://***@h:1/0\"\n");
}

static void long_values_are_cut(void **state) {
  (void)state;
  // 59 bytes with the quote, then two-byte characters: the cut falls between two of them.
  refused_set("app.flag=0123456789012345678901234567890123456789012345678901234567\xc3\xa9\xc3\xa9\xc3\xa9",
              "--set: app.flag: expected true or false; found "
              "\"0123456789012345678901234567890123456789012345678901234567...\n");
}

static void addresses(void **state) {
  (void)state;
  static const char *const good[] = {"127.0.0.1:8000", "localhost:0", "[::1]:65535", "a-b.c_d:1", "unix:/run/x"};
  static const char *const bad[] = {
      "",       "8000",    ":8000",    "localhost", "localhost:",  "localhost:65536", "localhost:x", "::1:80",
      "[::1]",  "[::1]80", "[::g]:80", "[]:80",     "1.2.3:80",    "1.2.3.999:1",     "unix:",       "unix:x",
      "unix:/", "a b:80",  "-a:80",    "a:-1",      "http://a:80", "a:80/",           "a:000080",    "a:80:80",
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_null(cf_check_address(bx_slice_of(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (!cf_check_address(bx_slice_of(bad[i]))) fail_msg("accepted: %s", bad[i]);
  }
  char path[200] = "unix:/";
  memset(path + 6, 'x', 106);   // with its slash 107: the longest that sun_path holds
  assert_null(cf_check_address(bx_slice_of(path)));
  path[112] = 'x';
  assert_non_null(cf_check_address(bx_slice_of(path)));
}

static void urls_of_services(void **state) {
  (void)state;
  static const char *const good[] = {"http://a", "https://a", "http://a/b?c=d", "https://u@[::1]:80/"};
  static const char *const bad[] = {"",          "a",          "ftp://a",    "http://",      "https://", "http:///x",
                                    "https:///", "http://a b", "http://a\n", "http://a\x7f", "HTTP://a"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) assert_null(cf_check_service_url(bx_slice_of(good[i])));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (!cf_check_service_url(bx_slice_of(bad[i]))) fail_msg("accepted: %s", bad[i]);
  }
}

static void urls_and_mounts(void **state) {
  (void)state;
  static const char *const urls[] = {"http://a", "https://a.b:8002", "http://[::1]:80/x/y", "http://[::1]",
                                     "http://127.0.0.1/"};
  static const char *const no_urls[] = {"",
                                        "a",
                                        "ftp://a",
                                        "http://",
                                        "http:///x",
                                        "http://a:b/",
                                        "http://u@a/",
                                        "http://a/ b",
                                        "http://a/#f",
                                        "http://a/?b",
                                        "http://a?b",
                                        "http://a\x7f",
                                        "HTTP//a"};
  static const char *const mounts[] = {"/", "/bayeux", "/a/b-c.d/~e", "/a..b"};
  static const char *const no_mounts[] = {"",      "bayeux", "/a/", "//",   "/a//b", "/./a",
                                          "/a/..", "/a?b",   "/a#", "/a b", "/%41"};
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) assert_null(cf_check_http_url(bx_slice_of(urls[i])));
  for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) assert_null(cf_check_mount(bx_slice_of(mounts[i])));
  for (size_t i = 0; i < sizeof no_urls / sizeof *no_urls; i++) {
    if (!cf_check_http_url(bx_slice_of(no_urls[i]))) fail_msg("accepted: %s", no_urls[i]);
  }
  for (size_t i = 0; i < sizeof no_mounts / sizeof *no_mounts; i++) {
    if (!cf_check_mount(bx_slice_of(no_mounts[i]))) fail_msg("accepted: %s", no_mounts[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(every_type),
      cmocka_unit_test(units),
      cmocka_unit_test(bad_units),
      cmocka_unit_test(wrong_types),
      cmocka_unit_test(choices),
      cmocka_unit_test(checks),
      cmocka_unit_test(lists_of_one),
      cmocka_unit_test(secrets_stay_secret),
      cmocka_unit_test(long_values_are_cut),
      cmocka_unit_test(addresses),
      cmocka_unit_test(urls_of_services),
      cmocka_unit_test(urls_and_mounts),
  };
  return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
