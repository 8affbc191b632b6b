// SPDX-License-Identifier: Apache-2.0
// Texts to messages, and messages to what subscribers get. Texts are written with ' for ".
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "bayeux/message.h"

static const struct bx_message_limits limits = {.depth = 8, .batch = 100, .members = 100};

static struct bx_slice quoted(const char *text) {
  static char copies[8][1 << 16];
  static unsigned next;
  char *copy = copies[next++ % 8];
  size_t len = strlen(text);

  assert_true(len < sizeof copies[0]);
  for (size_t i = 0; i < len; i++) copy[i] = text[i] == '\'' ? '"' : text[i];
  return (struct bx_slice){copy, len};
}

static enum bx_parse parse(struct bx_messages *set, const char *text) {
  *set = (struct bx_messages){0};
  return bx_messages_parse(set, quoted(text), &limits);
}

static void assert_value(const struct bx_value *v, const char *text) {
  struct bx_slice wanted = quoted(text);

  assert_int_equal(v->raw.len, wanted.len);
  assert_memory_equal(v->raw.at, wanted.at, wanted.len);
}

// Measured first, as its callers do; not a byte beyond is written.
static void assert_wire(const struct bx_messages *set, size_t index, const char *text) {
  struct bx_slice wanted = quoted(text);
  size_t len = bx_message_wire(set, &set->at[index], NULL);
  char *out = bx_alloc(len);

  assert_int_equal(bx_message_wire(set, &set->at[index], out), len);
  assert_int_equal(len, wanted.len);
  assert_memory_equal(out, wanted.at, len);
  bx_free(out);
}

static void what_texts_are(void **state) {
  static const struct {
    const char *text;
    enum bx_parse result;
    size_t count;
  } rows[] = {
      {"{}", BX_PARSE_OK, 1},
      {"[]", BX_PARSE_OK, 0},
      {" [ { } , { } ] ", BX_PARSE_OK, 2},
      {"[null]", BX_PARSE_OK, 0},
      {"[null,{},null]", BX_PARSE_OK, 1},
      {"[5,'x',true,false,[{'data':1}]]", BX_PARSE_OK, 5},
      {"null", BX_PARSE_NULL, 0},
      {" null ", BX_PARSE_NULL, 0},
      {"", BX_PARSE_BAD, 0},
      {" ", BX_PARSE_BAD, 0},
      {"5", BX_PARSE_BAD, 0},
      {"'x'", BX_PARSE_BAD, 0},
      {"true", BX_PARSE_BAD, 0},
      {"nul", BX_PARSE_BAD, 0},
      {"null,", BX_PARSE_BAD, 0},
      {"{", BX_PARSE_BAD, 0},
      {"[{]", BX_PARSE_BAD, 0},
      {"[{}", BX_PARSE_BAD, 0},
      {"[{},]", BX_PARSE_BAD, 0},
      {"{}{}", BX_PARSE_BAD, 0},
      {"[] []", BX_PARSE_BAD, 0},
      {"{'data':}", BX_PARSE_BAD, 0},
      {"{'data':1,}", BX_PARSE_BAD, 0},
      {"{data:1}", BX_PARSE_BAD, 0},
      {"[nul]", BX_PARSE_BAD, 0},
      {"[[}]", BX_PARSE_BAD, 0},
      {"\xef\xbb\xbf[]", BX_PARSE_BAD, 0},
      {"{'data':'\xff'}", BX_PARSE_BAD, 0},
      {"{'\xff':1}", BX_PARSE_BAD, 0},
  };
  struct bx_messages set;

  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(parse(&set, rows[i].text), rows[i].result);
    if (rows[i].result == BX_PARSE_OK) assert_int_equal(set.count, rows[i].count);
    bx_messages_fini(&set);
    assert_null(set.at);
    assert_null(set.members);
  }
}

static void members_are_slices_of_the_text(void **state) {
  struct bx_messages set;
  const struct bx_message *m = NULL;

  (void)state;
  assert_int_equal(parse(&set,
                         "[{},{'channel' : '/a','clientId':'c','id':7,'data': { 'x' : 1.10 } ,'ext':[1],'advice':{},"
                         "'subscription':['/b'],'version':'1.0','connectionType':'websocket',"
                         "'supportedConnectionTypes':[],'error':null,'successful':true,'more':0}]"),
                   BX_PARSE_OK);
  m = &set.at[1];
  assert_int_equal(set.at[0].count, 0);
  assert_int_equal(set.at[0].data.type, BX_JSON_NONE);
  assert_int_equal(m->count, 13);
  assert_int_equal(set.at[0].raw.len, 2);
  assert_int_equal(m->raw.at[0], '{');
  assert_ptr_equal(m->raw.at, set.at[0].raw.at + 3);
  assert_int_equal(m->raw.at[m->raw.len - 1], '}');
  assert_int_equal(m->raw.at[m->raw.len], ']');
  assert_value(&m->channel, "'/a'");
  assert_value(&m->client_id, "'c'");
  assert_value(&m->id, "7");
  assert_value(&m->data, "{ 'x' : 1.10 }");
  assert_value(&m->ext, "[1]");
  assert_value(&m->advice, "{}");
  assert_value(&m->subscription, "['/b']");
  assert_value(&m->version, "'1.0'");
  assert_value(&m->connection_type, "'websocket'");
  assert_value(&m->connection_types, "[]");
  assert_value(&m->error, "null");
  assert_wire(&set, 0, "{}");
  assert_wire(&set, 1,
              "{'channel':'/a','id':7,'data':{ 'x' : 1.10 },'connectionType':'websocket',"
              "'supportedConnectionTypes':[],'more':0}");
  bx_messages_fini(&set);
}

