// SPDX-License-Identifier: Apache-2.0
// Layers: what overrides what, which keys exist, flags and variables.
#include "tests/unit/test_config.h"

// One key in all four layers; then without the highest, and so on.
static void the_documented_layer_wins(void **state) {
  (void)state;
  struct attempt a;
  const char *variables[] = {"MORA_APP__NUMBER=3", NULL};
  write_file("a.json", "{\"app\": {\"number\": 1}}");
  write_file("b.json", "{\"app\": {\"number\": 2}}");

  load_good(&a, variables, ARGUMENTS("--set", "app.number=5", "--config", "a.json", "--set", "app.number=6"));
  assert_int_equal(a.t.number, 6);
  assert_string_equal(cf_origin(a.set, "app.number"), "--set");
  done(&a);
  load_good(&a, variables, ARGUMENTS("--config", "a.json", "--config", "b.json"));
  assert_int_equal(a.t.number, 3);
  assert_string_equal(cf_origin(a.set, "app.number"), "MORA_APP__NUMBER");
  done(&a);
  load_good(&a, NOTHING, ARGUMENTS("--config=a.json", "--config=b.json"));
  assert_int_equal(a.t.number, 2);
  assert_string_equal(cf_origin(a.set, "app.number"), "b.json:1");
  done(&a);
  load_good(&a, NOTHING, ARGUMENTS("--config", "b.json", "--config", "a.json"));
  assert_int_equal(a.t.number, 1);
  done(&a);
  load_good(&a, NOTHING, ARGUMENTS());
  assert_int_equal(a.t.number, 4);
  done(&a);
}

static void files_add_up_key_by_key(void **state) {
  (void)state;
  struct attempt a;
  write_file("a.json", "{\"app\": {\"number\": 1, \"text\": \"a\", \"list\": [\"x\"]}}");
  write_file("b.json", "{\"app\": {\"number\": 2, \"list\": [\"y\"], \"flag\": false}}");
  load_good(&a, NOTHING, ARGUMENTS("--config", "a.json", "--config", "b.json"));
  assert_int_equal(a.t.number, 2);
  assert_string_equal(a.t.text, "a");
  assert_false(a.t.flag);
  assert_int_equal(a.t.list.count, 1);
  assert_string_equal(a.t.list.at[0], "y");
  done(&a);
}

static void null_is_the_default(void **state) {
  (void)state;
  struct attempt a;
  write_file("a.json", "{\"app\": {\"number\": 1, \"plain\": \"a\", \"deep\": {\"timeout\": \"1s\"}}}");
  write_file("b.json", "{\"app\": {\"number\": null, \"deep\": null}}");
  load_good(&a, NOTHING, ARGUMENTS("--config", "a.json", "--config", "b.json", "--set", "app.plain=null"));
  assert_int_equal(a.t.number, 4);
  assert_int_equal(a.t.duration, 60000);
  assert_null(a.t.plain);
  assert_string_equal(cf_origin(a.set, "app.number"), "default");
  done(&a);
}

static void a_set_object_replaces(void **state) {
  (void)state;
  struct attempt a;
  write_file("a.json",
             "{\"app\": {\"number\": 1, \"text\": \"a\", \"deep\": {\"timeout\": \"1s\", \"message_size\": \"1MB\"}}}");
  load_good(&a, NOTHING, ARGUMENTS("--config", "a.json", "--set", "app.deep={\"timeout\": \"2s\"}"));
  assert_int_equal(a.t.duration, 2000);
  assert_int_equal(a.t.size, 65536);
  assert_int_equal(a.t.number, 1);
  done(&a);
  load_good(&a, NOTHING, ARGUMENTS("--config", "a.json", "--set=app={\"flag\": false}", "--set=app.number=9"));
  assert_int_equal(a.t.duration, 60000);
  assert_string_equal(a.t.text, "hello");
  assert_false(a.t.flag);
  assert_int_equal(a.t.number, 9);
  done(&a);
}

