// SPDX-License-Identifier: Apache-2.0
// What mora-web writes into its page, and whose posts it takes.
#include "web-gateway/messages.h"
#include "web-gateway/page.h"

#include <setjmp.h>

#include <cmocka.h>

static void assert_text(struct bx_buffer *b, const char *expected) {
  bx_buffer_char(b, 0);
  assert_string_equal(b->at, expected);
  bx_buffer_fini(b);
}

static void escaping(void **state) {
  (void)state;
  struct bx_buffer out = {0};
  gw_html_escape(&out, BX_LIT("<a href=\"x\" id='y'>&é"));
  assert_text(&out, "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;é");
}

static void templates(void **state) {
  (void)state;
  static const struct gw_value values[] = {{"room", {"<r>", 3}}, {"broker", {"{{room}}", 8}}};
  struct bx_buffer out = {0};
  gw_template_write(&out, BX_LIT("a {{room}}{{broker}}{{none}} {{room"), values, 2);
  assert_text(&out, "a &lt;r&gt;{{room}} {{room");
  gw_template_write(&out, (struct bx_slice){"", 0}, values, 2);
  assert_text(&out, "");
}

static void policies(void **state) {
  (void)state;
  struct bx_buffer out = {0};
  gw_policy_write(&out, "https://b.example:8000/bayeux");
  assert_text(&out, "default-src 'none'; script-src 'self' https://b.example:8000; style-src 'self'; img-src 'self'; "
                    "connect-src 'self' https://b.example:8000 wss://b.example:8000; form-action 'none'; "
                    "base-uri 'none'; frame-ancestors 'none'");
  gw_policy_write(&out, "http://b");
  bx_buffer_char(&out, 0);
  assert_non_null(strstr(out.at, "connect-src 'self' http://b ws://b;"));
  bx_buffer_fini(&out);
  gw_policy_write(&out, "/bayeux");
  assert_text(&out, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'");
}

static void whose_posts(void **state) {
  (void)state;
  struct bx_slice none = {"", 0}, host = BX_LIT("chat.example");
  assert_true(gw_same_site(BX_LIT("same-origin"), BX_LIT("https://chat.example"), host));
  assert_true(gw_same_site(BX_LIT("same-origin"), BX_LIT("https://chat.example"), BX_LIT("behind.a.proxy:8080")));
  assert_true(gw_same_site(none, BX_LIT("http://chat.example"), host));
  assert_true(gw_same_site(none, none, host));   // no browser
  assert_false(gw_same_site(BX_LIT("cross-site"), BX_LIT("https://evil.example"), host));
  assert_false(gw_same_site(BX_LIT("same-site"), BX_LIT("https://other.example"), host));
  assert_false(gw_same_site(BX_LIT("none"), none, host));
  assert_false(gw_same_site(none, BX_LIT("https://evil.example"), host));
  assert_false(gw_same_site(none, BX_LIT("null"), host));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(escaping),
      cmocka_unit_test(templates),
      cmocka_unit_test(policies),
      cmocka_unit_test(whose_posts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
