// SPDX-License-Identifier: Apache-2.0
// What is printed: the configuration in force, the reference, help.
#include "tests/unit/test_config.h"

static const struct cf_program program = {"mora-test", "Tests things."};

static void print(struct attempt *a, struct bx_buffer *out) {
  *out = (struct bx_buffer){0};
  cf_print(a->set, out);
}

static void defaults_as_a_file(void **state) {
  (void)state;
  struct attempt a;
  struct bx_buffer out;
  load_good(&a, NOTHING, ARGUMENTS());
  print(&a, &out);
  same_text(bx_buffer_view(&out), "{\n"
                                  "  \"app\": {\n"
                                  "    \"text\": \"hello\",\n"
                                  "    \"plain\": null,\n"
                                  "    \"flag\": true,\n"
                                  "    \"number\": 4,\n"
                                  "    \"deep\": {\n"
                                  "      \"timeout\": \"60s\",\n"
                                  "      \"message_size\": \"64KB\"\n"
                                  "    },\n"
                                  "    \"list\": [\"a\", \"b\"],\n"
                                  "    \"listen\": [\"127.0.0.1:8000\"],\n"
                                  "    \"any\": null,\n"
                                  "    \"rules\": [],\n"
                                  "    \"table\": {}\n"
                                  "  },\n"
                                  "  \"engine\": {\n"
                                  "    \"type\": \"memory\",\n"
                                  "    \"url\": null\n"
                                  "  },\n"
                                  "  \"admin\": {\n"
                                  "    \"token\": null,\n"
                                  "    \"passwords\": null\n"
                                  "  }\n"
                                  "}\n");
  bx_buffer_fini(&out);
  done(&a);
}

static bool contains(const struct bx_buffer *out, const char *part) {
  return memmem(out->at, out->len, part, strlen(part)) != NULL;
}

// Printed, loaded, printed: the same text, whatever layer the values came from.
static void comes_back(void **state) {
  (void)state;
  struct attempt a, b;
  struct bx_buffer first, second;
  write_file(
      "a.json",
      "{\"app\": {\"any\": {\"a\":\n\t[1.10, \"x:  ,\\\" y\"]}, \"text\": \"\\\"\\n\\u00e9\", \"rules\": {\"r\": 1}}}");
  load_good(&a, VARIABLES("MORA_APP__LIST=one"),
            ARGUMENTS("--config", "a.json", "--set", "app.number=7", "--set", "engine.type=redis", "--set",
                      "app.deep.timeout=90s", "--set", "engine.url=http://u@h:80/a@b:c", "--set", "app.plain=x",
                      "--set", "app.plain=null"));
  assert_string_equal(a.t.url, "http://u@h:80/a@b:c");
  print(&a, &first);
  assert_true(contains(&first, "\"any\": {\"a\": [1.10, \"x:  ,\\\" y\"]}"));
  assert_true(contains(&first, "\"list\": [\"one\"]"));
  assert_true(contains(&first, "\"rules\": [{\"r\": 1}]"));
  assert_true(contains(&first, "\"timeout\": \"90s\""));
  assert_true(contains(&first, "\"plain\": null"));
  bx_buffer_char(&first, '\0');
  write_file("mora.json", first.at);
  load_good(&b, NOTHING, ARGUMENTS("--config", "mora.json"));
  print(&b, &second);
  same_text(bx_buffer_view(&second), first.at);
  assert_string_equal(b.t.url, "http://u@h:80/a@b:c");
  bx_buffer_fini(&first);
  bx_buffer_fini(&second);
  done(&a);
  done(&b);
}

