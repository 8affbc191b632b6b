// SPDX-License-Identifier: Apache-2.0
// Presence in a simulated cluster (--presence), I14: after every command Redis counts exactly the sessions that
// subscribe, and what was told of each user is how it is; joins and leaves take turns; when everybody has left
// nothing of it is left. Who is on /c/* is counted, on /d/* nobody is.
#include <stdlib.h>

#include "tests/simulation/sim.h"

#define GRACE 1000   // ms
#define USERS (SIM_PRESENCE_USERS - 1)

static const char *const names[SIM_PRESENCE_USERS] = {"", "ann", "bob", "c\"\\d"};

// -- who decides ------------------------------------------------------------------------------------

static bool is_server(struct bx_access *a, const struct bx_message *m) {
  (void)a;
  (void)m;
  return false;
}

static enum bx_verdict ask(struct bx_access *a, struct bx_access_request *r, struct bx_access_answer *answer) {
  struct sim_node *n = bx_container_of(a, struct sim_node, guard);

  if (r->verb == BX_ACCESS_HANDSHAKE) answer->user = bx_slice_of(names[sim_uniform(n->sim, 0, USERS)]);
  return BX_ALLOW;
}

static bool counts(struct bx_access *a, struct bx_slice channel) {
  (void)a;
  return bx_slice_starts(channel, BX_LIT("/c/"));
}

void sim_presence_guard(struct sim_node *n) {
  static const struct bx_access_ops ops = {.is_server = is_server, .ask = ask, .counts = counts};

  if (!n->sim->presence) return;
  n->guard.ops = &ops;
  n->server->options.presence_grace = GRACE;
  bx_server_guard(n->server, &n->guard);
}

// -- what is told -----------------------------------------------------------------------------------

static int user_index(struct bx_slice name) {
  for (int i = 0; i < SIM_PRESENCE_USERS; i++)
    if (bx_slice_equal(name, bx_slice_of(names[i]))) return i;
  return -1;
}

static bool says(struct bx_slice text, const char *piece) {
  return memmem(text.at, text.len, piece, strlen(piece)) != NULL;
}

static int user_told(struct bx_slice text) {
  if (says(text, "\"user\":null")) return 0;
  if (says(text, "\"user\":\"ann\"")) return 1;
  if (says(text, "\"user\":\"bob\"")) return 2;
  return says(text, "\"user\":\"c\\u0022\\u005cd\"") ? 3 : -1;
}

static unsigned present(const bool *told) {
  unsigned count = 0;

  for (int i = 0; i < SIM_PRESENCE_USERS; i++) count += told[i];
  return count;
}

bool sim_presence_appended(struct sim *s, struct bx_slice channel, struct bx_slice text) {
  static const char users[] = "\"users\":";
  const char *at = memmem(text.at, text.len, users, sizeof users - 1);
  bool joins = says(text, "\"event\":\"join\""), *told;
  int user = user_told(text);

  if (!bx_slice_starts(channel, BX_LIT("/presence/c/"))) return false;
  told = s->present[channel.at[channel.len - 1] - '0'];
  s->totals->told++;
  if (user >= 0) {
    if (told[user] == joins)
      sim_fail(s, "I14", "%.*s: %.*s, for the second time", (int)channel.len, channel.at, (int)text.len, text.at);
    told[user] = joins;
  } else if (present(told) != 0) {
    sim_fail(s, "I14", "%.*s: %.*s, but somebody is there", (int)channel.len, channel.at, (int)text.len, text.at);
  }
  if (at == NULL || strtoul(at + sizeof users - 1, NULL, 10) != present(told) + says(text, "\"occupied\""))
    sim_fail(s, "I14", "%.*s: %.*s, but %u are there", (int)channel.len, channel.at, (int)text.len, text.at,
             present(told));
  return true;
}

bool sim_presence_applied(struct bx_slice text) { return bx_slice_starts(text, BX_LIT("{\"channel\":\"/presence/")); }

