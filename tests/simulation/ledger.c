// SPDX-License-Identifier: Apache-2.0
// The books: every publish with what its publisher was told and where the journal had it, and every
// session with what it asked for, was handed and received. Invariants I1 to I5 and I9 are read off them.
#include "tests/simulation/sim.h"

#include <stdlib.h>

// I5: what may be handed over again is what was handed over this long before a break. Two seconds of
// deliveries, a tick, the way of a ping and back.
#define WINDOW SIM_MS(3500)

// -- publishes --------------------------------------------------------------------------------------

struct sim_publish *sim_publish_new(struct sim *s, const char *channel) {
  struct sim_publish *p;

  if (s->publish_count + 1 >= SIM_PUBLISHES) return NULL;
  p = &s->publishes[++s->publish_count];
  p->n = s->publish_count;
  p->at = s->now;
  snprintf(p->channel, sizeof p->channel, "%s", channel);
  s->totals->publishes++;
  return p;
}

static bool is_refused(const struct sim_publish *p) {
  return p->refused > 0 && p->open == 0 && p->acked == 0 && p->unknown == 0;
}

static bool had(const struct sim_publish *p, bx_position position) {
  for (unsigned i = 0; i < p->appended && i < SIM_APPENDED; i++)
    if (p->positions[i] == position) return true;
  return false;
}

// I3 (refused: never in the journal, never delivered), and the other way round: acknowledged means in it.
void sim_publish_told(struct sim *s, struct sim_publish *p, enum bx_outcome outcome) {
  static const char *const words[] = {"acknowledged", "refused", "unknown", "refused for its session", "relayed"};

  SIM_TRACE(s, "publish %u is %s", p->n, words[outcome]);
  p->open--;
  switch (outcome) {
  case BX_ACKNOWLEDGED:
    p->acked++;
    if (p->appended == 0) sim_fail(s, "I3", "publish %u was acknowledged and is not in the journal", p->n);
    break;
  case BX_REFUSED:
    p->refused++;
    s->totals->refused++;
    break;
  case BX_NO_SESSION: p->refused++; break;
  default:
    p->unknown++;
    s->totals->unknown++;
    break;
  }
  if (is_refused(p) && p->position != 0)
    sim_fail(s, "I3", "publish %u was refused and is in the journal at %llu", p->n, (unsigned long long)p->position);
  if (is_refused(p) && p->delivered && !p->rolled_back) sim_fail(s, "I3", "publish %u was refused and delivered", p->n);
}

static uint32_t number_in(struct bx_slice text) {
  static const char mark[] = "\"data\":";
  const char *at = memmem(text.at, text.len, mark, sizeof mark - 1);

  return at == NULL ? 0 : (uint32_t)strtoul(at + sizeof mark - 1, NULL, 10);
}

static struct sim_publish *publish_in(struct sim *s, struct bx_slice text) {
  uint32_t n = number_in(text);

  return n == 0 || n > s->publish_count ? NULL : &s->publishes[n];
}

// Redis has appended it. I3: one origin and one key have one position.
void sim_ledger_appended(struct sim *s, bx_position position, struct bx_slice text) {
  struct sim_publish *p = publish_in(s, text);

  if (p == NULL) {
    sim_fail(s, "I1", "an entry that nobody published: %.*s", (int)text.len, text.at);
    return;
  }
  if (p->position != 0)
    sim_fail(s, "I3", "publish %u is in the journal twice: %llu and %llu", p->n, (unsigned long long)p->position,
             (unsigned long long)position);
  if (is_refused(p)) sim_fail(s, "I3", "publish %u was refused before and is appended now", p->n);
  p->position = position;
  if (p->appended < SIM_APPENDED) p->positions[p->appended] = position;
  p->appended++;
}

// Until its owner has saved it again, what was written to its record of late (a subscription) is known to
// that node alone. Should it die, or is it dead already, then what the session misses is nobody's fault.
static void session_rolled_back(struct sim *s, struct sim_session *session) {
  bool known = false;

  for (unsigned i = 0; i < s->nodes_made; i++)
    known |=
        s->all_nodes[i]->alive && bx_server_find_session(s->all_nodes[i]->server, bx_slice_of(session->id)) != NULL;
  session->fragile = true;
  session->excused |= !known;
}

void sim_ledger_rolled_back(struct sim *s, bx_position survived) {
  for (uint32_t n = 1; n <= s->publish_count; n++) {
    struct sim_publish *p = &s->publishes[n];

    if (p->position <= survived) continue;
    SIM_TRACE(s, "publish %u at %llu is rolled back", n, (unsigned long long)p->position);
    p->position = 0;
    p->rolled_back = true;
  }
  for (unsigned i = 0; i < s->session_count; i++) session_rolled_back(s, s->sessions[i]);
  s->rollbacks++;
  s->last_rollback = s->now;
  sim_incident_all(s);
}

