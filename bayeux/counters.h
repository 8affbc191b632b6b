// SPDX-License-Identifier: Apache-2.0
// What the protocol counts: one row is a field, a kind, a metric's name and its help. The broker
// makes its metrics, statistics and documentation from the same rows.
#pragma once

#include "bayeux/base.h"

#define BX_COUNTERS(X)                                                                                                \
  X(sessions, GAUGE, "mora_sessions", "Sessions that exist.")                                                         \
  X(live, GAUGE, "mora_sessions_live", "Sessions with a connection, at the head of the journal.")                     \
  X(reading, GAUGE, "mora_sessions_reading", "Sessions with a connection that are being read forward.")               \
  X(away, GAUGE, "mora_sessions_away", "Sessions without a connection.")                                              \
  X(closing, GAUGE, "mora_sessions_closing", "Sessions that wait to be freed.")                                       \
  X(connections, GAUGE, "mora_bayeux_connections", "Websockets and unanswered requests of Bayeux clients.")           \
  X(frames, GAUGE, "mora_frames", "Message texts in memory.")                                                         \
  X(batches, GAUGE, "mora_batches", "Requests and websocket frames whose replies are not complete.")                  \
  X(waiting_bytes, GAUGE, "mora_waiting_bytes", "Bytes that unfinished requests and websocket frames take.")          \
  X(subscriptions, GAUGE, "mora_subscriptions", "Subscriptions of all sessions.")                                     \
  X(handshakes, COUNTER, "mora_handshakes_total", "Sessions created.")                                                \
  X(connects, COUNTER, "mora_connects_total", "Connect messages accepted.")                                           \
  X(subscribes, COUNTER, "mora_subscribes_total", "Subscriptions made.")                                              \
  X(unsubscribes, COUNTER, "mora_unsubscribes_total", "Subscriptions ended by their clients.")                        \
  X(disconnects, COUNTER, "mora_disconnects_total", "Sessions ended by their clients.")                               \
  X(expired, COUNTER, "mora_sessions_expired_total", "Sessions that expired.")                                        \
  X(kicked, COUNTER, "mora_sessions_kicked_total", "Sessions ended by an operator.")                                  \
  X(revocations, COUNTER, "mora_revocations_total", "Revocations of users and tokens that this node got to.")         \
  X(revoked_handshakes, COUNTER, "mora_revoked_handshakes_total", "Handshakes denied for a token that is revoked.")   \
  X(lost_sessions, COUNTER, "mora_lost_sessions_total", "Sessions whose cursor fell off the journal.")                \
  X(published, COUNTER, "mora_published_total", "Publishes acknowledged.")                                            \
  X(refused_publishes, COUNTER, "mora_refused_publishes_total",                                                       \
    "Publishes that are not in the journal and never will be.")                                                       \
  X(unknown_publishes, COUNTER, "mora_unknown_publishes_total", "Publishes answered before their outcome was known.") \
  X(repeated_publishes, COUNTER, "mora_repeated_publishes_total", "Publishes answered from their idempotency key.")   \
  X(asking, GAUGE, "mora_access_waiting", "Messages that wait for a decision whether they are allowed.")              \
  X(denied, COUNTER, "mora_access_denied_total", "Handshakes, subscriptions and publishes that were not allowed.")    \
  X(unavailable, COUNTER, "mora_access_unavailable_total", "Decisions that nobody could make: refused with 503.")     \
  X(appended, COUNTER, "mora_journal_appended_total", "Entries seen by this node.")                                   \
  X(delivered, COUNTER, "mora_delivered_total", "Messages handed to connections.")                                    \
  X(resent, COUNTER, "mora_resent_total", "Messages to be handed over again for want of evidence.")                   \
  X(fallbacks, COUNTER, "mora_fallbacks_total", "Connections that ended without evidence of what they carried.")      \
  X(superseded, COUNTER, "mora_superseded_connects_total", "Connects answered because another took their place.")     \
  X(overflows, COUNTER, "mora_outbox_overflows_total",                                                                \
    "Outboxes that were full, so that their session reads forward.")                                                  \
  X(read_steps, COUNTER, "mora_read_forward_steps_total", "Journal entries looked at while reading forward.")         \
  X(bad_texts, COUNTER, "mora_bad_texts_total", "Requests and frames that were not Bayeux messages.")                 \
  X(refused_messages, COUNTER, "mora_refused_messages_total", "Messages answered with an error.")                     \
  X(over_limits, COUNTER, "mora_over_limits_total", "Refusals for a limit of limits.*; the next ones say which.")     \
  X(over_message, COUNTER, "mora_over_message_total", "Messages larger than limits.message.")                         \
  X(over_batch, COUNTER, "mora_over_batch_total", "Texts with more messages than limits.batch, or 256 members.")      \
  X(over_depth, COUNTER, "mora_over_json_depth_total", "Texts nested deeper than limits.json_depth.")                 \
  X(over_channels, COUNTER, "mora_over_channels_total", "Subscriptions refused for limits.channels.")                 \
  X(over_channel_name, COUNTER, "mora_over_channel_name_total",                                                       \
    "Channels beyond limits.channel_length or limits.channel_depth.")                                                 \
  X(over_clients, COUNTER, "mora_over_clients_total", "Handshakes refused for limits.clients.")                       \
  X(over_clients_per_address, COUNTER, "mora_over_clients_per_address_total",                                         \
    "Handshakes refused for limits.clients_per_address.")                                                             \
  X(over_handshake_rate, COUNTER, "mora_over_handshake_rate_total", "Handshakes refused for limits.handshake_rate.")  \
  X(over_replies, COUNTER, "mora_over_replies_total", "Websockets closed with 1013: they do not read their replies.") \
  X(over_waiting, COUNTER, "mora_over_waiting_total", "Requests answered with 503 for limits.waiting.")               \
  X(presence_told, COUNTER, "mora_presence_messages_total",                                                           \
    "Joins, leaves, occupied and vacated that were published.")                                                       \
  X(presence_lists, COUNTER, "mora_presence_lists_total", "Lists of who is present that were asked for.")             \
  X(presence_cut, COUNTER, "mora_presence_lists_cut_total",                                                           \
    "Lists in replies that are not whole: more users or channels than they may have.")                                \
  X(lagging_sessions, COUNTER, "mora_lagging_sessions_total", "Sessions that missed more than limits.lag.")           \
  X(bad_event_ids, COUNTER, "mora_event_ids_refused_total", "Last-Event-IDs that were none of the session's.")        \
  X(acking_sessions, COUNTER, "mora_ack_sessions_total", "Sessions created for clients that acknowledge (ext.ack).")  \
  X(bad_acks, COUNTER, "mora_acks_refused_total", "Numbers in ext.ack that no answer to the client can have had.")    \
  X(gaps, COUNTER, "mora_journal_gaps_total", "Positions missing in the journal's tail.")                             \
  X(moves, COUNTER, "mora_session_moves_total", "Sessions that moved here from another node.")                        \
  X(followed, COUNTER, "mora_followed_messages_total",                                                                \
    "Messages whose session moved while they were under way, and that went after it.")                                \
  X(forced_moves, COUNTER, "mora_session_forced_moves_total", "Sessions claimed from a node that was gone.")

// One more refusal for a limit.
#define BX_OVER(counters, which) ((void)((counters)->over_limits++, (counters)->over_##which++))

struct bx_counters {
#define X(field, kind, name, help) uint64_t field;
  BX_COUNTERS(X)
#undef X
};