static void set_values(void **state) {
  (void)state;
  struct attempt a;
  load_good(&a, NOTHING,
            ARGUMENTS("--set", "app.text=a=b", "--set", "app.plain=\"5\"", "--set", "app.list=[\"x\", \"y\", \"z\"]",
                      "--set", "app.any=not json", "--set", "app.rules={\"a\": 1}", "--set", "admin.passwords=p"));
  assert_string_equal(a.t.text, "a=b");
  assert_string_equal(a.t.plain, "5");
  assert_int_equal(a.t.list.count, 3);
  same_text(a.t.any, "\"not json\"");
  same_text(a.t.rules, "[{\"a\": 1}]");
  assert_int_equal(a.t.secrets.count, 1);
  done(&a);
}

static void variables(void **state) {
  (void)state;
  struct attempt a;
  load_good(&a,
            VARIABLES("PATH=/bin", "MORA_APP__DEEP__MESSAGE_SIZE=2MB", "MORA_APP__DEEP={\"timeout\": \"9s\"}",
                      "MORA_APP__LIST=[\"p\", \"q\"]", "MORA_APP__PLAIN=", "MORA_ENGINE__TYPE=redis"),
            ARGUMENTS());
  assert_int_equal(a.t.size, 2u << 20);   // the group is read before its key
  assert_int_equal(a.t.duration, 9000);
  assert_string_equal(a.t.list.at[1], "q");
  assert_string_equal(a.t.plain, "");
  assert_int_equal(a.t.mode, 1);
  done(&a);
  load_good(&a, NULL, ARGUMENTS());
  done(&a);
}

static void variables_that_are_no_keys(void **state) {
  (void)state;
  struct attempt a;
  load_good(&a,
            VARIABLES("MORA_NO_INSTALL=1", "MORA_ADMIN=http://x", "MORA_TOKEN=t", "MORA_TEST_SLOW=1",
                      "MORA_BENCH_CLIENTS=9", "MORA=x", "MORA_SERVICE_HOST=10.0.0.1", "MORA_BROKER_SERVICE_PORT=80",
                      "MORA_BROKER_SERVICE_PORT_HTTP=80", "MORA_PORT=tcp://10.0.0.1:80",
                      "MORA_BROKER_PORT_8000_TCP=tcp://10.0.0.1:8000", "MORA_BROKER_PORT_8000_TCP_ADDR=10.0.0.1"),
            ARGUMENTS());
  done(&a);
  refused(VARIABLES("MORA_APP__LISETN=x"), ARGUMENTS(),
          "MORA_APP__LISETN: names no key; did you mean MORA_APP__LISTEN?\n");
  refused(VARIABLES("MORA_APP_NUMBER=5"), ARGUMENTS(),
          "MORA_APP_NUMBER: names no key; did you mean MORA_APP__NUMBER?\n");
  refused(VARIABLES("MORA_app__number=5"), ARGUMENTS(),
          "MORA_app__number: names no key; did you mean MORA_APP__NUMBER?\n");
  refused(VARIABLES("MORA_SOMETHING_ELSE=5"), ARGUMENTS(), "MORA_SOMETHING_ELSE: names no key\n");
  refused(VARIABLES("MORA_NO_INSTALLS=5"), ARGUMENTS(), "MORA_NO_INSTALLS: names no key\n");
  refused(VARIABLES("MORA_BROKER_PORT=80"), ARGUMENTS(), "MORA_BROKER_PORT: names no key\n");
  refused(VARIABLES("MORA_A\nB\xff=80"), ARGUMENTS(), "MORA_A\\nB\xef\xbf\xbd: names no key\n");
  refused(VARIABLES("MORA_=80"), ARGUMENTS(), "MORA_: names no key\n");
  refused(
      VARIABLES("MORA_APP__NUMBER=x"), ARGUMENTS(),
      "MORA_APP__NUMBER: app.number: expected a whole number without a unit, at least 1, at most 64; found \"x\"\n");
  refused(VARIABLES("MORA_APP={\"numbr\": 5}"), ARGUMENTS(),
          "MORA_APP: app.numbr: unknown key; did you mean app.number?\n");
}

