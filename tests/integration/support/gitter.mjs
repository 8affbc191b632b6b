// SPDX-License-Identifier: Apache-2.0
// config/samples/gitter.sample.json, and an authority that decides as Gitter's web and API processes do: tokens, rooms, snapshots.

import {readFileSync} from 'node:fs';
import {root} from '../lib/daemon.mjs';
import {startScripted} from './authority.mjs';

export const SAMPLE = `${root}config/samples/gitter.sample.json`;
const sample = JSON.parse(readFileSync(SAMPLE, 'utf8'));
export const PASSWORD = sample.auth.superclient;
// The sample as settings, for brokers that are not given a file.
export const SETTINGS = Object.fromEntries(Object.entries(sample).flatMap(([section, keys]) =>
  Object.entries(keys).map(([key, value]) => [`${section}.${key}`, value])));
delete SETTINGS['broker.listen'];

export const ANN = '53d8a945451e506ad636c9ba', BOB = '53d8a945451e506ad636c9bb';
export const OPEN = '53d8a945451e506ad636c001', SHUT = '53d8a945451e506ad636c00f';   // rooms
export const TOKENS = {'token-of-ann': ANN, 'token-of-bob': BOB, '$anonymous': undefined};
const DENIED = {allow: false, error: '403::Authorisation denied.'};
const unknown = channel => ({allow: false, error: `404::Unknown subscription ${channel}`});

function handshake(state, {ext = {}}) {
  const {token, troupeId} = ext;
  if (typeof token !== 'string' || token === '') return {allow: false, error: '401::Access token required'};
  if (!(token in TOKENS) || state.revoked.has(token)) return {allow: false, error: '401::Invalid access token'};
  const user = TOKENS[token];
  const context = {...(user && {user: {id: user}}), ...(troupeId && {troupe: {id: troupeId}})};
  return {allow: true, user, ext: {userId: user ?? null, context}};
}

// [channel, who may, snapshot]: the first that fits.
const room = (state, user, id) => (/^[0-9a-f]{24}$/.test(id) ? (id === OPEN ? null : DENIED) : {allow: false, error: `400::Invalid ID: ${id}`});
const own = (state, user, id) => (user === id ? null : DENIED);
const ROUTES = [
  [/^\/api\/v1\/rooms\/(\w+)$/, room, (state, id, ext) => ext.snapshot && {id, permissions: {admin: false}}],
  [/^\/api\/v1\/rooms\/(\w+)\/(\w+)$/, room, (state, id, ext, collection) => ext.snapshot !== false && {
    chatMessages: () => state.chats.slice(-(ext.snapshot?.limit ?? 30)), users: () => [{id: ANN, online: true, role: 'admin'}], events: () => [{id: 'e1'}],
  }[collection]?.()],
  [/^\/api\/v1\/rooms\/(\w+)\/(\w+)\/\w+\/(\w+)$/, room, (state, id, ext, collection, sub) => ext.snapshot !== false && collection === 'chatMessages' && sub === 'readBy' && [{id: BOB}]],
  [/^\/api\/v1\/user\/(\w+)\/(\w+)$/, own, (state, id, ext, collection) => ext.snapshot !== false && ({
    groups: [{id: 'g'}], rooms: [{id: OPEN}], troupes: [{id: OPEN}], orgs: [{id: 'o'}],
  })[collection]],
  [/^\/api\/v1\/user\/(\w+)\/rooms\/\w+\/unreadItems$/, own, (state, id, ext) => ext.snapshot !== false && {chat: ['c1'], mention: []}],
  [/^\/api\/v1\/token\/(\S+)$/, (state, user, token) => (user !== undefined && TOKENS[token] === user ? null : DENIED), () => null],
];

function subscribe(state, {channel, user, ext = {}}) {
  for (const [fits, refused, snapshot] of ROUTES) {
    const [match, id, ...more] = fits.exec(channel) ?? [];
    if (!match) continue;
    const data = refused(state, user, id) ?? snapshot(state, id, ext, ...more);
    if (data?.allow === false) return data;
    return data ? {allow: true, ext: {snapshot: data}} : {allow: true};
  }
  return unknown(channel);
}

// `chats`, `revoked`: to be changed.
export async function startGitter(t) {
  const state = Object.assign(await startScripted(t), {
    chats: [{id: 'c1', text: 'one'}, {id: 'c2', text: 'two'}, {id: 'c3', text: 'three'}], revoked: new Set(),
  });
  state.script = {answer: q => (q.verb === 'handshake' ? handshake(state, q) : subscribe(state, q))};
  return state;
}