// I1: a node sees at a position what Redis has had there.
void sim_ledger_applied(struct sim_node *n, const struct bx_entry *e) {
  struct sim_publish *p = publish_in(n->sim, bx_frame_slice(e->frame));

  if (n->sim->presence && sim_presence_applied(bx_frame_slice(e->frame))) return;
  if (p == NULL || !had(p, e->position))
    sim_fail(n->sim, "I1", "%s sees at %llu what Redis never had there", n->name, (unsigned long long)e->position);
}

// -- sessions ---------------------------------------------------------------------------------------

struct sim_session *sim_session_find(struct sim *s, struct bx_slice id) {
  for (unsigned i = s->session_count; i-- > 0;)
    if (bx_slice_equal(bx_slice_of(s->sessions[i]->id), id)) return s->sessions[i];
  return NULL;
}

struct sim_session *sim_session_new(struct sim_client *client, struct bx_slice id) {
  struct sim *s = client->sim;
  struct sim_session *session = sim_new(s, sizeof *session);

  BX_BUG_ON(s->session_count == SIM_SESSIONS || id.len >= sizeof session->id);
  memcpy(session->id, id.at, id.len);
  session->client = client;
  session->created = session->last_connect = s->now;
  s->sessions[s->session_count++] = session;
  s->totals->sessions++;
  return session;
}

struct sim_sub *sim_sub_of(struct sim_session *session, struct bx_slice pattern) {
  struct sim_sub *sub;

  for (unsigned i = 0; i < session->sub_count; i++)
    if (bx_slice_equal(bx_slice_of(session->subs[i].pattern), pattern)) return &session->subs[i];
  BX_BUG_ON(session->sub_count == SIM_SUBS || pattern.len >= sizeof session->subs[0].pattern);
  sub = &session->subs[session->sub_count++];
  memcpy(sub->pattern, pattern.at, pattern.len);
  return sub;
}

// Something may have been lost on its way: what was handed over just before may be again.
void sim_incident(struct sim *s, struct sim_session *session) {
  session->incidents[session->incident_count++ % SIM_INCIDENTS] = s->now;
}

void sim_incident_all(struct sim *s) {
  for (unsigned i = 0; i < s->session_count; i++) sim_incident(s, s->sessions[i]);
}

bool sim_matches(const char *pattern, const char *channel) {
  size_t len = strlen(pattern);

  if (len >= 3 && strcmp(pattern + len - 3, "/**") == 0) return strncmp(pattern, channel, len - 2) == 0;
  if (len >= 2 && strcmp(pattern + len - 2, "/*") == 0)
    return strncmp(pattern, channel, len - 1) == 0 && strchr(channel + len - 1, '/') == NULL;
  return strcmp(pattern, channel) == 0;
}

// -- deliveries -------------------------------------------------------------------------------------

// What was read for a new subscription comes at least once.
static bool is_backfill(const struct sim_session *session, const struct sim_publish *p, sim_time received) {
  for (unsigned i = 0; i < session->sub_count; i++) {
    const struct sim_sub *sub = &session->subs[i];

    if (sub->executed && sub->executed_at <= received && sub->executed_at + SIM_MS(2000) > received &&
        sim_matches(sub->pattern, p->channel))
      return true;
  }
  return false;
}

static bool may_repeat(const struct sim *s, const struct sim_session *session, sim_time received) {
  unsigned count = session->incident_count < SIM_INCIDENTS ? session->incident_count : SIM_INCIDENTS;

  for (unsigned i = 0; i < count; i++)
    if (session->incidents[i] >= received && session->incidents[i] <= received + WINDOW) return true;
  // Without ticks the mark stands still.
  return s->last_trouble + SIM_MS(5000) > received;
}

// A client that acknowledges gets everything once, whatever broke. What a rollback took and is appended again may have
// been had before; and for some time after one a node may not know yet how far the others are.
static void check_acknowledged(struct sim *s, const struct sim_session *session, uint32_t number) {
  const struct sim_publish *p = &s->publishes[number];

  if (session->received[number] == 0 || p->appended > 1) return;
  if (is_backfill(session, p, session->received_at[number])) return;
  sim_fail(s, "I5", "c%u (%.6s), which acknowledges, gets %u again; it got it at %.3f", session->client->number,
           session->id, number, (double)session->received_at[number] / 1000);
}