// The data is another, with its journal.
void sim_presence_restored(struct sim *s) {
  for (int c = 0; c < SIM_PRESENCE_CHANNELS; c++) {
    struct sim_value *joined = sim_key(s, SIM_NS ":joined:/c/%d", c);

    for (int u = 0; u < SIM_PRESENCE_USERS; u++)
      s->present[c][u] = joined != NULL && sim_value_find(joined, bx_slice_of(names[u])) != NULL;
  }
}

// -- what Redis counts ------------------------------------------------------------------------------

static void check_user(struct sim *s, int c, int u, unsigned sessions) {
  struct sim_value *users = sim_key(s, SIM_NS ":users:/c/%d", c), *leaving = sim_key(s, SIM_NS ":leaving");
  unsigned counted = users == NULL ? 0 : (unsigned)sim_field_u64(users, names[u]);
  bool told = s->present[c][u], due;
  char member[32];

  snprintf(member, sizeof member, "/c/%d %s", c, names[u]);
  due = leaving != NULL && sim_value_find(leaving, bx_slice_of(member)) != NULL;
  if (counted != sessions)
    sim_fail(s, "I14", "/c/%d counts %u sessions of '%s' and has %u", c, counted, names[u], sessions);
  if (told != (sessions > 0) && !due)
    sim_fail(s, "I14", "/c/%d has %u sessions of '%s', %s was told, and nobody will mend it", c, sessions, names[u],
             told ? "a join" : "no join");
}

static void check_channel(struct sim *s, int c) {
  struct sim_value *here = sim_key(s, SIM_NS ":here:/c/%d", c), *all = sim_key(s, SIM_NS ":sessions");
  unsigned sessions[SIM_PRESENCE_USERS] = {0};

  for (size_t i = 0; here != NULL && i < here->count; i++) {
    int u = user_index(here->items[i].value);

    if (all == NULL || sim_value_find(all, here->items[i].name) == NULL)
      sim_fail(s, "I14", "%.6s has ended and is on /c/%d", here->items[i].name.at, c);
    if (u < 0)
      sim_fail(s, "I14", "%.6s is nobody that there is", here->items[i].name.at);
    else
      sessions[u]++;
  }
  for (int u = 0; u < SIM_PRESENCE_USERS && !s->failed; u++) check_user(s, c, u, sessions[u]);
}

static void check_session(struct sim *s, const struct sim_session *session) {
  struct sim_value *subs = sim_key(s, SIM_NS ":subs:%s", session->id);

  for (int c = 0; c < SIM_PRESENCE_CHANNELS; c++) {
    struct sim_value *here = sim_key(s, SIM_NS ":here:/c/%d", c);
    bool counted = here != NULL && sim_value_find(here, bx_slice_of(session->id)) != NULL;
    char channel[8];

    snprintf(channel, sizeof channel, "/c/%d", c);
    if (counted != (subs != NULL && sim_value_find(subs, bx_slice_of(channel)) != NULL))
      sim_fail(s, "I14", "%.6s is%s counted on %s", session->id, counted ? "" : " not", channel);
  }
}

void sim_presence_check(struct sim *s) {
  if (!s->presence) return;
  for (int c = 0; c < SIM_PRESENCE_CHANNELS && !s->failed; c++) check_channel(s, c);
  for (unsigned i = 0; i < s->session_count && !s->failed; i++) check_session(s, s->sessions[i]);
}

static bool is_left(struct bx_slice key) {
  static const char *const prefixes[] = {
      SIM_NS ":here:", SIM_NS ":users:", SIM_NS ":joined:", SIM_NS ":counted:", SIM_NS ":leaving"};

  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    if (bx_slice_starts(key, bx_slice_of(prefixes[i]))) return true;
  return false;
}

static bool check_key(struct bx_table_node *node, void *context) {
  if (is_left(node->key)) sim_fail(context, "I14", "%.*s is left", (int)node->key.len, node->key.at);
  return true;
}

void sim_presence_gone(struct sim *s) {
  if (s->presence) bx_table_each(&s->redis.model->keys.table, check_key, s);
}