static void unknown_keys(void **state) {
  (void)state;
  refused_file("{\"app\": {\n\"nubmer\": 5}}", "mora.json:2: app.nubmer: unknown key; did you mean app.number?\n");
  refused_file("{\n\"ap\": {\"number\": 5}}", "mora.json:2: ap: unknown key; did you mean app?\n");
  refused_file("{\"apy\": {\"number\": 5}}", "mora.json:1: apy: unknown key; did you mean app?\n");
  refused_file("{\"message_size\": \"1MB\"}",
               "mora.json:1: message_size: unknown key; did you mean app.deep.message_size?\n");
  refused_file("{\"something\": 1}", "mora.json:1: something: unknown key\n");
  refused_file("{\"\": 1}", "mora.json:1: unknown key\n");
  refused_file("{\"a\\nb\\u0000\": 1}", "mora.json:1: a\\nb\\u0000: unknown key\n");
  refused_set("app.deep.timout=1s", "--set: app.deep.timout: unknown key; did you mean app.deep.timeout?\n");
  refused_set("App.Number=1", "--set: App.Number: unknown key; did you mean app.number?\n");
  refused_set("app.number.x=1",
              "--set: app.number.x: unknown key; app.number has no keys inside, it is set as a whole\n");
  refused_set("app.table.x=1", "--set: app.table.x: unknown key; app.table has no keys inside, it is set as a whole\n");
}

static void dotted_and_double_keys(void **state) {
  (void)state;
  refused_file("{\n\"app.number\": 5}",
               "mora.json:2: app.number: a key with a dot; in JSON write objects: {\"broker\": {\"listen\": ...}}\n");
  refused_set("app={\"deep.timeout\": \"1s\"}",
              "--set: app.deep.timeout: a key with a dot; in JSON write objects: {\"broker\": {\"listen\": ...}}\n");
  refused_file("{\"app\": {\"number\": 5,\n\n\"number\": 5}}",
               "mora.json:3: app.number: duplicate key; it is also on line 1\n");
  refused_file("{\"app\": {\"number\": 5},\n\"app\": {\"flag\": true}}",
               "mora.json:2: app: duplicate key; it is also on line 1\n");
  refused_file("{\"app\": {\"number\": 5, \"n\\u0075mber\": 6}}",
               "mora.json:1: app.number: duplicate key; it is also on line 1\n");
  refused_file("{\"app\": {\"rules\": [1, {\"a\": 1,\n\"a\": 2}]}}",
               "mora.json:2: app.rules[1].a: duplicate key; it is also on line 1\n");
  refused_file("{\"app\": {\"any\": {\"b\": 1, \"c\": 2, \"b\": 3}}}",
               "mora.json:1: app.any.b: duplicate key; it is also on line 1\n");
  refused_file("{\"api\": {\"x\": 1, \"x\": 2}}", "mora.json:1: api.x: duplicate key; it is also on line 1\n");
  refused_set("app={\"number\": 1, \"number\": 2}", "--set: app.number: duplicate key\n");
}

static void bad_json(void **state) {
  (void)state;
  struct attempt a;
  static const struct {
    const char *text, *place;
  } bad[] = {
      {"{\n  \"app\": {\"number\" 5}}", "mora.json:2:20: not JSON: "},
      {"{\n  // a comment\n  \"app\": {}}", "mora.json:2:3: not JSON: "},
      {"{\"app\": {}} {}", "mora.json:1:13: not JSON: "},
      {"{\"app\": {},}", "mora.json:1:12: not JSON: "},
      {"", "mora.json:1:1: not JSON: "},
      {"\xef\xbb\xbf{}", "mora.json:1:1: not JSON: "},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    write_file("mora.json", bad[i].text);
    load(&a, NOTHING, ARGUMENTS("--config", "mora.json"));
    assert_null(a.set);
    if (!bx_slice_starts(bx_buffer_view(&a.error), bx_slice_of(bad[i].place)) || a.error.at[a.error.len - 1] != '\n') {
      fail_msg("%s: %.*s", bad[i].place, (int)a.error.len, a.error.at);
    }
    done(&a);
  }
}