// I4: once, when nothing broke; I5: again only what came just before something did.
static void check_repeat(struct sim *s, struct sim_session *session, uint32_t number) {
  if (session->received[number] > 0 && !may_repeat(s, session, session->received_at[number]) &&
      !is_backfill(session, &s->publishes[number], session->received_at[number]))
    sim_fail(s, session->incident_count == 0 ? "I4" : "I5",
             "c%u (%.6s) gets %u again; it got it at %.3f, and nothing broke in time", session->client->number,
             session->id, number, (double)session->received_at[number] / 1000);
  session->received_at[number] = s->now;
}

// I9: some subscription began before it.
static bool is_asked_for(const struct sim_session *session, const struct sim_publish *p) {
  for (unsigned i = 0; i < session->sub_count; i++) {
    const struct sim_sub *sub = &session->subs[i];

    if (!sub->executed || !sim_matches(sub->pattern, p->channel)) continue;
    for (unsigned k = 0; k < p->appended && k < SIM_APPENDED; k++)
      if (p->positions[k] > sub->least) return true;
  }
  return false;
}

static unsigned channel_number(const char *channel) {
  return (channel[1] == 'd' ? 4u : 0u) + (unsigned)(channel[3] - '0');
}

// A subscription whose answer was lost may begin anywhere.
static bool is_promised(const struct sim_session *session, const struct sim_publish *p) {
  for (unsigned i = 0; i < session->sub_count; i++)
    if (session->subs[i].acked && sim_matches(session->subs[i].pattern, p->channel)) return true;
  return false;
}

void sim_ledger_received(struct sim *s, struct sim_session *session, uint32_t number) {
  struct sim_publish *p = number == 0 || number > s->publish_count ? NULL : &s->publishes[number];
  bx_position *last;

  if (p == NULL || p->appended == 0) {
    sim_fail(s, "I1", "c%u got %u, which was never in the journal", session->client->number, number);
    return;
  }
  p->delivered = true;
  if (is_refused(p) && !p->rolled_back) sim_fail(s, "I3", "publish %u was refused and is delivered", number);
  if (!is_asked_for(session, p))
    sim_fail(s, "I9", "c%u got %u (%s at %llu), which it did not ask for", session->client->number, number, p->channel,
             (unsigned long long)p->positions[0]);
  last = &session->last_in[channel_number(p->channel)];
  if (session->received[number] == 0 && p->appended == 1) {
    if (p->positions[0] < *last && !session->doubled && is_promised(session, p))
      sim_fail(s, "I4", "c%u got %u (%s at %llu) behind %llu", session->client->number, number, p->channel,
               (unsigned long long)p->positions[0], (unsigned long long)*last);
    if (p->positions[0] > *last) *last = p->positions[0];
  }
  if (session->client->acks) check_acknowledged(s, session, number);
  check_repeat(s, session, number);
  if (session->received[number] < UINT8_MAX) session->received[number]++;
}

// -- the end ----------------------------------------------------------------------------------------

// I2: what is in the journal reached everybody who had asked for it in time.
static void complete(struct sim *s, const struct sim_session *session, const struct sim_sub *sub) {
  for (uint32_t n = 1; n <= s->publish_count; n++) {
    const struct sim_publish *p = &s->publishes[n];

    if (p->position <= sub->most || p->position == 0 || session->received[n] > 0) continue;
    if (!sim_matches(sub->pattern, p->channel)) continue;
    // What was subscribed to between the entry and its second coming is not owed the second.
    if (p->positions[0] <= sub->most) continue;
    sim_fail(s, "I2", "c%u (%.6s) never got %u (%s at %llu); it subscribed to %s at %llu", session->client->number,
             session->id, n, p->channel, (unsigned long long)p->position, sub->pattern, (unsigned long long)sub->most);
    return;
  }
}

void sim_ledger_complete(struct sim *s) {
  for (unsigned i = 0; i < s->client_count; i++) {
    struct sim_session *session = s->clients[i].session;

    if (session == NULL || session->over) {
      sim_fail(s, "I12", "c%u has no session although all is calm", i);
      continue;
    }
    if (session->excused) continue;
    for (unsigned k = 0; k < session->sub_count; k++)
      if (session->subs[k].acked && !session->subs[k].murky) complete(s, session, &session->subs[k]);
  }
  // An acknowledged publish that is not in the journal was rolled back, and its node was lost or has counted it.
  for (uint32_t n = 1; n <= s->publish_count; n++)
    if (s->publishes[n].acked > 0 && s->publishes[n].position == 0 && !s->publishes[n].rolled_back)
      sim_fail(s, "I2", "publish %u was acknowledged and has gone from the journal", n);
}