static void masks(void **state) {
  (void)state;
  struct attempt a;
  struct bx_buffer out;
  load_good(&a, NOTHING,
            ARGUMENTS("--set", "admin.token=hidden1", "--set", "admin.passwords=[\"hidden2\", \"hidden3\"]", "--set",
                      "engine.url=\"redis:\\/\\/user:hidden4@host/0\"", "--set",
                      "app.list=redis://:hidden5@h:1,h:2/x"));
  print(&a, &out);
  assert_true(contains(&out, "\"token\": \"***\""));
  assert_true(contains(&out, "\"passwords\": [\"***\", \"***\"]"));
  assert_true(contains(&out, "\"redis://user:***@host/0\""));
  assert_true(contains(&out, "[\"redis://:***@h:1,h:2/x\"]"));
  assert_false(contains(&out, "hidden"));
  bx_buffer_fini(&out);
  done(&a);
}

static void reference(void **state) {
  (void)state;
  struct target t;
  const struct cf_section sections[] = {{options, &t}, {options, &t}};
  struct bx_buffer one = {0}, two = {0};
  cf_print_reference(sections, 1, &one);
  cf_print_reference(sections, 2, &two);
  assert_true(bx_slice_equal(bx_buffer_view(&one), bx_buffer_view(&two)));
  const char *tables = memmem(one.at, one.len, "## Keys\n", 8);
  assert_non_null(tables);
  same_text((struct bx_slice){tables, one.len - (size_t)(tables - one.at)},
            "## Keys\n"
            "\n### app\n\n"
            "| Key | Type | Default | What it does |\n"
            "|---|---|---|---|\n"
            "| `app.text` | text | `\"hello\"` | A greeting. |\n"
            "| `app.plain` | text | none | One \\| two. |\n"
            "| `app.flag` | true or false | `true` | A flag. |\n"
            "| `app.number` | number, at least `1`, at most `64` | `4` |  |\n"
            "| `app.deep.timeout` | duration, at most `1h` | `\"60s\"` |  |\n"
            "| `app.deep.message_size` | size, at least `1KB` | `\"64KB\"` |  |\n"
            "| `app.list` | list of texts | `[\"a\", \"b\"]` |  |\n"
            "| `app.listen` | list of texts | `[\"127.0.0.1:8000\"]` |  |\n"
            "| `app.any` | JSON | none |  |\n"
            "| `app.rules` | JSON, a list | `[]` |  |\n"
            "| `app.table` | JSON, an object | `{}` |  |\n"
            "\n### engine\n\n"
            "| Key | Type | Default | What it does |\n"
            "|---|---|---|---|\n"
            "| `engine.type` | one of `memory`, `redis` | `\"memory\"` |  |\n"
            "| `engine.url` | text | none |  |\n"
            "\n### admin\n\n"
            "| Key | Type | Default | What it does |\n"
            "|---|---|---|---|\n"
            "| `admin.token` | secret | none |  |\n"
            "| `admin.passwords` | list of secrets | none |  |\n");
  bx_buffer_fini(&one);
  bx_buffer_fini(&two);
}

static void answers(void **state) {
  (void)state;
  static const struct {
    const char *flag;
    const char *start;
  } known[] = {
      {"--check-config", "the configuration is good\n"},
      {"--help", "usage: mora-test [--config FILE]... [--set KEY=VALUE]...\n\nTests things.\n\n  --config FILE "},
      {"--version", "mora-test " MORA_VERSION "\n"},
      {"--print-config", "{\n  \"app\": {\n"},
      {"--print-config-reference", "# Configuration\n"},
      {"--config=a.json", ""},
  };
  struct attempt a;
  write_file("a.json", "{}");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    struct bx_buffer out = {0};
    load_good(&a, NOTHING, ARGUMENTS(known[i].flag));
    cf_answer(a.set, a.action, &program, &out);
    assert_true(bx_slice_starts(bx_buffer_view(&out), bx_slice_of(known[i].start)));
    assert_int_equal(out.len == 0, known[i].start[0] == '\0');
    bx_buffer_fini(&out);
    done(&a);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_as_a_file), cmocka_unit_test(comes_back), cmocka_unit_test(masks),
      cmocka_unit_test(reference),          cmocka_unit_test(answers),
  };
  return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