static void files_that_cannot_be_read(void **state) {
  (void)state;
  refused(NOTHING, ARGUMENTS("--config", "none.json"), "none.json: cannot read it: No such file or directory\n");
  refused(NOTHING, ARGUMENTS("--config", "."), ".: cannot read it: Is a directory\n");
  refused(NOTHING, ARGUMENTS("--config", "/dev/zero"), "/dev/zero: longer than 16 MB, so no configuration\n");
}

static void foreign_keys_are_skipped(void **state) {
  (void)state;
  struct attempt a;
  write_file("mora.json", "{\"api\": {\"listen\": 5}, \"engine\": {\"type\": \"redis\", \"pods\": {\"a\": 1}}}");
  load_good(&a, VARIABLES("MORA_API__TOKENS=x", "MORA_API={}", "MORA_ENGINE__PODS__X=1"),
            ARGUMENTS("--config", "mora.json", "--set", "api.x.y=1", "--set", "engine.pods={\"b\": 1}"));
  assert_int_equal(a.t.mode, 1);
  done(&a);
  refused_file("{\"apis\": {\"listen\": 5}}", "mora.json:1: apis: unknown key; did you mean api?\n");
  refused_file("{\"engine\": {\"pod\": 5}}", "mora.json:1: engine.pod: unknown key; did you mean engine.pods?\n");
}

static void all_mistakes_at_once(void **state) {
  (void)state;
  write_file("a.json", "{\"app\": {\"number\": \"x\",\n\"flag\": 1, \"txt\": \"\"}}");
  write_file("b.json", "{");
  refused(VARIABLES("MORA_APP__TEXTS=1"),
          ARGUMENTS("--confg", "a.json", "--config", "a.json", "--config", "none.json", "--set", "app.flag=2"),
          "--confg: no such option; did you mean --config?\n"
          "a.json: unexpected; files are given by --config FILE\n"
          "a.json:1: app.number: expected a whole number without a unit, at least 1, at most 64; found \"x\"\n"
          "a.json:2: app.flag: expected true or false; found 1\n"
          "a.json:2: app.txt: unknown key; did you mean app.text?\n"
          "none.json: cannot read it: No such file or directory\n"
          "MORA_APP__TEXTS: names no key; did you mean MORA_APP__TEXT?\n"
          "--set: app.flag: expected true or false; found 2\n");
}

static void flags(void **state) {
  (void)state;
  refused(NOTHING, ARGUMENTS("--config"), "--config: expected FILE behind it\n");
  refused(NOTHING, ARGUMENTS("--set"), "--set: expected KEY=VALUE behind it\n");
  refused(NOTHING, ARGUMENTS("--set", "app.text"), "--set: app.text: expected KEY=VALUE, such as broker.timeout=60s\n");
  refused(NOTHING, ARGUMENTS("--set", "=x"), "--set: expected KEY=VALUE, such as broker.timeout=60s\n");
  refused(NOTHING, ARGUMENTS("--help=x"), "--help: takes no value\n");
  refused(NOTHING, ARGUMENTS("-v"), "-v: no such option; --help lists them\n");
  refused(NOTHING, ARGUMENTS("--versoin"), "--versoin: no such option; did you mean --version?\n");
  refused(NOTHING, ARGUMENTS("=x"), "=x: unexpected; files are given by --config FILE\n");
  refused(NOTHING, ARGUMENTS(""), ": unexpected; files are given by --config FILE\n");
}