static void keys_are_compared_decoded(void **state) {
  struct bx_messages set;

  (void)state;
  assert_int_equal(
      parse(&set, "{'d\\u0061ta':1,'\\u0065xt':2,'\\u0043hannel':3,'a\\/b':4,'a/b':5,'\\u0061\\/b':6,'x':7}"),
      BX_PARSE_OK);
  assert_value(&set.at[0].data, "1");
  assert_value(&set.at[0].ext, "2");
  assert_int_equal(set.at[0].channel.type, BX_JSON_NONE);
  assert_wire(&set, 0, "{'d\\u0061ta':1,'\\u0043hannel':3,'a\\/b':6,'x':7}");
  bx_messages_fini(&set);
}

static void a_member_that_comes_twice(void **state) {
  struct bx_messages set;

  (void)state;
  assert_int_equal(parse(&set, "{'channel':'/a','data':{'k':1,'k':2},'channel':'/b','z':1,'y':2,'z':[],'z':null}"),
                   BX_PARSE_OK);
  assert_int_equal(set.at[0].count, 4);
  assert_value(&set.at[0].channel, "'/b'");
  assert_wire(&set, 0, "{'channel':'/b','data':{'k':1,'k':2},'z':null,'y':2}");   // data is not looked into
  bx_messages_fini(&set);
  // One message's members are not another's.
  assert_int_equal(parse(&set, "[{'a':1,'b':2},{'a':3},{'b':4,'b':5}]"), BX_PARSE_OK);
  assert_wire(&set, 0, "{'a':1,'b':2}");
  assert_wire(&set, 1, "{'a':3}");
  assert_wire(&set, 2, "{'b':5}");
  bx_messages_fini(&set);
}

// Enough of everything that arrays grow, and that decoded names do not move.
static void many_messages_with_many_members(void **state) {
  static char text[1 << 16], expected[1 << 12];
  struct bx_messages set;
  size_t len = 0, wire = 0;

  (void)state;
  text[len++] = '[';
  for (unsigned i = 0; i < 90; i++) {
    len += (size_t)snprintf(text + len, sizeof text - len, "%s{", i ? "," : "");
    for (unsigned k = 0; k < 20; k++)
      len += (size_t)snprintf(text + len, sizeof text - len, "'\\u006b%u':%u,'k%u':%u,", k, k, k, i);
    len += (size_t)snprintf(text + len, sizeof text - len, "'\\u0064ata':%u}", i);
  }
  snprintf(text + len, sizeof text - len, "]");
  assert_int_equal(parse(&set, text), BX_PARSE_OK);
  assert_int_equal(set.count, 90);
  for (unsigned i = 0; i < 90; i++) {
    wire = (size_t)snprintf(expected, sizeof expected, "{");
    for (unsigned k = 0; k < 20; k++)
      wire += (size_t)snprintf(expected + wire, sizeof expected - wire, "'\\u006b%u':%u,", k, i);
    snprintf(expected + wire, sizeof expected - wire, "'\\u0064ata':%u}", i);
    assert_wire(&set, i, expected);
  }
  bx_messages_fini(&set);
}

static void limits_are_exact(void **state) {
  static const struct bx_message_limits narrow = {.depth = 3, .batch = 2, .members = 2};
  static const struct {
    const char *text;
    enum bx_parse result;
  } rows[] = {
      {"[{},{}]", BX_PARSE_OK},
      {"[null,{},null,{},null]", BX_PARSE_OK},
      {"[{},{},{}]", BX_PARSE_TOO_MANY},
      {"[1,2,3]", BX_PARSE_TOO_MANY},
      {"{'a':1,'b':2}", BX_PARSE_OK},
      {"{'a':1,'b':2,'a':3,'b':4}", BX_PARSE_OK},
      {"{'a':1,'b':2,'c':3}", BX_PARSE_TOO_MANY},
      {"[{'a':1},{'a':1,'b':2,'c':3}]", BX_PARSE_TOO_MANY},
      {"[{'a':[]}]", BX_PARSE_OK},
      {"[{'a':[[]]}]", BX_PARSE_TOO_DEEP},
      {"{'a':[{}]}", BX_PARSE_OK},
      {"{'a':[{'b':{}}]}", BX_PARSE_TOO_DEEP},
      {"[{'a':[[", BX_PARSE_TOO_DEEP},
      {"[{'a':[}[[", BX_PARSE_BAD},
  };
  struct bx_messages set;

  (void)state;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    set = (struct bx_messages){0};
    assert_int_equal(bx_messages_parse(&set, quoted(rows[i].text), &narrow), rows[i].result);
    bx_messages_fini(&set);
  }
  set = (struct bx_messages){0};
  assert_int_equal(bx_messages_parse(&set, (struct bx_slice){0}, &limits), BX_PARSE_BAD);
  bx_messages_fini(&set);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_texts_are),
      cmocka_unit_test(members_are_slices_of_the_text),
      cmocka_unit_test(keys_are_compared_decoded),
      cmocka_unit_test(a_member_that_comes_twice),
      cmocka_unit_test(many_messages_with_many_members),
      cmocka_unit_test(limits_are_exact),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