static void actions(void **state) {
  (void)state;
  static const struct {
    const char *flag;
    enum cf_action action;
  } known[] = {
      {"--check-config", CF_CHECK},
      {"--help", CF_HELP},
      {"--version", CF_VERSION},
      {"--print-config", CF_PRINT},
      {"--print-config-reference", CF_PRINT_REFERENCE},
  };
  struct attempt a;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    load_good(&a, NOTHING, ARGUMENTS(known[i].flag, "--set", "app.number=7"));
    assert_int_equal(a.action, known[i].action);
    done(&a);
  }
  // A broken file does not stand in the way of help, but of a check.
  write_file("mora.json", "{");
  load_good(&a, VARIABLES("MORA_X=1"), ARGUMENTS("--check-config", "--config", "mora.json", "--help"));
  assert_int_equal(a.action, CF_HELP);
  done(&a);
  load(&a, NOTHING, ARGUMENTS("--check-config", "--config", "mora.json"));
  assert_null(a.set);
  done(&a);
}

// Several structs, each filled from its own table; keys of one group may come from both.
static void sections(void **state) {
  (void)state;
  struct {
    int before;
    uint64_t age;
  } one;
  struct {
    const char *level;
  } two;
  const struct cf_option first[] = {
      {.key = "journal.age", .type = CF_DURATION, .offset = sizeof one - sizeof one.age, .standard = "5m"}, {0}};
  const struct cf_option second[] = {{.key = "journal.level", .type = CF_STRING, .standard = "info"}, {0}};
  struct cf_section both[] = {{first, &one}, {second, &two}};
  struct bx_buffer error = {0};
  enum cf_action action;
  const char *arguments[] = {"x", "--set", "journal={\"age\": \"1s\", \"level\": \"warn\"}", NULL};
  one.before = 77;
  struct cf_set *set = cf_load(both, 2, NULL, 3, (char **)(uintptr_t)arguments, NULL, &action, &error);
  assert_non_null(set);
  assert_int_equal(one.before, 77);
  assert_int_equal(one.age, 1000);
  assert_string_equal(two.level, "warn");
  cf_free(set);
  cf_free(NULL);
}

// "age" is near to nothing, and which of two keys of that name was meant cannot be told.
static void no_suggestion_among_namesakes(void **state) {
  (void)state;
  bx_millis ages[2];
  const struct cf_option rows[] = {{.key = "journal.age", .type = CF_DURATION, .standard = "5m"},
                                   {.key = "cache.age", .type = CF_DURATION, .offset = 8, .standard = "5m"},
                                   {0}};
  struct cf_section section = {rows, ages};
  struct bx_buffer error = {0};
  enum cf_action action;
  const char *arguments[] = {"x", "--set", "age=1s", NULL};
  assert_null(cf_load(&section, 1, NULL, 3, (char **)(uintptr_t)arguments, NULL, &action, &error));
  same_text(bx_buffer_view(&error), "--set: age: unknown key\n");
  bx_buffer_fini(&error);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_documented_layer_wins),
      cmocka_unit_test(files_add_up_key_by_key),
      cmocka_unit_test(null_is_the_default),
      cmocka_unit_test(a_set_object_replaces),
      cmocka_unit_test(set_values),
      cmocka_unit_test(variables),
      cmocka_unit_test(variables_that_are_no_keys),
      cmocka_unit_test(unknown_keys),
      cmocka_unit_test(dotted_and_double_keys),
      cmocka_unit_test(bad_json),
      cmocka_unit_test(files_that_cannot_be_read),
      cmocka_unit_test(foreign_keys_are_skipped),
      cmocka_unit_test(all_mistakes_at_once),
      cmocka_unit_test(flags),
      cmocka_unit_test(actions),
      cmocka_unit_test(sections),
      cmocka_unit_test(no_suggestion_among_namesakes),
  };
  return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
